// How the points are looked at.

import { STANDARD_VIEWS } from "../drawing/views";
import type { Clip, ViewState } from "../state";
import { button, element, labelled, numberField, select } from "./dom";

const BUDGETS: readonly (readonly [string, string])[] = [
  ["chunk", "one chunk"], ["65536", "65,536"], ["262144", "262,144"], ["1048576", "1,048,576"], ["4194304", "4,194,304"], ["all", "all"],
];
const AXES = ["x", "y", "z"];

export interface ViewActions {
  readonly change: (change: Partial<ViewState>) => void;
  readonly frame: (name: string) => void;
  readonly screenshot: () => void;
}

/** Fill the panel. */
export function viewPanel(panel: HTMLElement, state: ViewState, sampleIds: readonly string[], actions: ViewActions): void {
  const size = element("input", { type: "range", min: "1", max: "12", step: "1", value: `${state.size}` });
  size.oninput = (): void => {
    actions.change({ size: size.valueAsNumber });
  };
  const budget = state.budget === null ? "chunk" : state.budget === Infinity ? "all" : `${state.budget}`;
  const budgets = BUDGETS.some(([value]) => value === budget) ? BUDGETS : [...BUDGETS, [budget, budget] as const];
  panel.replaceChildren(
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
    clipControls(state.clip, (clip) => {
      actions.change({ clip });
    }),
    button("Save a picture", actions.screenshot),
  );
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
