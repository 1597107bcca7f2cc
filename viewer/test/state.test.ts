import { describe, expect, it } from "vitest";

import { DEFAULT_STATE, NO_CLIP, queryOf, stateOf, type ViewState } from "../src/state";

const FULL: ViewState = {
  sample: "param1/6f0a",
  beside: "run_2",
  layers: [
    { domain: "surface", field: "surface_pressure", component: 0, map: "coolwarm", range: [-1.5, 1], prediction: "surface_pressure_predicted", comparison: "difference" },
    { domain: "volume", field: "volume_velocity", component: "magnitude", map: null, range: null, prediction: null, comparison: "truth" },
  ],
  budget: Infinity,
  size: 5,
  projection: "orthographic",
  camera: { position: [1, 2, 3], target: [0, 0.5, 0], up: [0, 0, 1], halfHeight: 0.25 },
  clip: [[null, 0.5], [0, null], [null, null]],
  mirror: 1,
};

describe("the address", () => {
  it("restores every part of a view", () => {
    expect(stateOf(new URLSearchParams(queryOf(FULL).toString()))).toEqual(FULL);
  });

  it("is empty for the default view", () => {
    expect(queryOf(DEFAULT_STATE).toString()).toBe("");
    expect(stateOf(new URLSearchParams())).toEqual(DEFAULT_STATE);
  });

  it.each(["points=-1", "points=many", "size=0", "size=1e9", "camera=1,2", "camera=a,b,c,d,e,f,g,h,i,j", "mirror=w", "clip-x=a,b", "layer=", "layer=%25zz", "projection=fisheye"])(
    "takes %s as the default", (query) => {
      expect(stateOf(new URLSearchParams(query))).toEqual({ ...DEFAULT_STATE, clip: NO_CLIP });
    },
  );

  it.each([["", DEFAULT_STATE.budget], ["points=chunk", null], ["points=5000", 5000]])("reads the budget of '%s'", (query, budget) => {
    expect(stateOf(new URLSearchParams(query)).budget).toBe(budget);
  });
});
