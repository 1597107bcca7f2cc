// The manifest of a store, as docs/format.md describes it. Its content is untrusted: every value is checked once, here.

export interface FieldLayout {
  /** Canonical name, `<domain>_<name>`. */
  readonly field: string;
  /** Path of the array in the group of a sample. */
  readonly arrayName: string;
  /** Number of components of a point. */
  readonly width: number;
  /** Stored dtype, such as `float16`. */
  readonly dtype: string;
}

export interface DomainLayout {
  /** Canonical name of the field that holds the coordinates. */
  readonly position: string;
  readonly fields: ReadonlyMap<string, FieldLayout>;
}

export interface DomainSample {
  readonly nPoints: number;
  readonly chunkPoints: number;
  readonly nChunks: number;
}

export interface Loss {
  readonly sourceDtype: string;
  readonly maxAbsError: number | null;
  readonly maxRelError: number | null;
  readonly flushedToZero: number | null;
}

export interface Sample {
  readonly id: string;
  /** Path of the group below the root. */
  readonly relpath: string;
  readonly domains: ReadonlyMap<string, DomainSample>;
  readonly attributes: Readonly<Record<string, unknown>>;
  /** Loss of the stored dtype, by field. */
  readonly loss: ReadonlyMap<string, Loss>;
}

export interface Manifest {
  readonly datasetName: string;
  readonly domains: ReadonlyMap<string, DomainLayout>;
  readonly samples: ReadonlyMap<string, Sample>;
  /** Ids of the samples of each split. */
  readonly splits: ReadonlyMap<string, readonly string[]>;
  /** The point that was subtracted from all positions. */
  readonly origin: readonly [number, number, number];
}

/** The manifest is not one that this page can read. */
export class ManifestError extends Error {}

type Json = Readonly<Record<string, unknown>>;

const KNOWN_VERSIONS = [1, 2];

/** Read the text of a `manifest.json`. */
export function parseManifest(text: string): Manifest {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new ManifestError(`manifest.json is not valid JSON: ${String(error)}`);
  }
  const manifest = object(document, "manifest.json");
  const version = manifest["format_version"];
  if (!KNOWN_VERSIONS.includes(version as number)) {
    throw new ManifestError(
      `manifest.json: format_version: expected 1 or 2, got ${JSON.stringify(version)}; use a newer viewer`,
    );
  }
  const domains = mapped(manifest["domains"], "domains", domainLayout);
  return {
    datasetName: string(manifest["dataset_name"], "dataset_name"),
    domains,
    samples: mapped(manifest["samples"], "samples", (value, where, id) => sample(id, value, where, domains)),
    splits: mapped(manifest["splits"] ?? {}, "splits", strings),
    origin: origin(manifest["origin"]),
  };
}

function domainLayout(value: unknown, where: string): DomainLayout {
  const layout = object(value, where);
  const fields = mapped(layout["arrays"], `${where}.arrays`, fieldLayout);
  const position = string(layout["position"], `${where}.position`);
  if (!fields.has(position)) throw new ManifestError(`manifest.json: ${where}: it has no array ${position}`);
  return { position, fields };
}

function fieldLayout(value: unknown, where: string, field: string): FieldLayout {
  const layout = object(value, where);
  return {
    field,
    arrayName: path(layout["array_name"], `${where}.array_name`),
    width: count(layout["dim"], `${where}.dim`),
    dtype: string(layout["dtype"], `${where}.dtype`),
  };
}

function sample(id: string, value: unknown, where: string, layouts: ReadonlyMap<string, DomainLayout>): Sample {
  const entry = object(value, where);
  const domains = mapped(entry["domains"], `${where}.domains`, domainSample);
  for (const domain of domains.keys()) {
    if (!layouts.has(domain)) throw new ManifestError(`manifest.json: ${where}: the store has no domain ${domain}`);
  }
  return {
    id,
    relpath: path(entry["relpath"], `${where}.relpath`),
    domains,
    attributes: object(entry["attributes"] ?? {}, `${where}.attributes`),
    loss: mapped(withoutFlag(entry["fidelity"]), `${where}.fidelity`, loss),
  };
}

/** `needs_float64` stands among the fields, and is none. */
function withoutFlag(fidelity: unknown): unknown {
  if (typeof fidelity !== "object" || fidelity === null) return {};
  return Object.fromEntries(Object.entries(fidelity).filter(([key]) => key !== "needs_float64"));
}

function domainSample(value: unknown, where: string): DomainSample {
  const entry = object(value, where);
  const domain = {
    nPoints: count(entry["n_points"], `${where}.n_points`),
    chunkPoints: count(entry["chunk_points"], `${where}.chunk_points`),
    nChunks: count(entry["n_chunks"], `${where}.n_chunks`),
  };
  const expected = Math.ceil(domain.nPoints / domain.chunkPoints);
  if (domain.nChunks !== expected) {
    throw new ManifestError(`manifest.json: ${where}.n_chunks: expected ${expected}, got ${domain.nChunks}`);
  }
  return domain;
}

function loss(value: unknown, where: string): Loss {
  const entry = object(value, where);
  return {
    sourceDtype: typeof entry["source_dtype"] === "string" ? entry["source_dtype"] : "",
    maxAbsError: finiteOrNull(entry["max_abs_error"]),
    maxRelError: finiteOrNull(entry["max_rel_error"]),
    flushedToZero: finiteOrNull(entry["flushed_to_zero"]),
  };
}

function origin(value: unknown): readonly [number, number, number] {
  if (value === undefined || value === null) return [0, 0, 0];
  if (Array.isArray(value) && value.length === 3 && value.every((one) => Number.isFinite(one))) {
    return [value[0] as number, value[1] as number, value[2] as number];
  }
  throw new ManifestError(`manifest.json: origin: expected three numbers, got ${JSON.stringify(value)}`);
}

function object(value: unknown, where: string): Json {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  throw new ManifestError(`manifest.json: ${where}: expected an object, got ${short(value)}`);
}

function mapped<T>(value: unknown, where: string, of: (one: unknown, where: string, key: string) => T): Map<string, T> {
  return new Map(Object.entries(object(value, where)).map(([key, one]) => [key, of(one, `${where}.${key}`, key)]));
}

function string(value: unknown, where: string): string {
  if (typeof value === "string") return value;
  throw new ManifestError(`manifest.json: ${where}: expected a text, got ${short(value)}`);
}

function strings(value: unknown, where: string): readonly string[] {
  if (Array.isArray(value)) return value.map((one) => string(one, where));
  throw new ManifestError(`manifest.json: ${where}: expected a list of ids, got ${short(value)}`);
}

/** Return a relative path that stays below the root. */
function path(value: unknown, where: string): string {
  const text = string(value, where);
  if (text.split("/").every((part) => part !== "" && !part.startsWith(".") && !part.includes("\\"))) return text;
  throw new ManifestError(`manifest.json: ${where}: expected a relative path, got ${short(value)}`);
}

function count(value: unknown, where: string): number {
  if (Number.isSafeInteger(value) && (value as number) > 0) return value as number;
  throw new ManifestError(`manifest.json: ${where}: expected a positive whole number, got ${short(value)}`);
}

function finiteOrNull(value: unknown): number | null {
  return Number.isFinite(value) ? (value as number) : null;
}

function short(value: unknown): string {
  const text = JSON.stringify(value) as string | undefined;
  return text === undefined ? "nothing" : text.slice(0, 80);
}
