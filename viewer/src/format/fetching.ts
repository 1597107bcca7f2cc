// Requests to the place of a store, with errors that say what a person can do.

/** The place of the store did not answer as it should. */
export class StoreError extends Error {}

/** The server answers requests of this page with no permission to read the answer, or not at all. */
export class RefusedError extends StoreError {}

const PAUSES_MS = [250, 1000];

/** Send a request of zarrita, again where the server is busy; refuse answers that zarrita would misread. */
export async function fetchChecked(request: Request): Promise<Response> {
  const name = new URL(request.url).pathname;
  const response = await fetchAgain(request);
  if (request.headers.has("Range") && response.status === 200) {
    throw new StoreError(`${name}: the server ignores byte ranges; serve the store with one that knows them`);
  }
  // zarrita would show zeros: in Zarr, a missing object stands for the fill value. A store has all its shards.
  if (request.headers.has("Range") && response.status === 404) throw new StoreError(`${name} is missing`);
  if (response.status !== 404 && !response.ok) {
    throw new StoreError(`${name}: the server answered ${response.status} ${response.statusText}`.trim());
  }
  return response;
}

async function fetchAgain(request: Request): Promise<Response> {
  for (const pause of PAUSES_MS) {
    const response = await fetch(request.clone()).catch(() => null);
    if (response && response.status !== 429 && response.status < 500) return response;
    request.signal.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
  try {
    return await fetch(request);
  } catch (error) {
    request.signal.throwIfAborted();
    throw new RefusedError(`${request.url}: no answer that this page may read (${String(error)})`, { cause: error });
  }
}

/** Read a small text; null where there is none. */
export async function fetchText(url: URL, signal?: AbortSignal): Promise<string | null> {
  const response = await fetchChecked(new Request(url, signal ? { signal } : {}));
  return response.status === 404 ? null : await response.text();
}
