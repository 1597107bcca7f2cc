// Reads and decodes chunks beside the page, so that the picture moves while they come.

import type { FieldLayout, Sample } from "../format/manifest";
import { type FieldChunk, loadCodec, SampleReader, type Values } from "../format/reading";
import type { Answer, LoadRequest, PickRequest, Request } from "./protocol";
import { chunkWindows } from "./windows";

const WINDOW_POINTS = 262_144;

type Point = readonly [number, number, number];

const cancelled = new Map<number, AbortController>();
const readers = new Map<string, SampleReader>();

loadCodec();

self.onmessage = ({ data: request }: MessageEvent<Request>): void => {
  if (request.kind === "cancel") {
    cancelled.get(request.id)?.abort();
    return;
  }
  const controller = new AbortController();
  cancelled.set(request.id, controller);
  const work = request.kind === "load" ? load(request, controller.signal) : pick(request);
  work
    .catch((error: unknown) => {
      if (!controller.signal.aborted) answer({ kind: "failed", id: request.id, error: message(error) });
    })
    .finally(() => cancelled.delete(request.id));
};

async function load(request: LoadRequest, signal: AbortSignal): Promise<void> {
  const { id, sample, domain, layout } = request;
  const reader = readerOf(request.store, sample);
  const size = sample.domains.get(domain);
  const position = layout.fields.get(layout.position);
  if (!size || !position) throw new Error(`${sample.id}: it has no domain ${domain}`);
  const fields = request.fields.map((name) => fieldOf(layout.fields, name));
  let center = request.center;
  // The next window is on its way while this one is decoded.
  let previous: Promise<void> = Promise.resolve();
  for (const [first, stop] of chunkWindows(request.firstChunk, request.stopChunk, WINDOW_POINTS, size.chunkPoints)) {
    const window = range(first, stop).map((chunk) => readChunk(reader, domain, [position, ...fields], chunk, signal));
    window.forEach((one) => void one.catch(() => undefined)); // each is awaited below
    await previous;
    previous = (async (): Promise<void> => {
      for (const [i, one] of window.entries()) {
        const chunk = first + i;
        try {
          const [coordinates, ...values] = await one;
          if (!coordinates) throw new Error("no coordinates");
          center ??= middleOf(coordinates.data);
          const named = new Map(fields.map((field, k) => [field.field, (values[k] as FieldChunk).data]));
          post(id, chunk, size.chunkPoints, coordinates.data, center, named);
        } catch (error) {
          if (signal.aborted) return;
          answer({ kind: "damage", id, chunk, error: message(error) });
        }
      }
    })();
    // The first picture waits for nothing but itself.
    if (first === request.firstChunk) await previous;
    if (signal.aborted) return;
  }
  await previous;
  if (signal.aborted) return;
  const units = await Promise.all(fields.map(async (field) => [field.field, await reader.units(field)] as const));
  answer({ kind: "done", id, units: new Map(units) });
}

async function pick(request: PickRequest): Promise<void> {
  const reader = readerOf(request.store, request.sample);
  const chunkPoints = request.sample.domains.get(request.domain)?.chunkPoints ?? 1;
  const chunk = Math.floor(request.row / chunkPoints);
  const row = request.row - chunk * chunkPoints;
  const values = new Map<string, readonly number[]>();
  const units = new Map<string, string>();
  const errors = new Map<string, string>();
  const each = [...request.layout.fields.values()].map(async (field) => {
    try {
      const { data, width } = await reader.read(field, request.domain, chunk);
      values.set(field.field, [...data.subarray(row * width, (row + 1) * width)]);
      units.set(field.field, await reader.units(field));
    } catch (error) {
      errors.set(field.field, message(error));
    }
  });
  await Promise.all(each);
  answer({ kind: "picked", id: request.id, values, units, errors });
}

function readChunk(
  reader: SampleReader, domain: string, fields: readonly FieldLayout[], chunk: number, signal: AbortSignal,
): Promise<FieldChunk[]> {
  return Promise.all(fields.map((field) => reader.read(field, domain, chunk, signal)));
}

function post(id: number, chunk: number, chunkPoints: number, coordinates: Values, center: Point, values: Map<string, Values>): void {
  const position = Float32Array.from(coordinates, (value, i) => value - (center[i % 3] as number));
  // A copy each: a chunk is a view of a larger memory, which cannot be handed over in part.
  const copies = new Map([...values].map(([field, data]) => [field, data.slice()]));
  const buffers = [position.buffer, ...[...copies.values()].map((data) => data.buffer)] as Transferable[];
  const nRows = position.length / 3;
  answer({ kind: "chunk", id, chunk, firstRow: chunk * chunkPoints, nRows, center, position, values: copies }, buffers);
}

/** Return the middle of the bounds of finite coordinates. */
function middleOf(coordinates: Values): Point {
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  coordinates.forEach((value, i) => {
    if (!Number.isFinite(value)) return;
    low[i % 3] = Math.min(low[i % 3] as number, value);
    high[i % 3] = Math.max(high[i % 3] as number, value);
  });
  const middle = low.map((value, axis) => (value + (high[axis] as number)) / 2);
  return middle.map((value) => (Number.isFinite(value) ? value : 0)) as unknown as Point;
}

function readerOf(store: string, sample: Sample): SampleReader {
  const key = `${store}\n${sample.relpath}`;
  const reader = readers.get(key) ?? new SampleReader(new URL(store), sample);
  readers.set(key, reader);
  return reader;
}

function fieldOf(fields: ReadonlyMap<string, FieldLayout>, name: string): FieldLayout {
  const field = fields.get(name);
  if (!field) throw new Error(`the domain has no field ${name}`);
  return field;
}

function range(first: number, stop: number): number[] {
  return Array.from({ length: stop - first }, (_, i) => first + i);
}

function answer(message: Answer, buffers: Transferable[] = []): void {
  self.postMessage(message, { transfer: buffers });
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
