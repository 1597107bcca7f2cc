// Everything that a link has to say to show the same view, and its form in the address.

import { type Colormap, COLORMAPS } from "./drawing/colormaps";
import type { CameraPose, Projection } from "./drawing/stage";
import type { Component } from "./values/components";

/** What is shown of a field beside the one that it is compared with. */
export type Comparison = "truth" | "prediction" | "difference";

/** The points of one domain, coloured by one field. */
export interface Layer {
  readonly domain: string;
  readonly field: string;
  readonly component: Component;
  /** null chooses one by the sign of the values. */
  readonly map: Colormap | null;
  /** null takes percentiles of the loaded values. */
  readonly range: readonly [number, number] | null;
  /** Field that holds the prediction of `field`; null for none. */
  readonly prediction: string | null;
  readonly comparison: Comparison;
}

/** Lowest and highest coordinate that is shown, by axis; null for no limit. */
export type Clip = readonly (readonly [number | null, number | null])[];

export interface ViewState {
  readonly sample: string | null;
  /** A second sample, shown beside the first with the same camera. */
  readonly beside: string | null;
  readonly layers: readonly Layer[];
  /** Most points of a layer; null for one chunk, Infinity for all. */
  readonly budget: number | null;
  /** Diameter of a point in pixels; null for one by the number of points. */
  readonly size: number | null;
  readonly projection: Projection;
  readonly camera: CameraPose | null;
  readonly clip: Clip;
  /** Axis whose coordinate is mirrored at 0; null for none. */
  readonly mirror: number | null;
}

const AXES = ["x", "y", "z"] as const;
export const NO_CLIP: Clip = [[null, null], [null, null], [null, null]];

export const DEFAULT_STATE: ViewState = {
  sample: null,
  beside: null,
  layers: [],
  budget: 262_144,
  size: null,
  projection: "perspective",
  camera: null,
  clip: NO_CLIP,
  mirror: null,
};

/** Write the state as the query of an address; what is as by default is left out. */
export function queryOf(state: ViewState): URLSearchParams {
  const query = new URLSearchParams();
  const put = (key: string, value: string | null): void => {
    if (value !== null) query.append(key, value);
  };
  put("sample", state.sample);
  put("beside", state.beside);
  for (const layer of state.layers) put("layer", textOfLayer(layer));
  if (state.budget !== DEFAULT_STATE.budget) put("points", textOfBudget(state.budget));
  if (state.size !== DEFAULT_STATE.size) put("size", textOf(state.size));
  if (state.projection !== DEFAULT_STATE.projection) put("projection", state.projection);
  if (state.camera) put("camera", numbersOfPose(state.camera).map(textOf).join(","));
  state.clip.forEach(([low, high], axis) => {
    if (low !== null || high !== null) put(`clip-${AXES[axis] ?? ""}`, `${textOf(low)},${textOf(high)}`);
  });
  if (state.mirror !== null) put("mirror", AXES[state.mirror] ?? null);
  return query;
}

/** Read the state from the query of an address. What cannot be read is as by default. */
export function stateOf(query: URLSearchParams): ViewState {
  const mirror = AXES.findIndex((axis) => axis === query.get("mirror"));
  const size = Number(query.get("size") ?? 0);
  return {
    sample: query.get("sample"),
    beside: query.get("beside"),
    layers: query.getAll("layer").flatMap(layerOf),
    budget: budgetOf(query.get("points")),
    size: size >= 1 && size <= 32 ? size : DEFAULT_STATE.size,
    projection: query.get("projection") === "orthographic" ? "orthographic" : "perspective",
    camera: poseOf(query.get("camera")),
    clip: AXES.map((axis) => limitsOf(query.get(`clip-${axis}`))),
    mirror: mirror < 0 ? null : mirror,
  };
}

function textOfLayer(layer: Layer): string {
  const parts = [
    layer.domain,
    layer.field,
    `${layer.component}`,
    layer.map ?? "",
    layer.range ? layer.range.map(textOf).join("~") : "",
    layer.prediction ?? "",
    layer.prediction === null ? "" : layer.comparison,
  ];
  return parts.map(encodeURIComponent).join(",").replace(/,+$/, "");
}

function layerOf(text: string): Layer[] {
  let parts: string[];
  try {
    parts = text.split(",").map(decodeURIComponent);
  } catch {
    return []; // a percent sign that begins no byte
  }
  const [domain, field, component = "0", map = "", range = "", prediction = "", comparison = ""] = parts;
  if (!domain || !field) return [];
  const limits = range.split("~").map(Number);
  const [low, high] = limits;
  return [
    {
      domain,
      field,
      component: component === "magnitude" ? component : Math.max(0, Math.trunc(Number(component)) || 0),
      map: COLORMAPS.find((one) => one === map) ?? null,
      range: range && limits.length === 2 && low !== undefined && high !== undefined && low < high ? [low, high] : null,
      prediction: prediction || null,
      comparison: comparison === "prediction" || comparison === "difference" ? comparison : "truth",
    },
  ];
}

function textOfBudget(budget: number | null): string {
  if (budget === null) return "chunk";
  return budget === Infinity ? "all" : `${budget}`;
}

function budgetOf(text: string | null): number | null {
  if (text === "chunk") return null;
  if (text === "all") return Infinity;
  const budget = Number(text ?? DEFAULT_STATE.budget);
  return Number.isSafeInteger(budget) && budget > 0 ? budget : DEFAULT_STATE.budget;
}

function numbersOfPose(pose: CameraPose): number[] {
  return [...pose.position, ...pose.target, ...pose.up, pose.halfHeight];
}

function poseOf(text: string | null): CameraPose | null {
  const numbers = text?.split(",").map(Number) ?? [];
  if (numbers.length !== 10 || !numbers.every(Number.isFinite)) return null;
  const point = (first: number): [number, number, number] => numbers.slice(first, first + 3) as [number, number, number];
  return { position: point(0), target: point(3), up: point(6), halfHeight: numbers[9] as number };
}

function limitsOf(text: string | null): readonly [number | null, number | null] {
  const [low = "", high = ""] = text?.split(",") ?? [];
  const read = (part: string): number | null => (part !== "" && Number.isFinite(Number(part)) ? Number(part) : null);
  return [read(low), read(high)];
}

function textOf(value: number | null): string {
  // Six digits place a camera to a pixel.
  return value === null ? "" : `${Number(value.toPrecision(6))}`;
}
