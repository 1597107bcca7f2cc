/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment */
import { describe, expect, it } from "vitest";

import { CheckedCrc32c, crc32c } from "../src/format/checksum";
import { ManifestError, parseManifest } from "../src/format/manifest";

const MANIFEST = {
  dataset_name: "cars",
  format_version: 1,
  domains: { surface: { position: "surface_position", arrays: {
    surface_position: { array_name: "surface/position", field: "surface_position", dtype: "float32", dim: 3 },
    surface_pressure: { array_name: "surface/pressure", field: "surface_pressure", dtype: "float16", dim: 1 },
  } } },
  samples: { run_1: { relpath: "run_1.zarr", domains: { surface: { n_points: 10, chunk_points: 4, shard_points: 8, n_chunks: 3 } },
    fidelity: { surface_pressure: { source_dtype: "float32", max_abs_error: 0.5, max_rel_error: 0.001, flushed_to_zero: 0, non_finite: 0 }, needs_float64: true } } },
  splits: { test: ["run_1"] },
};

type Manifest = any; // eslint-disable-line @typescript-eslint/no-explicit-any -- it is broken on purpose

function changed(change: (manifest: Manifest) => void): string {
  const copy = structuredClone(MANIFEST);
  change(copy);
  return JSON.stringify(copy);
}

describe("crc32c", () => {
  it.each([["123456789", 0xe3069283], ["", 0], ["The quick brown fox jumps over the lazy dog", 0x22620404]])("of '%s' is the published one", (text, sum) => {
    expect(crc32c(new TextEncoder().encode(text))).toBe(sum);
  });

  it("does not depend on where the bytes begin", () => {
    const bytes = Uint8Array.from({ length: 100 }, (_, i) => i * 7);
    for (let begin = 0; begin < 9; begin += 1) expect(crc32c(bytes.subarray(begin))).toBe(crc32c(bytes.slice(begin)));
  });

  it("of a chunk is checked", () => {
    const chunk = new Uint8Array([49, 50, 51, 52, 53, 54, 55, 56, 57, 0x83, 0x92, 0x06, 0xe3]);
    expect(new CheckedCrc32c().decode(chunk)).toEqual(chunk.subarray(0, 9));
    chunk[3] = 0;
    expect(() => new CheckedCrc32c().decode(chunk)).toThrow("expected e3069283");
    expect(() => new CheckedCrc32c().decode(chunk.subarray(0, 3))).toThrow("checksum");
  });
});

describe("a manifest", () => {
  it("is read", () => {
    const manifest = parseManifest(JSON.stringify(MANIFEST));
    expect(manifest.domains.get("surface")?.fields.get("surface_pressure")).toEqual({ field: "surface_pressure", arrayName: "surface/pressure", width: 1, dtype: "float16" });
    expect(manifest.samples.get("run_1")?.domains.get("surface")).toEqual({ nPoints: 10, chunkPoints: 4, nChunks: 3 });
    expect([...(manifest.samples.get("run_1")?.loss.keys() ?? [])]).toEqual(["surface_pressure"]);
    expect(manifest.splits.get("test")).toEqual(["run_1"]);
    expect(manifest.origin).toEqual([0, 0, 0]);
  });

  it.each<[string, (manifest: Manifest) => void, string]>([
    ["of a later version", (m) => { m.format_version = 3; }, "format_version: expected 1 or 2, got 3"],
    ["with a path out of the store", (m) => { m.samples.run_1.relpath = "../run_1.zarr"; }, "expected a relative path"],
    ["with an absolute path", (m) => { m.samples.run_1.relpath = "/run_1.zarr"; }, "expected a relative path"],
    ["with no points", (m) => { m.samples.run_1.domains.surface.n_points = 0; }, "n_points: expected a positive whole number"],
    ["with another number of chunks", (m) => { m.samples.run_1.domains.surface.n_chunks = 9; }, "n_chunks: expected 3, got 9"],
    ["of an unknown domain", (m) => { m.samples.run_1.domains.wake = m.samples.run_1.domains.surface; }, "the store has no domain wake"],
    ["without its position", (m) => { delete m.domains.surface.arrays.surface_position; }, "no array surface_position"],
    ["with half an origin", (m) => { m.origin = [1, 2]; }, "origin: expected three numbers"],
  ])("%s is refused", (_, change, message) => {
    expect(() => parseManifest(changed(change))).toThrow(ManifestError);
    expect(() => parseManifest(changed(change))).toThrow(message);
  });

  it("that is no JSON is refused", () => {
    expect(() => parseManifest("{")).toThrow("manifest.json is not valid JSON");
  });
});
