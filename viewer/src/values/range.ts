// The range of a colour bar, and histograms.

/** Return the values at two percentiles of the finite values, from a sample of them. */
export function percentileRange(values: Float32Array, low: number, high: number, most = 65_536): [number, number] {
  // Any rows of a shuffled store are a random sample of it: the first will do.
  const finite = values.subarray(0, most).filter(Number.isFinite).sort();
  if (finite.length === 0) return [0, 1];
  const at = (percent: number): number => finite[Math.round((percent / 100) * (finite.length - 1))] as number;
  return widened(at(low), at(high));
}

/** Return a range that is not empty. */
export function widened(low: number, high: number): [number, number] {
  if (high > low) return [low, high];
  const half = Math.max(Math.abs(low) * 1e-3, 1e-6);
  return [low - half, low + half];
}

/** Return how many finite values lie in each of `nBins` bins from `low` to `high`; values beyond it are left out. */
export function histogram(values: Float32Array, low: number, high: number, nBins: number): Uint32Array {
  const counts = new Uint32Array(nBins);
  const scale = nBins / (high - low);
  for (const value of values) {
    if (!(value >= low && value <= high)) continue;
    const bin = Math.min(Math.floor((value - low) * scale), nBins - 1);
    counts[bin] = (counts[bin] as number) + 1;
  }
  return counts;
}

/** Return whether values lie on both sides of zero, and not far more on one: a diverging map tells them apart. */
export function isSigned(low: number, high: number): boolean {
  return low < 0 && high > 0 && Math.min(-low, high) > 0.1 * Math.max(-low, high);
}

/** Write a number for people: four digits. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(3);
  return Number(value.toPrecision(4)).toString();
}
