// How the points are looked at.

import type { Box3 } from "three";

import { STANDARD_VIEWS } from "../drawing/views";
import type { Clip, ViewState } from "../state";
import { button, element, labelled, numberField, refill, select } from "./dom";

const BUDGETS: readonly (readonly [string, string])[] = [
  ["chunk", "one chunk"], ["65536", "65,536"], ["262144", "262,144"], ["1048576", "1,048,576"], ["4194304", "4,194,304"], ["all", "all"],
];
const AXES = ["x", "y", "z"];
// Thickness of a slice, as a part of the extent of the points.
const SLICE_PART = 0.02;

export interface ViewActions {
  readonly change: (change: Partial<ViewState>) => void;
  /** As `change`, while a slider moves: the panels stay. */
  readonly adjust: (change: Partial<ViewState>) => void;
  /** Bounds of the points, in coordinates of the source. */
  readonly bounds: () => Box3 | null;
  readonly frame: (name: string) => void;
  readonly screenshot: () => void;
}

/** Fill the panel. */
export function viewPanel(panel: HTMLElement, state: ViewState, sampleIds: readonly string[], actions: ViewActions): void {
  const size = element("input", { type: "range", min: "0", max: "12", title: "0: by the number of points", step: "1", value: `${state.size ?? 0}` });
  size.oninput = (): void => {
    actions.adjust({ size: size.valueAsNumber || null });
  };
  const budget = state.budget === null ? "chunk" : state.budget === Infinity ? "all" : `${state.budget}`;
  const budgets = BUDGETS.some(([value]) => value === budget) ? BUDGETS : [...BUDGETS, [budget, budget] as const];
  refill(
    panel,
    element("h2", {}, "View"),
    select("Points", budgets, budget, (text) => {
      actions.change({ budget: text === "chunk" ? null : text === "all" ? Infinity : Number(text) });
    }),
    labelled("Point size", size),
    select("Projection", [["perspective", "perspective"], ["orthographic", "orthographic"]], state.projection, (text) => {
      actions.change({ projection: text === "orthographic" ? text : "perspective", camera: null });
    }),
    select("Mirror", [["", "none"], ...AXES.map((axis, i) => [`${i}`, `at ${axis} = 0`] as const)], state.mirror === null ? "" : `${state.mirror}`, (text) => {
      actions.change({ mirror: text === "" ? null : Number(text) });
    }),
    select("Beside it", [["", "nothing"], ...sampleIds.map((id) => [id, id] as const)], state.beside ?? "", (id) => {
      actions.change({ beside: id || null });
    }),
    element("div", { className: "row views", role: "group", ariaLabel: "Standard views" },
      ...STANDARD_VIEWS.map(({ name }) => button(name, () => {
        actions.frame(name);
      }))),
    sliceControls(state.clip, actions),
    clipControls(state.clip, (clip) => {
      actions.change({ clip });
    }),
    button("Save a picture", actions.screenshot),
  );
}

/** A slice is a thin clip box across one axis. */
function sliceControls(clip: Clip, actions: ViewActions): HTMLElement {
  const place = element("input", { type: "range", min: "0", max: "1", step: "0.005", value: "0.5", ariaLabel: "Place of the slice" });
  let axis = slicedAxis(clip, actions.bounds());
  const cut = (): void => {
    const bounds = actions.bounds();
    if (axis < 0 || !bounds || bounds.isEmpty()) return;
    const [low, high] = [bounds.min.getComponent(axis), bounds.max.getComponent(axis)];
    const middle = low + place.valueAsNumber * (high - low);
    const half = (SLICE_PART / 2) * (high - low);
    actions.adjust({ clip: clip.map((limits, i) => (i === axis ? [middle - half, middle + half] : limits)) });
  };
  place.oninput = cut;
  const chooser = select("Slice", [["", "none"], ...AXES.map((name, i) => [`${i}`, `across ${name}`] as const)], axis < 0 ? "" : `${axis}`, (text) => {
    const former = axis;
    axis = text === "" ? -1 : Number(text);
    if (axis >= 0) cut();
    else actions.change({ clip: clip.map((limits, i) => (i === former ? [null, null] : limits)) });
  });
  return element("div", {}, chooser, place);
}

/** Return the axis whose limits are as close as those of a slice; -1 for none. */
function slicedAxis(clip: Clip, bounds: Box3 | null): number {
  return clip.findIndex(([low, high], axis) => {
    if (low === null || high === null || !bounds) return false;
    return high - low < 2 * SLICE_PART * (bounds.max.getComponent(axis) - bounds.min.getComponent(axis));
  });
}

function clipControls(clip: Clip, onChange: (clip: Clip) => void): HTMLElement {
  const rows = clip.map((limits, axis) => {
    const replace = (change: readonly [number | null, number | null]): void => {
      onChange(clip.map((one, i) => (i === axis ? change : one)));
    };
    return element("div", { className: "row" },
      numberField(`${AXES[axis] ?? ""} from`, limits[0], (value) => {
        replace([value, limits[1]]);
      }),
      numberField("to", limits[1], (value) => {
        replace([limits[0], value]);
      }));
  });
  return element("details", { open: clip.some(([low, high]) => low !== null || high !== null) }, element("summary", {}, "Clip box"), ...rows);
}
