// One number of each point, to colour it with.

import type { Values } from "../format/reading";

/** A component by its index, or the length of the vector. */
export type Component = number | "magnitude";

/** Write the component of `nRows` rows into `out`, from `offset` on. */
export function writeComponent(data: Values, width: number, component: Component, out: Float32Array, offset: number): void {
  const nRows = data.length / width;
  if (component === "magnitude") {
    for (let row = 0; row < nRows; row += 1) {
      let sum = 0;
      for (let i = row * width; i < (row + 1) * width; i += 1) sum += (data[i] as number) ** 2;
      out[offset + row] = Math.sqrt(sum);
    }
  } else {
    for (let row = 0; row < nRows; row += 1) out[offset + row] = data[row * width + component] as number;
  }
}

/** Write the magnitude of the difference of two fields, or the difference of one component. */
export function writeDifference(
  truth: Values, prediction: Values, width: number, component: Component, out: Float32Array, offset: number,
): void {
  const difference = Float64Array.from(prediction, (value, i) => value - (truth[i] as number));
  writeComponent(difference, width, component, out, offset);
}

/** Return the components that a field of this width offers, with their labels. */
export function componentsOf(width: number): readonly (readonly [Component, string])[] {
  if (width === 1) return [[0, "value"]];
  const names = width === 3 ? ["x", "y", "z"] : Array.from({ length: width }, (_, i) => `${i}`);
  return [["magnitude", "magnitude"], ...names.map((name, i) => [i, name] as const)];
}
