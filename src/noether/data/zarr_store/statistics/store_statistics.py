"""The statistics of the fields of a store, as a dictionary that shows itself as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

from noether.data.zarr_store.core import HtmlTable, html_repr, printable, shortened
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.statistics.moments import RunningStats

__all__ = ["StoreStatistics", "merge_statistics"]

_SHOWN = 20


class StoreStatistics(dict[str, RunningStats]):
    """A dict of statistics by canonical field name; only its repr differs from that of a dict."""

    def __repr__(self) -> str:
        lines = [f"<{type(self).__name__} of {len(self):,} field{'' if len(self) == 1 else 's'}>"]
        lines += [f"  {name}: {one.summary()}" for name, one in islice(self.items(), _SHOWN)]
        lines += [f"  … and {len(self) - _SHOWN:,} more"] if len(self) > _SHOWN else []
        return "\n".join(printable(shortened(line, 1000)) for line in lines)

    def _repr_html_(self) -> str:
        tables = [one.table(name) for name, one in islice(self.items(), _SHOWN)]
        if len(self) > _SHOWN:
            tables.append(HtmlTable("…", f"and {len(self) - _SHOWN:,} more fields", [], []))
        return html_repr(type(self).__name__, [("fields", f"{len(self):,}")], tables)


def merge_statistics(parts: Iterable[Mapping[str, RunningStats]]) -> StoreStatistics:
    """Merge the statistics of several stores or selections, which must share the origin, but no sample.

    Raises
    ------
    ArgumentError
        A field has different widths.
    """
    merged = StoreStatistics()
    for stats in parts:
        for field, one in stats.items():
            try:
                merged[field] = merged[field].merge(one) if field in merged else one
            except ArgumentError as error:
                raise ArgumentError(f"field {field}: {error}") from error
    return merged
