import { afterEach, describe, expect, it, vi } from "vitest";

import { fetchChecked, fetchText, RefusedError } from "../src/format/fetching";

const URL_ = new URL("http://store.example/manifest.json");

function answering(...answers: (number | Error)[]): ReturnType<typeof vi.fn> {
  const fetching = vi.fn(() => {
    const answer = answers.shift() ?? 200;
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(new Response("{}", { status: answer }));
  });
  vi.stubGlobal("fetch", fetching);
  return fetching;
}

describe("a request", () => {
  afterEach(() => {
    vi.unstubAllGlobals();
  });

  it.each([[503], [429], [new TypeError("Failed to fetch")]])("that meets %s is sent again", async (failure) => {
    const fetching = answering(failure);
    expect(await fetchText(URL_)).toBe("{}");
    expect(fetching).toHaveBeenCalledTimes(2);
  });

  it("fails when the server stays busy", async () => {
    const fetching = answering(503, 503, 503);
    await expect(fetchText(URL_)).rejects.toThrow("/manifest.json: the server answered 503");
    expect(fetching).toHaveBeenCalledTimes(3);
  });

  it("that no server answers is refused", async () => {
    answering(new TypeError("no"), new TypeError("no"), new TypeError("no"));
    await expect(fetchText(URL_)).rejects.toThrow(RefusedError);
  });

  it("for an object that is not there is not sent again", async () => {
    const fetching = answering(404);
    expect(await fetchText(URL_)).toBeNull();
    expect(fetching).toHaveBeenCalledTimes(1);
  });

  it("for a part of an object that is not there fails", async () => {
    answering(404);
    const request = new Request(URL_, { headers: { Range: "bytes=0-9" } });
    await expect(fetchChecked(request)).rejects.toThrow("/manifest.json is missing");
  });

  it("for a range needs a server that knows ranges", async () => {
    answering(200);
    const request = new Request(URL_, { headers: { Range: "bytes=0-9" } });
    await expect(fetchChecked(request)).rejects.toThrow("ignores byte ranges");
  });
});
