// The page's side of the worker.

import type { DomainLayout, Sample } from "../format/manifest";
import type { Answer, ChunkMessage, DamageMessage, LoadRequest, PickedMessage, Request } from "./protocol";

/** What is to be loaded. */
export type Wanted = Omit<LoadRequest, "kind" | "id">;

/** Callbacks of one load. None is called after it was cancelled. */
export interface LoadListener {
  onChunk(chunk: ChunkMessage): void;
  onDamage(damage: DamageMessage): void;
  onDone(units: ReadonlyMap<string, string>): void;
  onFailed(error: string): void;
}

export interface PickWanted {
  readonly store: string;
  readonly sample: Sample;
  readonly domain: string;
  readonly layout: DomainLayout;
  readonly row: number;
}

/** Sends requests to the worker and hands its answers to who asked. */
export class Loader {
  readonly #worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  readonly #loads = new Map<number, LoadListener>();
  readonly #picks = new Map<number, { resolve(picked: PickedMessage): void; reject(error: Error): void }>();
  #lastId = 0;

  constructor() {
    this.#worker.onmessage = ({ data }: MessageEvent<Answer>): void => {
      this.#take(data);
    };
  }

  /** Begin to load; return a function that cancels it. */
  load(wanted: Wanted, listener: LoadListener): () => void {
    const id = ++this.#lastId;
    this.#loads.set(id, listener);
    this.#send({ kind: "load", id, ...wanted });
    return () => {
      if (this.#loads.delete(id)) this.#send({ kind: "cancel", id });
    };
  }

  /** Read one stored row of all fields. */
  pick(wanted: PickWanted): Promise<PickedMessage> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#picks.set(id, { resolve, reject });
      this.#send({ kind: "pick", id, ...wanted });
    });
  }

  #send(request: Request): void {
    this.#worker.postMessage(request);
  }

  #take(answer: Answer): void {
    const listener = this.#loads.get(answer.id);
    const picking = this.#picks.get(answer.id);
    switch (answer.kind) {
      case "chunk":
        listener?.onChunk(answer);
        break;
      case "damage":
        listener?.onDamage(answer);
        break;
      case "done":
        this.#loads.delete(answer.id);
        listener?.onDone(answer.units);
        break;
      case "picked":
        this.#picks.delete(answer.id);
        picking?.resolve(answer);
        break;
      case "failed":
        this.#loads.delete(answer.id);
        this.#picks.delete(answer.id);
        listener?.onFailed(answer.error);
        picking?.reject(new Error(answer.error));
    }
  }
}
