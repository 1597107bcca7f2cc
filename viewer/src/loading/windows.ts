// Which chunks are requested together: one at first, so that a picture comes soon, then ever more.

const MOST_CHUNKS = 64;

/** Yield `[first, stop)` of windows that cover the chunks from `first` to `stop`, in order. */
export function* chunkWindows(first: number, stop: number, mostPoints: number, chunkPoints: number): Generator<[number, number]> {
  const most = Math.max(1, Math.min(MOST_CHUNKS, Math.floor(mostPoints / chunkPoints)));
  let size = Math.min(most, Math.max(first, 1));
  for (let begin = first; begin < stop; begin += size, size = Math.min(2 * size, most)) {
    yield [begin, Math.min(begin + size, stop)];
  }
}

/** Return the number of chunks that hold up to `nPoints` points; at least one. */
export function chunksWithin(nPoints: number, chunkPoints: number, nChunks: number): number {
  return Math.min(nChunks, Math.max(1, Math.floor(nPoints / chunkPoints)));
}
