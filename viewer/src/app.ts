// The page: its state, and who shows what of it.

import { Vector3 } from "three";

import { SampleView } from "./drawing/sample_view";
import { readManifest, readStatistics } from "./format/reading";
import type { FieldStatistics } from "./format/statistics";
import type { Manifest, Sample } from "./format/manifest";
import { Loader } from "./loading/loader";
import { button, byId, element } from "./panels/dom";
import { infoPanel, type Picked, pickedPanel } from "./panels/info_panel";
import { defaultLayer, layersPanel } from "./panels/layers_panel";
import { legend } from "./panels/legend";
import { samplesPanel } from "./panels/samples_panel";
import { viewPanel } from "./panels/view_panel";
import { adviceFor, findPlace, type Place } from "./place";
import { queryOf, stateOf, type ViewState } from "./state";

/** Where a click may end and still count as one, in pixels. */
const CLICK_PIXELS = 4;

/** Start the page. */
export async function start(): Promise<void> {
  const page = new URL(location.href);
  // The worker starts while the manifest is on its way.
  const loader = new Loader();
  let place: Place | null = null;
  try {
    place = await findPlace(page);
    const manifest = await readManifest(place.store);
    new App(place, manifest, loader).begin();
  } catch (error) {
    notice(place ? adviceFor(error, place.store, page) : String(error));
  }
}

class App {
  readonly #place: Place;
  readonly #manifest: Manifest;
  readonly #views: SampleView[] = [];
  readonly #loader: Loader;
  readonly #markSample: (id: string) => void;
  readonly #problems = new Set<string>();
  #state: ViewState;
  #isLegendDue = false;
  #statistics: ReadonlyMap<string, FieldStatistics> = new Map();

  constructor(place: Place, manifest: Manifest, loader: Loader) {
    this.#loader = loader;
    this.#place = place;
    this.#manifest = manifest;
    this.#state = this.#filled(stateOf(new URL(location.href).searchParams));
    this.#views.push(this.#makeView("first", 0));
    this.#markSample = samplesPanel(byId("samples", HTMLElement), manifest, (id) => {
      this.#change({ sample: id });
    });
  }

  begin(): void {
    document.title = `${this.#manifest.datasetName} – store viewer`;
    byId("title", HTMLElement).textContent = this.#manifest.datasetName;
    byId("title", HTMLElement).title = this.#place.name;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.onchange = (): void => {
      this.#paintBackground();
    };
    addEventListener("popstate", () => {
      this.#state = this.#filled(stateOf(new URL(location.href).searchParams));
      this.#show();
    });
    this.#show();
    void this.#showStatistics();
  }

  /** After the first picture was asked for: nothing waits for it. */
  async #showStatistics(): Promise<void> {
    this.#statistics = await readStatistics(this.#place.store);
    const sample = this.#sampleOf(this.#state.sample);
    if (sample) infoPanel(byId("info", HTMLElement), sample, this.#statistics);
  }

  #change(change: Partial<ViewState>): void {
    this.#state = this.#filled({ ...this.#state, ...change });
    this.#remember();
    this.#show();
  }

  /** Complete a state: a sample that the store has, and a layer of it. */
  #filled(state: ViewState): ViewState {
    const { samples, domains } = this.#manifest;
    if (state.sample !== null && !samples.has(state.sample)) this.#problem(`${state.sample}: the store has no such sample`);
    const id = state.sample !== null && samples.has(state.sample) ? state.sample : (samples.keys().next().value ?? null);
    const sample = id === null ? undefined : samples.get(id);
    if (!sample) return { ...state, sample: null };
    if (state.layers.length > 0) return { ...state, sample: id };
    const domain = sample.domains.has("surface") ? "surface" : (sample.domains.keys().next().value as string);
    const layout = domains.get(domain);
    return { ...state, sample: id, layers: layout ? [defaultLayer(domain, layout)] : [] };
  }

  #show(): void {
    const { state, sample } = { state: this.#state, sample: this.#sampleOf(this.#state.sample) };
    if (!sample) {
      notice("The store has no samples; `noether-zarr convert` adds some.");
      return;
    }
    this.#markSample(sample.id);
    layersPanel(byId("layers", HTMLElement), this.#manifest, sample, state.layers, (layers) => {
      this.#change({ layers });
    });
    viewPanel(byId("view", HTMLElement), state, [...this.#manifest.samples.keys()], {
      change: (change) => {
        this.#change(change);
      },
      adjust: (change) => {
        this.#state = { ...this.#state, ...change };
        this.#remember();
        this.#showStages(sample, this.#sampleOf(state.beside));
      },
      bounds: () => this.#views[0]?.bounds ?? null,
      frame: (name) => {
        this.#views[0]?.frame(name);
        this.#takePose(0);
      },
      screenshot: () => void this.#saveScreenshot(),
    });
    infoPanel(byId("info", HTMLElement), sample, this.#statistics);
    this.#showStages(sample, this.#sampleOf(state.beside));
  }

  #showStages(sample: Sample, beside: Sample | null): void {
    byId("second-stage", HTMLElement).hidden = beside === null;
    if (beside && this.#views.length === 1) {
      const second = this.#makeView("second", 1);
      second.leader = this.#views[0] ?? null;
      this.#views.push(second);
    }
    this.#paintBackground();
    const samples = beside ? [sample, beside] : [sample];
    this.#views.forEach((view, i) => {
      const shown = samples[i];
      if (shown) view.show(this.#place.store.href, this.#manifest, shown, this.#state);
      byId(i === 0 ? "first-name" : "second-name", HTMLElement).textContent = shown?.id ?? "";
    });
    this.#drawLegends();
  }

  #makeView(id: "first" | "second", index: number): SampleView {
    const canvas = byId(id, HTMLCanvasElement);
    const view = new SampleView(canvas, this.#loader, {
      onChanged: () => {
        this.#drawLegends();
      },
      onMoved: () => {
        this.#takePose(index);
      },
      onProblem: (message) => {
        this.#problem(message);
      },
    });
    view.stage.controls.addEventListener("change", () => {
      // Both stages look from the same place.
      for (const other of this.#views) if (other !== view && !this.#isFollowing) this.#follow(view, other);
    });
    listenToClicks(canvas, (x, y) => void this.#pick(view, x, y));
    return view;
  }

  #isFollowing = false;

  #follow(leader: SampleView, other: SampleView): void {
    this.#isFollowing = true;
    other.stage.pose = leader.stage.pose;
    this.#isFollowing = false;
  }

  #takePose(index: number): void {
    const view = this.#views[index];
    if (!view) return;
    this.#state = { ...this.#state, camera: view.stage.pose };
    this.#remember();
  }

  async #pick(view: SampleView, x: number, y: number): Promise<void> {
    const hit = view.stage.pick(x, y);
    const layer = hit && view.layers.find((one) => one.cloud === hit.cloud);
    if (!hit || !layer || !view.sample) {
      pickedPanel(byId("picked", HTMLElement), null);
      return;
    }
    const row = hit.cloud.rowOf(hit.point);
    const { domain } = layer.layer;
    const { layout } = layer.source;
    try {
      const found = await this.#loader.pick({ store: this.#place.store.href, sample: view.sample, domain, layout, row });
      const sourceRow = await this.#sourceRow(view.sample.id, domain, row);
      const picked: Picked = { sample: view.sample.id, domain, row, sourceRow, values: found.values, units: found.units, errors: found.errors };
      pickedPanel(byId("picked", HTMLElement), picked);
    } catch (error) {
      this.#problem(error instanceof Error ? error.message : String(error));
    }
  }

  async #sourceRow(sample: string, domain: string, row: number): Promise<number | null> {
    if (!this.#place.served?.hasSourceRows) return null;
    const address = new URL("source-row", location.href);
    address.search = new URLSearchParams({ sample, domain, row: `${row}` }).toString();
    const response = await fetch(address);
    return response.ok ? ((await response.json()) as { source_row: number }).source_row : null;
  }

  async #saveScreenshot(): Promise<void> {
    const view = this.#views[0];
    if (!view) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await view.stage.screenshot());
    link.download = `${(this.#state.sample ?? "view").replaceAll("/", "_")}.png`;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  /** Draw the legends with the next frame, however many chunks came. */
  #drawLegends(): void {
    if (this.#isLegendDue) return;
    this.#isLegendDue = true;
    requestAnimationFrame(() => {
      this.#isLegendDue = false;
      const [first, second] = this.#views;
      const others = this.#state.beside === null ? [] : (second?.layers ?? []);
      byId("legends", HTMLElement).replaceChildren(
        ...(first?.layers ?? []).map((view) => legend(view, others.find((other) => other.layer.domain === view.layer.domain))),
      );
    });
  }

  #remember(): void {
    const query = queryOf(this.#state);
    const store = new URL(location.href).searchParams.get("store");
    if (store !== null) query.set("store", store);
    history.replaceState(null, "", `?${query.toString()}`);
  }

  #paintBackground(): void {
    const color = getComputedStyle(byId("second-stage", HTMLElement)).backgroundColor;
    for (const view of this.#views) view.stage.setBackground(color);
  }

  #sampleOf(id: string | null): Sample | null {
    return (id === null ? undefined : this.#manifest.samples.get(id)) ?? null;
  }

  #problem(message: string): void {
    if (this.#problems.has(message)) return;
    this.#problems.add(message);
    notice(message);
  }
}

/** Call back for presses that end where they began: other movements turn the camera. */
function listenToClicks(canvas: HTMLCanvasElement, onClick: (x: number, y: number) => void): void {
  let down = new Vector3(Infinity);
  canvas.addEventListener("pointerdown", (event) => {
    down = new Vector3(event.offsetX, event.offsetY);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (down.distanceTo(new Vector3(event.offsetX, event.offsetY)) <= CLICK_PIXELS) onClick(event.offsetX, event.offsetY);
  });
}

/** Show a message to the person, who can dismiss it. */
export function notice(message: string): void {
  const line = element("p", {}, element("span", {}, message));
  const dismiss = button("\u00d7", () => {
    line.remove();
  });
  dismiss.ariaLabel = "Dismiss";
  line.append(dismiss);
  byId("notices", HTMLElement).append(line);
}
