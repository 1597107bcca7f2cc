// Which domains are shown, by which field, in which colours.

import type { DomainLayout, Manifest, Sample } from "../format/manifest";
import { COLORMAPS } from "../drawing/colormaps";
import type { Comparison, Layer } from "../state";
import { type Component, componentsOf } from "../values/components";
import { button, element, numberField, refill, select } from "./dom";

/** Fill the panel; `onChange` gets the layers. */
export function layersPanel(
  panel: HTMLElement, manifest: Manifest, sample: Sample, layers: readonly Layer[], onChange: (layers: Layer[]) => void,
): void {
  const fieldsets = [...sample.domains.keys()].map((domain) => {
    const layout = layoutOf(manifest, domain);
    const layer = layers.find((one) => one.domain === domain);
    const shown = element("input", { type: "checkbox", checked: layer !== undefined });
    shown.onchange = (): void => {
      const others = layers.filter((one) => one.domain !== domain);
      onChange(shown.checked ? [...others, defaultLayer(domain, layout)] : others);
    };
    const replace = (change: Partial<Layer>): void => {
      onChange(layers.map((one) => (one === layer ? { ...one, ...change } : one)));
    };
    return element("fieldset", {},
      element("legend", {}, element("label", {}, shown, domain)),
      ...(layer ? controls(layout, layer, replace) : []));
  });
  refill(panel, element("h2", {}, "Fields"), ...fieldsets);
}

function layoutOf(manifest: Manifest, domain: string): DomainLayout {
  const layout = manifest.domains.get(domain);
  if (!layout) throw new Error(`the store has no domain ${domain}`); // parseManifest has checked it
  return layout;
}

/** Return the layer that a domain is shown by at first: a scalar, if it has one. */
export function defaultLayer(domain: string, layout: DomainLayout): Layer {
  const fields = [...layout.fields.values()].filter(({ field }) => field !== layout.position);
  const chosen = fields.find(({ field }) => field.endsWith("_pressure")) ?? fields.find(({ width }) => width === 1) ?? fields[0];
  const field = chosen?.field ?? layout.position;
  return { domain, field, component: chosen?.width === 1 ? 0 : "magnitude", map: null, range: null, prediction: null, comparison: "truth" };
}

function controls(layout: DomainLayout, layer: Layer, replace: (change: Partial<Layer>) => void): HTMLElement[] {
  const width = layout.fields.get(layer.field)?.width ?? 1;
  const fields = [...layout.fields.values()];
  const parts = [
    select("Field", fields.map(({ field }) => [field, field]), layer.field, (field) => {
      replace({ field, component: layout.fields.get(field)?.width === 1 ? 0 : "magnitude", range: null, prediction: null, comparison: "truth" });
    }),
  ];
  if (width > 1) {
    parts.push(select("Component", componentsOf(width).map(([one, name]) => [`${one}`, name]), `${layer.component}`, (text) => {
      replace({ component: componentOf(text), range: null });
    }));
  }
  const alike = fields.filter((one) => one.width === width && one.field !== layer.field && one.field !== layout.position);
  if (alike.length > 0 && layer.field !== layout.position) {
    parts.push(select("Prediction", [["", "none"], ...alike.map(({ field }) => [field, field] as const)], layer.prediction ?? "", (field) => {
      replace({ prediction: field || null, comparison: field ? "difference" : "truth", range: null });
    }));
  }
  if (layer.prediction !== null) {
    const kinds: Comparison[] = ["truth", "prediction", "difference"];
    parts.push(select("Show", kinds.map((one) => [one, one]), layer.comparison, (one) => {
      replace({ comparison: one as Comparison, range: null });
    }));
  }
  parts.push(select("Colours", [["", "automatic"], ...COLORMAPS.map((one) => [one, one] as const)], layer.map ?? "", (one) => {
    replace({ map: COLORMAPS.find((map) => map === one) ?? null });
  }));
  return [...parts, rangeControls(layer, replace)];
}

function rangeControls(layer: Layer, replace: (change: Partial<Layer>) => void): HTMLElement {
  const [low, high] = layer.range ?? [null, null];
  let limits: [number | null, number | null] = [low, high];
  const take = (side: 0 | 1) => (value: number | null): void => {
    limits = side === 0 ? [value, limits[1]] : [limits[0], value];
    const [first, last] = limits;
    if (first !== null && last !== null && first < last) replace({ range: [first, last] });
  };
  return element("div", { className: "row" },
    numberField("From", low, take(0)),
    numberField("To", high, take(1)),
    button("1–99 %", () => {
      replace({ range: null });
    }));
}

function componentOf(text: string): Component {
  return text === "magnitude" ? text : Number(text);
}
