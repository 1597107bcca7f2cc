"""The samples, domains and fields of a store, as text for a terminal and as HTML for a notebook."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from noether.data.zarr_store.core import HtmlTable, count_of, html_repr, printable, shortened
from noether.data.zarr_store.errors import StoreError
from noether.data.zarr_store.layout import ArrayLayout
from noether.data.zarr_store.manifest.field_attributes import FieldAttributes
from noether.data.zarr_store.manifest.lines import SampleEntry

if TYPE_CHECKING:
    from noether.data.zarr_store.manifest.store_manifest import StoreManifest

__all__ = ["Description"]

# Samples that are parsed for a description: a manifest may have a million.
_LOOKED_AT = 20
_FIELDS_IN_TEXT = 12
_DOMAINS_IN_TEXT = 8


@dataclass(frozen=True, slots=True)
class Description:
    """A description of some samples of a store. Only the first 20 samples are parsed.

    Attributes
    ----------
    manifest : StoreManifest
        Manifest of the store.
    sample_ids : collection of str
        Ids of the samples.
    """

    manifest: StoreManifest
    sample_ids: Collection[str]

    def text(self, title: str) -> str:
        """Return a line with the title, and a line for each domain with its points and fields."""
        entries = self._entries()
        lines = [f"<{title}>"]
        for domain, layout in islice(self.manifest.domains.items(), _DOMAINS_IN_TEXT):
            fields = [_field_text(array) for array in islice(layout.arrays.values(), _FIELDS_IN_TEXT)]
            hidden = len(layout.arrays) - len(fields)
            fields += [f"… and {hidden:,} more"] if hidden else []
            lines.append(f"  {domain} ({self._points(domain, entries)}): {', '.join(fields)}")
        hidden = len(self.manifest.domains) - _DOMAINS_IN_TEXT
        lines += [f"  … and {count_of(hidden, 'more domain')}"] if hidden > 0 else []
        return "\n".join(printable(shortened(line, 1000)) for line in lines)

    def html(self, title: str, facts: Sequence[tuple[str, str]] = (), attributes: FieldAttributes | None = None) -> str:
        """Return HTML with the facts, the domains and their fields, and the first samples.

        Parameters
        ----------
        title : str
            Name of the kind of object.
        facts : sequence of (str, str)
            Names and values to show first.
        attributes : dict, optional
            Units and long names by field; see `field_attributes`.
        """
        entries = self._entries()
        manifest, known = self.manifest, attributes or {}
        facts = [*facts, ("dataset", manifest.dataset_name), ("samples", f"{len(self.sample_ids):,}")]
        if manifest.splits:
            sizes = [f"{name} ({len(ids):,})" for name, ids in islice(manifest.splits.items(), _LOOKED_AT)]
            facts.append(("splits", ", ".join(sizes)))
        if manifest.origin is not None:
            facts.append(("origin", ", ".join(f"{one:g}" for one in manifest.origin)))
        facts.append(("compressor", manifest.compressor))
        tables = []
        for domain, layout in manifest.domains.items():
            rows = [
                [array.field, array.dtype, f"{array.dim:,}", *_meaning(known.get(array.field, {}))]
                for array in layout.arrays.values()
            ]
            header = ["field", "dtype", "width", *(["units", "long name"] if known else [])]
            rows = [row[: len(header)] for row in rows]
            note = f"{self._points(domain, entries)}, {count_of(len(rows), 'field')}"
            tables.append(HtmlTable(domain, note, header, rows, is_open=True))
        return html_repr(title, facts, [*tables, self._samples_table(entries)])

    def first_of_each_domain(self) -> Iterable[str]:
        """Return the id of the first sample of each domain, among those that are parsed."""
        chosen: dict[str, str] = {}
        for sample_id, entry in self._entries().items():
            for domain in entry.domains if entry else ():
                chosen.setdefault(domain, sample_id)
        return dict.fromkeys(chosen.values())

    def _entries(self) -> dict[str, SampleEntry | None]:
        """Parse the first samples. An entry that is malformed is None: a description raises no error."""
        entries: dict[str, SampleEntry | None] = {}
        for sample_id in islice(self.sample_ids, _LOOKED_AT):
            try:
                entries[sample_id] = self.manifest.samples.get(sample_id)
            except StoreError:
                entries[sample_id] = None
        return entries

    def _points(self, domain: str, entries: Mapping[str, SampleEntry | None]) -> str:
        counts = [entry.domains[domain].n_points for entry in entries.values() if entry and domain in entry.domains]
        if not counts:
            return "points unknown" if entries else "no samples"
        low, high = min(counts), max(counts)
        span = count_of(low, "point") if low == high else f"{low:,} to {high:,} points"
        return span + (f" in the first {len(entries)} samples" if len(self.sample_ids) > len(entries) else "")

    def _samples_table(self, entries: Mapping[str, SampleEntry | None]) -> HtmlTable:
        rows = []
        for sample_id, entry in entries.items():
            if entry is None:
                rows.append([sample_id, "the entry in the manifest is malformed", ""])
                continue
            points = ", ".join(f"{domain} {one.n_points:,}" for domain, one in islice(entry.domains.items(), 20))
            text = json.dumps(entry.attributes, ensure_ascii=False) if entry.attributes else ""
            rows.append([sample_id, points, text])
        n_samples = len(self.sample_ids)
        return HtmlTable("samples", f"{n_samples:,}", ["id", "points", "attributes"], rows, n_samples)


def _field_text(array: ArrayLayout) -> str:
    return f"{array.name} {array.dtype}" + (f" x {array.dim}" if array.dim > 1 else "")


def _meaning(attributes: Mapping[str, str]) -> list[str]:
    return [attributes.get("units", ""), attributes.get("long_name", "")]
