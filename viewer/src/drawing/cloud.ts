// The points of one domain, which come chunk by chunk into memory that was asked for once.

import { Box3, BufferAttribute, BufferGeometry, DynamicDrawUsage, Points, Sphere, Vector3 } from "three";

import { PointMaterial } from "./material";

/** A cloud of up to `capacity` points. */
export class Cloud {
  readonly points: Points<BufferGeometry, PointMaterial>;
  readonly material = new PointMaterial();
  /** Bounds of the finite positions so far, with the center subtracted. */
  readonly bounds = new Box3();
  readonly #position: Float32Array;
  readonly #value: Float32Array;
  readonly #rows: Int32Array;
  #n = 0;

  constructor(capacity: number) {
    this.#position = new Float32Array(3 * capacity);
    this.#value = new Float32Array(capacity);
    this.#rows = new Int32Array(capacity);
    const geometry = new BufferGeometry();
    geometry.setAttribute("position", new BufferAttribute(this.#position, 3).setUsage(DynamicDrawUsage));
    geometry.setAttribute("value", new BufferAttribute(this.#value, 1).setUsage(DynamicDrawUsage));
    geometry.setDrawRange(0, 0);
    geometry.boundingSphere = new Sphere(new Vector3(), Infinity);
    this.points = new Points(geometry, this.material);
    this.points.frustumCulled = false;
  }

  /** Number of points so far. */
  get n(): number {
    return this.#n;
  }

  /** Values of the points so far: a view. */
  get values(): Float32Array {
    return this.#value.subarray(0, this.#n);
  }

  /** Bytes that this cloud holds in the page and on the graphics card. */
  get nBytes(): number {
    return 2 * (this.#position.byteLength + this.#value.byteLength) + this.#rows.byteLength;
  }

  /** Return the stored row of a point. */
  rowOf(point: number): number {
    return this.#rows[point] as number;
  }

  /** Add points; `write` fills their values. */
  add(position: Float32Array, firstRow: number, write: (out: Float32Array, offset: number) => void): void {
    const first = this.#n;
    const count = position.length / 3;
    this.#position.set(position, 3 * first);
    write(this.#value, first);
    for (let i = 0; i < count; i += 1) this.#rows[first + i] = firstRow + i;
    this.#n += count;
    this.#extendBounds(position);
    this.points.geometry.setDrawRange(0, this.#n);
    this.#upload("position", 3 * first, 3 * count);
    this.#upload("value", first, count);
  }

  /** Write the values of all points again. */
  rewrite(write: (out: Float32Array) => void): void {
    write(this.#value);
    this.#upload("value", 0, this.#n);
  }

  dispose(): void {
    this.points.geometry.dispose();
    this.material.dispose();
  }

  #upload(name: string, start: number, count: number): void {
    const attribute = this.points.geometry.getAttribute(name) as BufferAttribute;
    attribute.addUpdateRange(start, count);
    attribute.needsUpdate = true;
  }

  #extendBounds(position: Float32Array): void {
    const { min, max } = this.bounds;
    for (let i = 0; i < position.length; i += 3) {
      const [x, y, z] = [position[i] as number, position[i + 1] as number, position[i + 2] as number];
      if (!Number.isFinite(x + y + z)) continue;
      min.set(Math.min(min.x, x), Math.min(min.y, y), Math.min(min.z, z));
      max.set(Math.max(max.x, x), Math.max(max.y, y), Math.max(max.z, z));
    }
  }
}
