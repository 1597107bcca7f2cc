// Where the store of this page is.

import { fetchText, RefusedError } from "./format/fetching";

/** What the command that serves the page says of the store; absent where the page lies on a web space. */
export interface Served {
  /** Name of the store for people. */
  readonly name: string;
  /** Address of the store that the browser may read itself, if it is let; null for none. */
  readonly direct: string | null;
  /** Whether the command tells source rows. */
  readonly hasSourceRows: boolean;
}

export interface Place {
  /** Address of the store; it ends in a slash. */
  readonly store: URL;
  readonly name: string;
  readonly served: Served | null;
}

/** Find the store: `?store=`, else the one that the command serves, else the one that the page lies beside. */
export async function findPlace(page: URL): Promise<Place> {
  const given = page.searchParams.get("store");
  if (given) {
    const store = new URL(given.endsWith("/") ? given : `${given}/`, page);
    return { store, name: store.href, served: null };
  }
  const text = await fetchText(new URL("served.json", page)).catch(() => null);
  const served = text === null ? null : (JSON.parse(text) as Served);
  if (served?.direct && (await canRead(new URL(served.direct)))) return { store: new URL(served.direct), name: served.name, served };
  if (served) return { store: new URL("store/", page), name: served.name, served };
  const beside = new URL("../", page);
  return { store: beside, name: beside.href, served: null };
}

async function canRead(store: URL): Promise<boolean> {
  try {
    return (await fetchText(new URL("manifest.json", store))) !== null;
  } catch {
    return false; // the command reads it instead
  }
}

/** Return what a person can do about an error. */
export function adviceFor(error: unknown, place: URL, page: URL): string {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof RefusedError) || place.origin === page.origin) return message;
  const rule = [{ AllowedOrigins: [page.origin], AllowedMethods: ["GET", "HEAD"], AllowedHeaders: ["range"], ExposeHeaders: ["content-length", "content-range", "etag"] }];
  return (
    `${message}\nThe server is not reached, or it does not let this page read (CORS). ` +
    `Set this rule on the bucket, or use \`noether-zarr view\`, which reads it for the page:\n${JSON.stringify({ CORSRules: rule }, null, 1)}`
  );
}
