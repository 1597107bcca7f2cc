import { describe, expect, it } from "vitest";

import { colorAt, COLORMAPS, tableOf } from "../src/drawing/colormaps";
import { chunksWithin, chunkWindows } from "../src/loading/windows";
import { writeComponent, writeDifference } from "../src/values/components";
import { formatNumber, histogram, isSigned, percentileRange } from "../src/values/range";

describe("windows of chunks", () => {
  it("cover all chunks once and in order, one chunk first", () => {
    for (const stop of [1, 2, 7, 100, 1000]) {
      const windows = [...chunkWindows(0, stop, 262_144, 4096)];
      expect(windows[0]).toEqual([0, 1]);
      expect(windows.flatMap(([a, b]) => Array.from({ length: b - a }, (_, i) => a + i))).toEqual(Array.from({ length: stop }, (_, i) => i));
      expect(Math.max(...windows.map(([a, b]) => b - a))).toBeLessThanOrEqual(64);
    }
  });

  it("hold a budget, and at least one chunk", () => {
    expect(chunksWithin(10_000, 4096, 100)).toBe(2);
    expect(chunksWithin(1, 4096, 100)).toBe(1);
    expect(chunksWithin(Infinity, 4096, 100)).toBe(100);
  });
});

describe("components", () => {
  const data = Float32Array.of(3, 4, 0, 1, 2, 2);
  it("are taken, or their magnitude", () => {
    const out = new Float32Array(3);
    writeComponent(data, 3, "magnitude", out, 1);
    expect([...out]).toEqual([0, 5, 3]);
    writeComponent(data, 3, 1, out, 1);
    expect([...out]).toEqual([0, 4, 2]);
  });

  it("of differences are prediction minus truth", () => {
    const out = new Float32Array(2);
    writeDifference(data, Float32Array.of(3, 4, 2, 0, 2, 2), 3, "magnitude", out, 0);
    expect([...out]).toEqual([2, 1]);
    writeDifference(data, Float32Array.of(3, 4, 2, 0, 2, 2), 3, 2, out, 0);
    expect([...out]).toEqual([2, 0]);
  });
});

describe("ranges", () => {
  it("are percentiles of finite values", () => {
    const values = Float32Array.from({ length: 101 }, (_, i) => i);
    values[7] = NaN;
    values[9] = Infinity;
    expect(percentileRange(values, 0, 100)).toEqual([0, 100]);
    expect(percentileRange(Float32Array.of(NaN), 1, 99)).toEqual([0, 1]);
    expect(percentileRange(Float32Array.of(5, 5), 1, 99)[1]).toBeGreaterThan(5);
  });

  it("are counted in bins", () => {
    expect([...histogram(Float32Array.of(0, 0.1, 0.5, 1, 2, NaN), 0, 1, 2)]).toEqual([2, 2]);
  });

  it("tell signed values", () => {
    expect(isSigned(-1, 2)).toBe(true);
    expect(isSigned(-0.01, 2)).toBe(false);
    expect(isSigned(1, 2)).toBe(false);
  });

  it.each([[0, "0"], [1234.567, "1235"], [1.5e-5, "1.500e-5"], [NaN, "NaN"], [-0.25, "-0.25"]])("%f is written as %s", (value, text) => {
    expect(formatNumber(value)).toBe(text);
  });
});

describe("colour maps", () => {
  it.each([...COLORMAPS])("%s stays within sRGB and has the ends of its table", (map) => {
    const table = tableOf(map);
    expect([...table.slice(0, 3)]).toEqual(colorAt(map, 0).map((one) => Math.round(255 * one)));
    expect([...table.slice(-4, -1)]).toEqual(colorAt(map, 1).map((one) => Math.round(255 * one)));
    expect(colorAt(map, -5)).toEqual(colorAt(map, 0));
  });

  it.each(["viridis", "cividis", "inferno", "gray"] as const)("%s grows lighter throughout", (map) => {
    const light = Array.from({ length: 64 }, (_, i) => luminance(colorAt(map, i / 63)));
    light.slice(1).forEach((one, i) => {
      expect(one).toBeGreaterThan(light[i] as number);
    });
  });

  it("coolwarm is lightest in the middle, and as dark at both ends as published", () => {
    expect(colorAt("coolwarm", 0).map((one) => Math.round(255 * one))).toEqual([59, 76, 192]);
    expect(colorAt("coolwarm", 1).map((one) => Math.round(255 * one))).toEqual([180, 4, 38]);
    // The middle of Moreland's table of 33 colours.
    colorAt("coolwarm", 0.5).map((one) => 255 * one).forEach((one) => {
      expect(Math.abs(one - 221)).toBeLessThan(1.5);
    });
  });
});

function luminance([r, g, b]: readonly [number, number, number]): number {
  const linear = [r, g, b].map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)) as [number, number, number];
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}
