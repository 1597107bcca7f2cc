// Chunks of a store's arrays, read with zarrita and checked.

import { FetchStore, open, registry, root, withConsolidatedMetadata, withRangeCoalescing } from "zarrita";
import type { Array as ZarrArray, AsyncReadable, DataType } from "zarrita";

import { CheckedCrc32c } from "./checksum";
import { fetchChecked, fetchText, StoreError } from "./fetching";
import { type FieldLayout, type Manifest, parseManifest, type Sample } from "./manifest";
import { type FieldStatistics, parseStatistics } from "./statistics";

export type Values = Float16Array | Float32Array | Float64Array;

/** A chunk of one field: `rows × width` values, with the padding of a short chunk cut off. */
export interface FieldChunk {
  readonly data: Values;
  readonly width: number;
}

registry.set("crc32c", () => Promise.resolve(CheckedCrc32c as never));

/** Begin to load the code that decompresses chunks, which zarrita would load with the first chunk. */
export function loadCodec(): void {
  registry.get("blosc")?.().catch(() => undefined); // zarrita asks again, and reports the error
}

/** Read the manifest of the store at a URL that ends in a slash. */
export async function readManifest(store: URL): Promise<Manifest> {
  const text = await fetchText(new URL("manifest.json", store));
  if (text === null) throw new StoreError(`${store.href} holds no manifest.json: it is no store`);
  return parseManifest(text);
}

/** Read statistics that lie beside the manifest; none where there are none, or none that can be read. */
export async function readStatistics(store: URL): Promise<Map<string, FieldStatistics>> {
  try {
    return parseStatistics((await fetchText(new URL("statistics.json", store))) ?? "{}");
  } catch (error) {
    console.warn(`statistics.json is left out: ${String(error)}`);
    return new Map();
  }
}

/** Reads chunks of one sample. Arrays are opened once, on first use. */
export class SampleReader {
  readonly #sample: Sample;
  readonly #group: Promise<AsyncReadable>;
  readonly #arrays = new Map<string, Promise<ZarrArray<DataType>>>();

  constructor(store: URL, sample: Sample) {
    this.#sample = sample;
    const group = new FetchStore(new URL(`${encoded(sample.relpath)}/`, store), { fetch: fetchChecked, useSuffixRequest: true });
    this.#group = withConsolidatedMetadata(withRangeCoalescing(group), { format: "v3" });
  }

  /** Units of a field, as the array's attributes have them. */
  async units(field: FieldLayout): Promise<string> {
    const units = (await this.#array(field)).attrs["units"];
    return typeof units === "string" ? units : "";
  }

  /** Read one chunk of a field. Chunks of one shard that are asked for at once come in one request. */
  async read(field: FieldLayout, domain: string, chunk: number, signal?: AbortSignal): Promise<FieldChunk> {
    const layout = this.#sample.domains.get(domain);
    if (!layout) throw new StoreError(`${this.#sample.id}: it has no domain ${domain}`);
    const rows = Math.min(layout.chunkPoints, layout.nPoints - chunk * layout.chunkPoints);
    try {
      const array = await this.#array(field);
      const { data } = await array.getChunk([chunk, 0], signal ? { signal } : {});
      if (!isFloating(data)) throw new Error(`expected floating point numbers, got ${array.dtype}`);
      if (data.length < rows * field.width) throw new Error(`expected ${rows * field.width} values, got ${data.length}`);
      return { data: data.subarray(0, rows * field.width), width: field.width };
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new StoreError(`${this.#sample.id}: ${field.field}: chunk ${chunk}: ${reason(error)}`, { cause: error });
    }
  }

  #array(field: FieldLayout): Promise<ZarrArray<DataType>> {
    let array = this.#arrays.get(field.field);
    if (!array) {
      array = this.#open(field);
      this.#arrays.set(field.field, array);
      array.catch(() => this.#arrays.delete(field.field));
    }
    return array;
  }

  async #open(field: FieldLayout): Promise<ZarrArray<DataType>> {
    return await open.v3(root(await this.#group).resolve(field.arrayName), { kind: "array" });
  }
}

function encoded(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}

function isFloating(data: unknown): data is Values {
  return data instanceof Float16Array || data instanceof Float32Array || data instanceof Float64Array;
}

/** Return the innermost message: zarrita wraps what its codecs say. */
function reason(error: unknown): string {
  let found = error;
  while (found instanceof Error && found.cause !== undefined) found = found.cause;
  return found instanceof Error ? found.message : String(found);
}
