// All layers of one sample on one stage.

import { Box3, Vector3 } from "three";

import type { Manifest, Sample } from "../format/manifest";
import type { Loader } from "../loading/loader";
import type { Layer, ViewState } from "../state";
import { fieldsOf, type LayerSource, LayerView } from "./layer_view";
import { type Point, Stage } from "./stage";
import { STANDARD_VIEWS } from "./views";

export interface SampleListener {
  onChanged(): void;
  onMoved(): void;
  onProblem(message: string): void;
}

/** Shows one sample in one canvas. */
export class SampleView {
  readonly stage: Stage;
  sample: Sample | null = null;
  layers: LayerView[] = [];
  center: Point = [0, 0, 0];
  /** The view whose colours this one shares, so that the two can be compared. */
  leader: SampleView | null = null;
  readonly #loader: Loader;
  readonly #listener: SampleListener;
  #budget: number | null = 0;
  #hasCenter = false;
  #framed = 0;
  #state: ViewState | null = null;

  constructor(canvas: HTMLCanvasElement, loader: Loader, listener: SampleListener) {
    this.#loader = loader;
    this.#listener = listener;
    canvas.addEventListener("webglcontextlost", () => {
      listener.onProblem("The graphics card gave up the picture; choose fewer points, and load the page again.");
    });
    this.stage = new Stage(canvas, () => {
      this.#framed = Infinity; // who moves the camera keeps it
      listener.onMoved();
    });
  }

  /** Bounds of the points of all layers, in coordinates of the source. */
  get bounds(): Box3 {
    return this.#localBounds().translate(new Vector3(...this.center));
  }

  /** Show what a state says of a sample; load only what is not there. */
  show(store: string, manifest: Manifest, sample: Sample, state: ViewState): void {
    if (sample !== this.sample) {
      this.#clear([]);
      this.sample = sample;
      this.#hasCenter = false;
      this.#framed = 0;
    }
    const former = this.layers;
    const isSameBudget = state.budget === this.#budget;
    this.#state = state;
    this.#budget = state.budget;
    this.layers = state.layers.flatMap((layer) => {
      const kept = isSameBudget ? former.find((view) => needsSame(view.layer, layer)) : undefined;
      kept?.show(layer);
      return kept ? [kept] : this.#load(store, manifest, sample, layer, state.budget);
    });
    for (const view of former) if (!this.layers.includes(view)) this.#drop(view);
    this.stage.setProjection(state.projection);
    this.stage.setMirror(state.mirror);
    if (state.camera) {
      this.stage.pose = state.camera;
      this.#framed = Infinity;
    }
    this.refresh();
  }

  /** Look at all points from a standard view. */
  frame(name: string): void {
    const view = STANDARD_VIEWS.find((one) => one.name === name) ?? STANDARD_VIEWS[0];
    const bounds = this.#shownBounds();
    if (view && !bounds.isEmpty()) this.stage.lookFrom(bounds, view.direction, view.up);
  }

  refresh(): void {
    const state = this.#state;
    if (!state) return;
    for (const view of this.layers) {
      view.leader = this.leader?.layers.find((one) => one.layer.domain === view.layer.domain) ?? null;
      view.refresh(state.size, state.clip, this.center, this.stage.area);
    }
    this.stage.redraw();
  }

  #load(store: string, manifest: Manifest, sample: Sample, layer: Layer, budget: number | null): LayerView[] {
    const layout = manifest.domains.get(layer.domain);
    const size = sample.domains.get(layer.domain);
    if (!layout || !size || !fieldsOf(layer).every((field) => layout.fields.has(field))) {
      const missing = size ? `the store has no field ${fieldsOf(layer).join(" or ")} in ${layer.domain}` : `it has no domain ${layer.domain}`;
      this.#listener.onProblem(`${sample.id}: ${missing}`);
      return [];
    }
    const source = { store, sample, layout, size };
    try {
      return [this.#begin(source, layer, budget ?? 0)];
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      const nPoints = Math.min(budget ?? 0, size.nPoints).toLocaleString("en");
      this.#listener.onProblem(`${sample.id}: ${nPoints} points do not fit in the memory of this browser; choose fewer points`);
      return [];
    }
  }

  #begin(source: LayerSource, layer: Layer, budget: number): LayerView {
    const view = new LayerView(this.#loader, source, layer, budget, this.#hasCenter ? this.center : null, {
      onCenter: (center) => this.#takeCenter(center),
      onChanged: () => {
        this.#followBounds();
        this.refresh();
        this.#listener.onChanged();
      },
      onDamage: (message) => {
        this.#listener.onProblem(message);
      },
      onFailed: (message) => {
        this.#listener.onProblem(message);
      },
    });
    this.stage.add(view.cloud);
    return view;
  }

  #takeCenter(center: Point): Point {
    if (!this.#hasCenter) {
      this.center = center;
      this.#hasCenter = true;
      this.stage.setCenter(center);
    }
    return this.center;
  }

  /** Frame the first chunk; again only if later ones lie far outside of it. */
  #followBounds(): void {
    const bounds = this.#localBounds();
    this.stage.setBounds(bounds);
    const size = bounds.getSize(new Vector3()).length();
    if (size > 1.2 * this.#framed) {
      this.#framed = size;
      this.frame("Corner");
    }
  }

  /** Bounds of what the clip box leaves; those of all points where it leaves nothing. */
  #shownBounds(): Box3 {
    const bounds = this.#localBounds();
    const shown = bounds.clone();
    this.#state?.clip.forEach(([low, high], axis) => {
      const center = this.center[axis] as number;
      if (low !== null) shown.min.setComponent(axis, Math.max(shown.min.getComponent(axis), low - center));
      if (high !== null) shown.max.setComponent(axis, Math.min(shown.max.getComponent(axis), high - center));
    });
    return shown.isEmpty() ? bounds : shown;
  }

  #localBounds(): Box3 {
    return this.layers.reduce((box, view) => box.union(view.cloud.bounds), new Box3());
  }

  #clear(kept: LayerView[]): void {
    for (const view of this.layers) if (!kept.includes(view)) this.#drop(view);
    this.layers = kept;
  }

  #drop(view: LayerView): void {
    view.cancel();
    this.stage.remove(view.cloud);
  }
}

/** Return whether two layers need the same bytes. */
function needsSame(one: Layer, other: Layer): boolean {
  return one.domain === other.domain && fieldsOf(one).join() === fieldsOf(other).join();
}
