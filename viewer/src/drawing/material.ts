// How a point is drawn: a disc, coloured by its value, clipped by a box.

import { DataTexture, GLSL3, NearestFilter, RGBAFormat, ShaderMaterial, Vector2, Vector3 } from "three";

import { type Colormap, TABLE_SIZE, tableOf } from "./colormaps";

const VERTEX = /* glsl */ `
  in float value;
  uniform vec2 range;
  uniform float size;
  uniform vec3 clipLow;
  uniform vec3 clipHigh;
  uniform bool picking;
  uniform int firstId;
  uniform sampler2D colors;
  out vec3 color;
  flat out int id;

  void main() {
    vec4 view = modelViewMatrix * vec4(position, 1.0);
    gl_Position = projectionMatrix * view;
    bool shown = all(greaterThanEqual(position, clipLow)) && all(lessThanEqual(position, clipHigh));
    // NaN and infinity are no colour of the map: they stand out in magenta.
    bool finite = !isnan(value) && !isinf(value);
    float place = clamp((value - range.x) / (range.y - range.x), 0.0, 1.0);
    color = finite ? texelFetch(colors, ivec2(int(place * ${TABLE_SIZE - 1}.0 + 0.5), 0), 0).rgb : vec3(1.0, 0.0, 1.0);
    id = firstId + gl_VertexID;
    gl_PointSize = picking ? max(size, 5.0) : size;
    if (!shown) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
  }
`;

const FRAGMENT = /* glsl */ `
  precision highp float;
  uniform bool picking;
  in vec3 color;
  flat in int id;
  layout(location = 0) out vec4 result;

  void main() {
    vec2 place = gl_PointCoord - 0.5;
    if (dot(place, place) > 0.25) discard;
    if (picking) {
      int one = id + 1;
      result = vec4(float(one & 255), float((one >> 8) & 255), float((one >> 16) & 255), float((one >> 24) & 255)) / 255.0;
    } else {
      result = vec4(color, 1.0);
    }
  }
`;

/** The material of a cloud of points. */
export class PointMaterial extends ShaderMaterial {
  #map: Colormap = "viridis";

  constructor() {
    super({
      glslVersion: GLSL3,
      vertexShader: VERTEX,
      fragmentShader: FRAGMENT,
      uniforms: {
        range: { value: new Vector2(0, 1) },
        size: { value: 3 },
        clipLow: { value: new Vector3(-Infinity, -Infinity, -Infinity) },
        clipHigh: { value: new Vector3(Infinity, Infinity, Infinity) },
        picking: { value: false },
        firstId: { value: 0 },
        colors: { value: textureOf("viridis") },
      },
    });
  }

  setRange(low: number, high: number): void {
    (this.uniforms["range"]?.value as Vector2).set(low, high);
  }

  setSize(pixels: number): void {
    this.#set("size", pixels);
  }

  setClip(low: Vector3, high: Vector3): void {
    this.#set("clipLow", low);
    this.#set("clipHigh", high);
  }

  /** Draw the number of each point instead of its colour. */
  setPicking(picking: boolean, firstId: number): void {
    this.#set("picking", picking);
    this.#set("firstId", firstId);
  }

  setColormap(map: Colormap): void {
    if (map === this.#map) return;
    this.#map = map;
    (this.uniforms["colors"]?.value as DataTexture).dispose();
    this.#set("colors", textureOf(map));
  }

  override dispose(): void {
    (this.uniforms["colors"]?.value as DataTexture).dispose();
    super.dispose();
  }

  #set(name: string, value: unknown): void {
    const uniform = this.uniforms[name];
    if (uniform) uniform.value = value;
  }
}

function textureOf(map: Colormap): DataTexture {
  const texture = new DataTexture(tableOf(map), TABLE_SIZE, 1, RGBAFormat);
  texture.minFilter = NearestFilter;
  texture.magFilter = NearestFilter;
  texture.needsUpdate = true;
  return texture;
}
