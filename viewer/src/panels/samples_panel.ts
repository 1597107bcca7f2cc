// The list of samples, with search and splits.

import type { Manifest } from "../format/manifest";
import { button, element, select } from "./dom";

// Longer lists make the page slow; the search shortens them.
const MOST_LISTED = 500;

/** Fill the panel; `onChoose` gets the id of a sample. */
export function samplesPanel(panel: HTMLElement, manifest: Manifest, onChoose: (id: string) => void): (current: string) => void {
  let split = "";
  let current = "";
  const search = element("input", { type: "search", placeholder: "Search samples", ariaLabel: "Search samples" });
  const list = element("div", { className: "samples", role: "listbox", ariaLabel: "Samples" });
  const found = element("p", { className: "note", ariaLive: "polite" });
  const refill = (): void => {
    const ids = matching(manifest, split, search.value);
    list.replaceChildren(
      ...ids.slice(0, MOST_LISTED).map((id) => {
        const one = button(id, () => {
          onChoose(id);
        });
        one.role = "option";
        one.ariaSelected = `${id === current}`;
        return one;
      }),
    );
    const more = ids.length > MOST_LISTED ? `, the first ${MOST_LISTED} listed` : "";
    found.textContent = `${ids.length.toLocaleString("en")} of ${manifest.samples.size.toLocaleString("en")} samples${more}`;
  };
  search.oninput = refill;
  const splits = [["", "all splits"], ...[...manifest.splits.keys()].map((name) => [name, name])] as [string, string][];
  const chooser = select("Split", splits, "", (value) => {
    split = value;
    refill();
  });
  panel.replaceChildren(element("h2", {}, "Samples"), search, ...(manifest.splits.size > 0 ? [chooser] : []), list, found);
  return (id) => {
    current = id;
    refill();
  };
}

function matching(manifest: Manifest, split: string, text: string): string[] {
  const ids = split === "" ? [...manifest.samples.keys()] : (manifest.splits.get(split) ?? []);
  const words = text.toLowerCase().split(/\s+/);
  return ids.filter((id) => manifest.samples.has(id) && words.every((word) => id.toLowerCase().includes(word)));
}
