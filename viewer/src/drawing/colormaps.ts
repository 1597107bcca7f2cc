// Perceptually uniform colour maps for values, and a diverging one for values about a middle.

import { CIVIDIS, INFERNO, VIRIDIS } from "./colormap_tables";

export type Rgb = readonly [number, number, number];

/** Names of the maps, the sequential ones first. */
export const COLORMAPS = ["viridis", "cividis", "inferno", "gray", "coolwarm"] as const;
export type Colormap = (typeof COLORMAPS)[number];

export const DIVERGING: Colormap = "coolwarm";

/** Number of colours in a table for the graphics card. */
export const TABLE_SIZE = 256;

/** Return the colour at a place from 0 to 1, as numbers from 0 to 1 in sRGB. */
export function colorAt(map: Colormap, place: number): Rgb {
  const t = Math.min(Math.max(place, 0), 1);
  switch (map) {
    case "viridis":
      return between(VIRIDIS, t);
    case "inferno":
      return between(INFERNO, t);
    case "cividis":
      return between(CIVIDIS, t);
    case "gray":
      // Lightness L* rises evenly from 10 to 95.
      return grayOfLightness(10 + 85 * t);
    case "coolwarm":
      return diverging([59 / 255, 76 / 255, 192 / 255], [180 / 255, 4 / 255, 38 / 255], t);
  }
}

/** Return the map as `TABLE_SIZE` colours of four bytes. */
export function tableOf(map: Colormap): Uint8Array {
  const table = new Uint8Array(4 * TABLE_SIZE);
  for (let i = 0; i < TABLE_SIZE; i += 1) {
    const color = colorAt(map, i / (TABLE_SIZE - 1));
    table.set([...color.map((one) => Math.round(255 * one)), 255], 4 * i);
  }
  return table;
}

function between(samples: string, t: number): Rgb {
  const last = samples.length / 6 - 1;
  const first = Math.min(Math.floor(t * last), last - 1);
  const part = t * last - first;
  const channel = (sample: number, k: number): number =>
    parseInt(samples.slice(6 * sample + 2 * k, 6 * sample + 2 * k + 2), 16) / 255;
  const mix = (k: number): number => channel(first, k) * (1 - part) + channel(first + 1, k) * part;
  return [mix(0), mix(1), mix(2)];
}

// Kenneth Moreland, "Diverging Color Maps for Scientific Visualization" (2009): two colours and white between them,
// interpolated in Msh, the polar form of CIELAB, in which the lightness has no kink.

const WHITE: Rgb = [0.95047, 1, 1.08883];
const WHITE_M = 88;

function diverging(low: Rgb, high: Rgb, t: number): Rgb {
  const [m1, s1, h1] = mshOfRgb(low);
  const [m2, s2, h2] = mshOfRgb(high);
  const middle = Math.max(m1, m2, WHITE_M);
  if (t < 0.5) {
    const u = 2 * t;
    return rgbOfMsh(mix(m1, middle, u), mix(s1, 0, u), mix(h1, adjustedHue(m1, s1, h1, middle), u));
  }
  const u = 2 * t - 1;
  return rgbOfMsh(mix(middle, m2, u), mix(0, s2, u), mix(adjustedHue(m2, s2, h2, middle), h2, u));
}

/** Return the hue at the unsaturated end, turned so that the step in colour is even. */
function adjustedHue(m: number, s: number, h: number, mUnsaturated: number): number {
  if (m >= mUnsaturated) return h;
  const spin = (s * Math.sqrt(mUnsaturated ** 2 - m ** 2)) / (m * Math.sin(s));
  return h > -Math.PI / 3 ? h + spin : h - spin;
}

function mshOfRgb(rgb: Rgb): Rgb {
  const [r, g, b] = rgb.map(linearOfSrgb) as unknown as Rgb;
  const x = 0.4124 * r + 0.3576 * g + 0.1805 * b;
  const y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  const z = 0.0193 * r + 0.1192 * g + 0.9505 * b;
  const [fx, fy, fz] = [x / WHITE[0], y / WHITE[1], z / WHITE[2]].map(cubeRootOf) as [number, number, number];
  const [lightness, a, bb] = [116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)];
  const m = Math.hypot(lightness, a, bb);
  return [m, Math.acos(lightness / m), Math.atan2(bb, a)];
}

function rgbOfMsh(m: number, s: number, h: number): Rgb {
  const lightness = m * Math.cos(s);
  const a = m * Math.sin(s) * Math.cos(h);
  const b = m * Math.sin(s) * Math.sin(h);
  const fy = (lightness + 16) / 116;
  const x = WHITE[0] * cubeOf(fy + a / 500);
  const y = WHITE[1] * cubeOf(fy);
  const z = WHITE[2] * cubeOf(fy - b / 200);
  return [
    srgbOfLinear(3.2406 * x - 1.5372 * y - 0.4986 * z),
    srgbOfLinear(-0.9689 * x + 1.8758 * y + 0.0415 * z),
    srgbOfLinear(0.0557 * x - 0.204 * y + 1.057 * z),
  ];
}

function grayOfLightness(lightness: number): Rgb {
  const level = srgbOfLinear(cubeOf((lightness + 16) / 116));
  return [level, level, level];
}

// CIE 15:2004, CIELAB; IEC 61966-2-1, sRGB.
function cubeRootOf(t: number): number {
  return t > (6 / 29) ** 3 ? Math.cbrt(t) : t / (3 * (6 / 29) ** 2) + 4 / 29;
}

function cubeOf(t: number): number {
  return t > 6 / 29 ? t ** 3 : 3 * (6 / 29) ** 2 * (t - 4 / 29);
}

function linearOfSrgb(value: number): number {
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
}

function srgbOfLinear(value: number): number {
  const clamped = Math.min(Math.max(value, 0), 1);
  return clamped <= 0.0031308 ? 12.92 * clamped : 1.055 * clamped ** (1 / 2.4) - 0.055;
}

function mix(a: number, b: number, t: number): number {
  return a + (b - a) * t;
}
