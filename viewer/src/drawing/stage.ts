// The canvas: clouds of points, cameras, and what a click hits.

import {
  Box3, Color, Group, type Object3D, OrthographicCamera, PerspectiveCamera, Scene, Vector3, WebGLRenderer, WebGLRenderTarget,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";

import type { Cloud } from "./cloud";

export type Point = readonly [number, number, number];
export type Projection = "perspective" | "orthographic";

/** Where the camera is, in coordinates of the source. */
export interface CameraPose {
  readonly position: Point;
  readonly target: Point;
  readonly up: Point;
  /** Half of the height that an orthographic camera sees. */
  readonly halfHeight: number;
}

const FIELD_OF_VIEW = 35;
// Of the square about a click in which the nearest point is searched, in pixels.
const PICK_RADIUS = 4;

/** Draws clouds, when something changed. */
export class Stage {
  readonly renderer: WebGLRenderer;
  readonly controls: OrbitControls;
  readonly #scene = new Scene();
  readonly #root = new Group();
  readonly #perspective = new PerspectiveCamera(FIELD_OF_VIEW, 1, 0.01, 1000);
  readonly #orthographic = new OrthographicCamera(-1, 1, 1, -1, 0.01, 1000);
  readonly #pickTarget = new WebGLRenderTarget(2 * PICK_RADIUS + 1, 2 * PICK_RADIUS + 1);
  readonly #mirrored = new Map<Cloud, Object3D>();
  #clouds: Cloud[] = [];
  #projection: Projection = "perspective";
  #mirrorAxis: number | null = null;
  #center: Point = [0, 0, 0];
  #dirty = true;
  #bounds = new Box3();

  constructor(canvas: HTMLCanvasElement, onMoved: () => void) {
    this.renderer = new WebGLRenderer({ canvas, antialias: true, preserveDrawingBuffer: true });
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.#scene.add(this.#root);
    // z is up, as in the field's data.
    for (const camera of [this.#perspective, this.#orthographic]) camera.up.set(0, 0, 1);
    this.controls = new OrbitControls(this.#perspective, canvas);
    this.controls.addEventListener("change", () => {
      this.redraw();
    });
    this.controls.addEventListener("end", onMoved);
    listenToKeys(canvas, this.controls);
    new ResizeObserver(() => {
      this.#resize();
    }).observe(canvas);
    this.renderer.setAnimationLoop(() => {
      this.#draw();
    });
  }

  /** Draw again with the next frame. */
  redraw(): void {
    this.#dirty = true;
  }

  setBackground(color: string): void {
    this.#scene.background = new Color(color);
    this.redraw();
  }

  add(cloud: Cloud): void {
    this.#clouds.push(cloud);
    this.#root.add(cloud.points);
    this.#mirrorOne(cloud);
    this.redraw();
  }

  remove(cloud: Cloud): void {
    this.#clouds = this.#clouds.filter((one) => one !== cloud);
    this.#root.remove(cloud.points);
    this.#mirrored.get(cloud)?.removeFromParent();
    this.#mirrored.delete(cloud);
    cloud.dispose();
    this.redraw();
  }

  /** Draw every point a second time, with the sign of one coordinate of the source changed; null for no axis. */
  setMirror(axis: number | null): void {
    this.#mirrorAxis = axis;
    for (const cloud of this.#clouds) this.#mirrorOne(cloud);
    this.redraw();
  }

  /** Set the point that was subtracted from all positions. The camera stays where it is in the source. */
  setCenter(center: Point): void {
    const pose = this.pose;
    this.#center = center;
    this.pose = pose;
    this.setMirror(this.#mirrorAxis);
  }

  setProjection(projection: Projection): void {
    const pose = this.pose;
    this.#projection = projection;
    this.controls.object = this.#camera;
    this.pose = pose;
  }

  get pose(): CameraPose {
    const { position, up } = this.#camera;
    const { target } = this.controls;
    const center = new Vector3(...this.#center);
    return {
      position: position.clone().add(center).toArray(),
      target: target.clone().add(center).toArray(),
      up: up.toArray(),
      halfHeight: this.#halfHeight,
    };
  }

  set pose(pose: CameraPose) {
    const camera = this.#camera;
    const center = new Vector3(...this.#center);
    camera.position.set(...pose.position).sub(center);
    camera.up.set(...pose.up);
    this.controls.target.set(...pose.target).sub(center);
    if (camera === this.#orthographic) this.#orthographic.zoom = 1 / pose.halfHeight;
    camera.updateProjectionMatrix();
    this.controls.update();
    this.#setDepths();
    this.redraw();
  }

  /** Tell where the points are, so that none of them is cut off for its depth. */
  setBounds(bounds: Box3): void {
    this.#bounds = bounds.clone();
    this.redraw();
  }

  /** Look at bounds along a direction, so that all of them is seen. */
  lookFrom(bounds: Box3, direction: Vector3, up: Vector3): void {
    const middle = bounds.getCenter(new Vector3());
    const radius = Math.max(bounds.getSize(new Vector3()).length() / 2, 1e-9);
    const aspect = Math.min(this.#perspective.aspect, 1);
    const distance = radius / Math.sin((FIELD_OF_VIEW / 2) * (Math.PI / 180)) / aspect;
    const position = middle.clone().addScaledVector(direction.clone().normalize(), distance);
    const center = new Vector3(...this.#center);
    this.pose = {
      position: position.add(center).toArray(),
      target: middle.add(center).toArray(),
      up: up.toArray(),
      halfHeight: radius / aspect,
    };
  }

  /** Return the cloud and the number of the point nearest to a place of the canvas, in CSS pixels; null for none. */
  pick(x: number, y: number): { cloud: Cloud; point: number } | null {
    const size = 2 * PICK_RADIUS + 1;
    const ratio = this.renderer.getPixelRatio();
    const { width, height } = this.renderer.domElement;
    const camera = this.#camera;
    camera.setViewOffset(width, height, x * ratio - PICK_RADIUS, y * ratio - PICK_RADIUS, size, size);
    let firstId = 0;
    const background = this.#scene.background;
    this.#scene.background = null;
    const firsts = this.#clouds.map((cloud) => {
      cloud.material.setPicking(true, firstId);
      firstId += cloud.n;
      return firstId - cloud.n;
    });
    const pixels = new Uint8Array(4 * size * size);
    this.renderer.setRenderTarget(this.#pickTarget);
    this.renderer.setClearColor(0, 0);
    this.renderer.clear();
    this.renderer.render(this.#scene, camera);
    this.renderer.readRenderTargetPixels(this.#pickTarget, 0, 0, size, size, pixels);
    this.renderer.setRenderTarget(null);
    this.#scene.background = background;
    camera.clearViewOffset();
    this.#clouds.forEach((cloud) => {
      cloud.material.setPicking(false, 0);
    });
    const id = nearestId(pixels, size);
    if (id === null) return null;
    const index = firsts.findLastIndex((first) => first <= id);
    const cloud = this.#clouds[index];
    return cloud ? { cloud, point: id - (firsts[index] as number) } : null;
  }

  /** Return the picture as it is on the screen. */
  async screenshot(): Promise<Blob> {
    this.#dirty = true;
    this.#draw();
    return await new Promise((resolve, reject) => {
      this.renderer.domElement.toBlob((blob) => {
        if (blob) resolve(blob);
        else reject(new Error("the browser made no picture"));
      }, "image/png");
    });
  }

  /** Pixels of the canvas. */
  get area(): number {
    const { width, height } = this.renderer.domElement;
    return width * height;
  }

  get #camera(): PerspectiveCamera | OrthographicCamera {
    return this.#projection === "perspective" ? this.#perspective : this.#orthographic;
  }

  get #halfHeight(): number {
    if (this.#projection === "orthographic") return 1 / this.#orthographic.zoom;
    const distance = this.#perspective.position.distanceTo(this.controls.target);
    return distance * Math.tan((FIELD_OF_VIEW / 2) * (Math.PI / 180));
  }

  #mirrorOne(cloud: Cloud): void {
    this.#mirrored.get(cloud)?.removeFromParent();
    this.#mirrored.delete(cloud);
    if (this.#mirrorAxis === null) return;
    const twin = cloud.points.clone();
    twin.scale.setComponent(this.#mirrorAxis, -1);
    twin.position.setComponent(this.#mirrorAxis, -2 * (this.#center[this.#mirrorAxis] as number));
    this.#mirrored.set(cloud, twin);
    this.#root.add(twin);
  }

  #resize(): void {
    const canvas = this.renderer.domElement;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (width === 0 || height === 0) return;
    this.renderer.setSize(width, height, false);
    const aspect = width / height;
    this.#perspective.aspect = aspect;
    this.#orthographic.left = -aspect;
    this.#orthographic.right = aspect;
    this.#perspective.updateProjectionMatrix();
    this.#orthographic.updateProjectionMatrix();
    this.redraw();
  }

  /** Keep everything between the near and the far plane, whatever the units are. */
  #setDepths(): void {
    const camera = this.#camera;
    const radius = Math.max(this.#bounds.getSize(new Vector3()).length(), 1e-9);
    const middle = this.#bounds.getCenter(new Vector3());
    if (this.#mirrorAxis !== null) middle.setComponent(this.#mirrorAxis, -(this.#center[this.#mirrorAxis] as number));
    const distance = camera.position.distanceTo(middle);
    const far = distance + 2 * radius;
    const near = Math.max(distance - 2 * radius, far * 1e-4);
    if (Math.abs(camera.far - far) < 1e-3 * far && Math.abs(camera.near - near) < 1e-3 * far) return;
    camera.near = camera === this.#orthographic ? -far : near;
    camera.far = far;
    camera.updateProjectionMatrix();
  }

  #draw(): void {
    if (!this.#dirty) return;
    this.#dirty = false;
    this.#setDepths();
    this.renderer.render(this.#scene, this.#camera);
  }
}

/** Turn with the arrow keys, zoom with plus and minus. */
function listenToKeys(canvas: HTMLCanvasElement, controls: OrbitControls): void {
  const step = Math.PI / 24;
  const actions: Record<string, () => void> = {
    ArrowLeft: () => { controls.rotateLeft(step); },
    ArrowRight: () => { controls.rotateLeft(-step); },
    ArrowUp: () => { controls.rotateUp(step); },
    ArrowDown: () => { controls.rotateUp(-step); },
    "+": () => { controls.dollyIn(0.9); },
    "-": () => { controls.dollyOut(0.9); },
  };
  canvas.addEventListener("keydown", (event) => {
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
    controls.dispatchEvent({ type: "end" });
  });
}

/** Return the id nearest to the middle of a square of pixels; null where there is none. */
function nearestId(pixels: Uint8Array, size: number): number | null {
  const middle = (size - 1) / 2;
  let best = Infinity;
  let found: number | null = null;
  for (let pixel = 0; pixel < size * size; pixel += 1) {
    const [a, b, c, d] = pixels.subarray(4 * pixel, 4 * pixel + 4) as unknown as [number, number, number, number];
    const id = a + 256 * b + 65_536 * c + 16_777_216 * d - 1;
    const distance = Math.hypot((pixel % size) - middle, Math.floor(pixel / size) - middle);
    if (id >= 0 && distance < best) [best, found] = [distance, id];
  }
  return found;
}
