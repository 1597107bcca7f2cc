// Statistics that `noether-zarr stats --output` has written beside the manifest.

/** Figures of one field, by component. */
export interface FieldStatistics {
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly min: readonly number[];
  readonly max: readonly number[];
}

/** Read the text of a `statistics.json`; fields that are not as expected are left out. */
export function parseStatistics(text: string): Map<string, FieldStatistics> {
  const found = new Map<string, FieldStatistics>();
  const document = JSON.parse(text) as unknown;
  if (typeof document !== "object" || document === null) return found;
  for (const [field, figures] of Object.entries(document)) {
    if (isStatistics(figures)) found.set(field, figures);
  }
  return found;
}

function isStatistics(figures: unknown): figures is FieldStatistics {
  if (typeof figures !== "object" || figures === null) return false;
  const named = figures as Record<string, unknown>;
  return ["mean", "std", "min", "max"].every((name) => {
    const numbers = named[name];
    return Array.isArray(numbers) && numbers.every((one) => typeof one === "number");
  });
}
