// The colour bar of a layer, with its histogram and the number of points.

import type { LayerView } from "../drawing/layer_view";
import { TABLE_SIZE, tableOf } from "../drawing/colormaps";
import { formatNumber, histogram } from "../values/range";
import { element } from "./dom";

const N_BINS = 64;
const HEIGHT = 40;

/** Make the legend of one layer; `beside` is the same layer of the sample beside it. */
export function legend(view: LayerView, beside: LayerView | undefined): HTMLElement {
  const [low, high] = view.range;
  const { component, field, comparison, prediction } = view.layer;
  const width = view.field.width;
  const part = width === 1 ? "" : component === "magnitude" ? ", magnitude" : `, ${"xyz".charAt(component) || component}`;
  const what = prediction === null || comparison === "truth" ? field : comparison === "prediction" ? prediction : `${prediction} − ${field}`;
  const units = view.units && view.units !== "1" ? ` [${view.units}]` : "";
  const bar = element("canvas", { width: TABLE_SIZE, height: HEIGHT + 12 });
  bar.setAttribute("role", "img");
  bar.ariaLabel = `Colours from ${formatNumber(low)} to ${formatNumber(high)}, with a histogram`;
  paint(bar, view, low, high);
  return element("figure", { className: "legend" },
    element("figcaption", {}, `${what}${part}${units}`),
    bar,
    element("div", { className: "ends" }, element("span", {}, formatNumber(low)), element("span", {}, formatNumber(high))),
    ...[view, ...(beside ? [beside] : [])].map((one) => element("output", { className: "count" }, textOfCounts(one, beside !== undefined))));
}

function textOfCounts(view: LayerView, isNamed: boolean): string {
  const [n, all] = view.counts;
  return `${isNamed ? `${view.source.sample.id}: ` : ""}${n.toLocaleString("en")} of ${all.toLocaleString("en")} points`;
}

function paint(canvas: HTMLCanvasElement, view: LayerView, low: number, high: number): void {
  const context = canvas.getContext("2d");
  if (!context) return;
  const table = tableOf(view.map);
  for (let i = 0; i < TABLE_SIZE; i += 1) {
    context.fillStyle = `rgb(${table.subarray(4 * i, 4 * i + 3).join(" ")})`;
    context.fillRect(i, HEIGHT, 1, 12);
  }
  const counts = histogram(view.cloud.values, low, high, N_BINS);
  const most = Math.max(...counts, 1);
  context.fillStyle = getComputedStyle(document.body).color;
  counts.forEach((count, bin) => {
    const height = (count / most) * (HEIGHT - 2);
    context.fillRect((bin * TABLE_SIZE) / N_BINS, HEIGHT - height, TABLE_SIZE / N_BINS - 1, height);
  });
}
