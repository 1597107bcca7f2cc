// The cloud of one layer of one sample, from the chunks that come.

import { Vector3 } from "three";

import type { DomainLayout, DomainSample, FieldLayout, Sample } from "../format/manifest";
import type { Values } from "../format/reading";
import type { Loader } from "../loading/loader";
import { chunksWithin } from "../loading/windows";
import type { Clip, Layer } from "../state";
import { writeComponent, writeDifference } from "../values/components";
import { isSigned, percentileRange } from "../values/range";
import { Cloud } from "./cloud";
import { type Colormap, DIVERGING } from "./colormaps";
import type { Point } from "./stage";

/** Percentiles of the range that is chosen where none is given. */
const LOW_PERCENTILE = 1;
const HIGH_PERCENTILE = 99;

/** What a layer tells the page. */
export interface LayerListener {
  /** A chunk came with this center; the answer is the one that all clouds of a stage have. */
  onCenter(center: Point): Point;
  onChanged(view: LayerView): void;
  onDamage(message: string): void;
  onFailed(message: string): void;
}

export interface LayerSource {
  readonly store: string;
  readonly sample: Sample;
  readonly layout: DomainLayout;
  readonly size: DomainSample;
}

/** Loads and colours the points of a layer. */
export class LayerView {
  readonly cloud: Cloud;
  readonly source: LayerSource;
  units = "";
  /** Whether all wanted chunks came. */
  isComplete = false;
  layer: Layer;
  /** The layer of another sample whose range and map this one takes. */
  leader: LayerView | null = null;
  readonly #chunks: ReadonlyMap<string, Values>[] = [];
  readonly #cancel: () => void;

  constructor(loader: Loader, source: LayerSource, layer: Layer, budget: number, center: Point | null, listener: LayerListener) {
    this.source = source;
    this.layer = layer;
    const stopChunk = chunksWithin(budget, source.size.chunkPoints, source.size.nChunks);
    this.cloud = new Cloud(Math.min(source.size.nPoints, stopChunk * source.size.chunkPoints));
    const wanted = {
      store: source.store,
      sample: source.sample,
      domain: layer.domain,
      layout: source.layout,
      fields: fieldsOf(layer),
      firstChunk: 0,
      stopChunk,
      center,
    };
    this.#cancel = loader.load(wanted, {
      onChunk: (chunk) => {
        shift(chunk.position, chunk.center, listener.onCenter(chunk.center));
        this.#chunks.push(chunk.values);
        this.cloud.add(chunk.position, chunk.firstRow, (out, offset) => {
          this.#write(chunk.values, out, offset);
        });
        listener.onChanged(this);
      },
      onDamage: (damage) => {
        listener.onDamage(damage.error);
      },
      onDone: (units) => {
        this.units = units.get(layer.field) ?? "";
        this.isComplete = true;
        listener.onChanged(this);
      },
      onFailed: (error) => {
        listener.onFailed(error);
      },
    });
  }

  /** Number of points that are shown, and of those that the domain has. */
  get counts(): readonly [number, number] {
    return [this.cloud.n, this.source.size.nPoints];
  }

  get field(): FieldLayout {
    return this.source.layout.fields.get(this.layer.field) as FieldLayout;
  }

  /** Return the range in use: the layer's, or one by percentiles. */
  get range(): readonly [number, number] {
    return this.layer.range ?? (this.leader ?? this).#automaticRange();
  }

  get map(): Colormap {
    return this.layer.map ?? (isSigned(...(this.leader ?? this).#automaticRange()) ? DIVERGING : "viridis");
  }

  /** Take another layer of the same domain and fields; colours and values follow. */
  show(layer: Layer): void {
    const isSame = layer.component === this.layer.component && layer.comparison === this.layer.comparison;
    this.layer = layer;
    if (isSame) return;
    this.cloud.rewrite((out) => {
      let offset = 0;
      for (const values of this.#chunks) offset += this.#write(values, out, offset);
    });
  }

  /** Set colours, size and clip as they are now; `area` is that of the stage in pixels. */
  refresh(size: number | null, clip: Clip, center: Point, area: number): void {
    const { material } = this.cloud;
    material.setColormap(this.map);
    material.setRange(...this.range);
    material.setSize(size ?? sizeFor(this.cloud.n, area));
    const limit = (side: 0 | 1, none: number): Vector3 =>
      new Vector3(...clip.map((limits, axis) => (limits[side] === null ? none : limits[side] - (center[axis] as number))));
    material.setClip(limit(0, -3e38), limit(1, 3e38));
  }

  /** Stop loading. */
  cancel(): void {
    this.#cancel();
  }

  #automaticRange(): [number, number] {
    return percentileRange(this.cloud.values, LOW_PERCENTILE, HIGH_PERCENTILE);
  }

  #write(values: ReadonlyMap<string, Values>, out: Float32Array, offset: number): number {
    const { field, prediction, comparison, component } = this.layer;
    const { width } = this.field;
    const truth = values.get(field) as Values;
    const predicted = prediction === null ? undefined : values.get(prediction);
    if (predicted && comparison === "difference") writeDifference(truth, predicted, width, component, out, offset);
    else writeComponent(predicted && comparison === "prediction" ? predicted : truth, width, component, out, offset);
    return truth.length / width;
  }
}

/** Return the fields that a layer needs beside the position. */
export function fieldsOf(layer: Layer): string[] {
  return layer.prediction === null ? [layer.field] : [layer.field, layer.prediction];
}

/** Return a diameter in pixels at which points cover a body of a fifth of the stage, and are still told apart. */
function sizeFor(nPoints: number, area: number): number {
  return Math.min(Math.max(Math.sqrt((0.2 * area) / Math.max(nPoints, 1)), 2), 9);
}

/** Move positions from one center to another: layers that load at the same time choose one each. */
function shift(position: Float32Array, from: Point, to: Point): void {
  const offset = from.map((value, axis) => value - (to[axis] as number));
  if (offset.every((one) => one === 0)) return;
  for (let i = 0; i < position.length; i += 1) position[i] = (position[i] as number) + (offset[i % 3] as number);
}
