// What the store says of a sample, and what a click found.

import type { Sample } from "../format/manifest";
import type { FieldStatistics } from "../format/statistics";
import { formatNumber } from "../values/range";
import { element } from "./dom";

/** Fill the panel with attributes, with what the stored dtype lost, and with statistics of the store. */
export function infoPanel(panel: HTMLElement, sample: Sample, statistics: ReadonlyMap<string, FieldStatistics>): void {
  const attributes = Object.entries(sample.attributes).map(([name, value]) => row(name, JSON.stringify(value)));
  const losses = [...sample.loss].map(([field, loss]) =>
    row(field, [
      loss.maxAbsError === null ? "" : `largest error ${formatNumber(loss.maxAbsError)}`,
      loss.maxRelError === null ? "" : `relative ${formatNumber(loss.maxRelError)}`,
      loss.flushedToZero ? `${loss.flushedToZero.toLocaleString("en")} flushed to zero` : "",
    ].filter(Boolean).join(", ")));
  panel.replaceChildren(
    element("h2", {}, sample.id),
    table("Attributes", attributes, "The sample has no attributes."),
    table("Loss of the stored dtype", losses, "The store does not tell the loss of the stored dtype."),
    table("Statistics of the store", [...statistics].map(([field, one]) => row(field, textOfStatistics(one))), ""),
  );
}

function textOfStatistics({ mean, std, min, max }: FieldStatistics): string {
  const all = (numbers: readonly number[]): string => numbers.map(formatNumber).join(", ");
  return `mean ${all(mean)}; std ${all(std)}; from ${all(min)} to ${all(max)}`;
}

/** A point that was clicked. */
export interface Picked {
  readonly sample: string;
  readonly domain: string;
  readonly row: number;
  readonly sourceRow: number | null;
  readonly values: ReadonlyMap<string, readonly number[]>;
  readonly units: ReadonlyMap<string, string>;
  readonly errors: ReadonlyMap<string, string>;
}

/** Fill the panel with a picked point. */
export function pickedPanel(panel: HTMLElement, picked: Picked | null): void {
  panel.hidden = picked === null;
  if (picked === null) return;
  const units = (field: string): string => {
    const text = picked.units.get(field);
    return text && text !== "1" ? ` ${text}` : "";
  };
  const values = [...picked.values].map(([field, numbers]) => row(field, `${numbers.map(shortest).join(", ")}${units(field)}`));
  const errors = [...picked.errors].map(([field, error]) => row(field, error));
  const source = picked.sourceRow === null ? [] : [row("source row", `${picked.sourceRow}`)];
  panel.replaceChildren(
    element("h2", {}, "Point"),
    table(`${picked.sample}, ${picked.domain}`, [row("stored row", `${picked.row}`), ...source, ...values, ...errors], ""));
}

/** Write a float32 with as many digits as tell it from its neighbours. */
function shortest(value: number): string {
  for (let digits = 1; digits < 9; digits += 1) {
    const text = Number(value.toPrecision(digits));
    if (Math.fround(text) === value) return `${text}`;
  }
  return `${value}`;
}

function table(caption: string, rows: HTMLTableRowElement[], none: string): HTMLElement {
  return rows.length > 0
    ? element("table", {}, element("caption", {}, caption), element("tbody", {}, ...rows))
    : element("p", { className: "note" }, none);
}

function row(name: string, value: string): HTMLTableRowElement {
  return element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value));
}
