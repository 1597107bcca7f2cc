// Messages between the page and the worker that reads and decodes.

import type { Sample, DomainLayout } from "../format/manifest";
import type { Values } from "../format/reading";

/** Read chunks of some fields of one domain, in ascending order. */
export interface LoadRequest {
  readonly kind: "load";
  readonly id: number;
  readonly store: string;
  readonly sample: Sample;
  readonly domain: string;
  readonly layout: DomainLayout;
  /** Canonical names of the fields beside the position. */
  readonly fields: readonly string[];
  readonly firstChunk: number;
  readonly stopChunk: number;
  /** Point that is subtracted from positions; null for the middle of the first chunk. */
  readonly center: readonly [number, number, number] | null;
}

/** Read one stored row of all fields of a domain. */
export interface PickRequest {
  readonly kind: "pick";
  readonly id: number;
  readonly store: string;
  readonly sample: Sample;
  readonly domain: string;
  readonly layout: DomainLayout;
  readonly row: number;
}

export interface CancelRequest {
  readonly kind: "cancel";
  readonly id: number;
}

export type Request = LoadRequest | PickRequest | CancelRequest;

export interface ChunkMessage {
  readonly kind: "chunk";
  readonly id: number;
  readonly chunk: number;
  readonly firstRow: number;
  readonly nRows: number;
  readonly center: readonly [number, number, number];
  /** `nRows × 3`, with the center subtracted. */
  readonly position: Float32Array;
  readonly values: ReadonlyMap<string, Values>;
}

/** A chunk that could not be read; loading goes on with the next. */
export interface DamageMessage {
  readonly kind: "damage";
  readonly id: number;
  readonly chunk: number;
  readonly error: string;
}

export interface DoneMessage {
  readonly kind: "done";
  readonly id: number;
  readonly units: ReadonlyMap<string, string>;
}

export interface FailedMessage {
  readonly kind: "failed";
  readonly id: number;
  readonly error: string;
}

/** A stored row: the values of each field as stored, and its units. */
export interface PickedMessage {
  readonly kind: "picked";
  readonly id: number;
  readonly values: ReadonlyMap<string, readonly number[]>;
  readonly units: ReadonlyMap<string, string>;
  readonly errors: ReadonlyMap<string, string>;
}

export type Answer = ChunkMessage | DamageMessage | DoneMessage | FailedMessage | PickedMessage;
