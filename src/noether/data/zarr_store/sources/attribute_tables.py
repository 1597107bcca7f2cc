"""Attributes of samples in one table with a row for each: it is read once by a process."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

from noether.data.zarr_store.core import BoundedCache, TextRow, TextTable, parse_text_table
from noether.data.zarr_store.errors import SourceError, nearest_names
from noether.data.zarr_store.sources.formats import TABLE_SEPARATORS, as_floats, damage_reported, read_text
from noether.data.zarr_store.sources.suffixes import suffix_of
from noether.data.zarr_store.stores import Storage, StoredObject

__all__ = ["AttributeTables"]

_MAX_TABLE_BYTES = 256 << 20
# A mapping names few tables, of which each part of a dataset may have one of its own.
_TABLES_KEPT = 16

_Rows = tuple[TextTable, dict[str, TextRow]]


class AttributeTables:
    """The tables that a process has read. Safe to use from many threads; another process reads them again."""

    def __init__(self) -> None:
        self._tables: BoundedCache[_Rows] = BoundedCache(_TABLES_KEPT)
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[AttributeTables], tuple[()]]:
        return AttributeTables, ()

    def row(self, storage: Storage, item: StoredObject, column: str, ids: Sequence[str], where: str) -> dict[str, Any]:
        """Return the attributes that a table has of one sample.

        Parameters
        ----------
        storage : Storage
            Where the table lies.
        item : StoredObject
            The table.
        column : str
            The column whose cells name the samples.
        ids : sequence of str
            Names of the sample, of which the table may use any.
        where : str
            Names sample and attribute, to begin an error with.

        Raises
        ------
        SourceError
            The table is damaged, has no such column, no row of the sample or two of them, or a cell that is no clear
            number.
        """
        table, rows = self._read(storage, item, column, where)
        named = [one for one in ids if one in rows]
        if len(named) != 1:
            expected = " or ".join(map(repr, ids))
            got = f"rows for both: lines {', '.join(str(rows[one].line) for one in named)}" if named else "none"
            way_out = "remove one" if named else f"add the row; {nearest_names(ids[0], rows)}"
            raise SourceError(
                f"{where}: {item.key}: expected one row with {expected} in the column {column!r}, got {got}; {way_out}"
            )
        with damage_reported(item.key, where):
            return as_floats(table.values(rows[named[0]], leave_out=column))

    def _read(self, storage: Storage, item: StoredObject, column: str, where: str) -> _Rows:
        kept_as = repr((item, column))
        with self._lock:
            kept = self._tables.get(kept_as)
            if kept is None:
                with storage.open_file(item.key) as file, damage_reported(item.key, where):
                    table = parse_text_table(read_text(file, _MAX_TABLE_BYTES), TABLE_SEPARATORS[suffix_of(item.key)])
                if column not in table.names:
                    raise SourceError(
                        f"{where}: {item.key} has no column {column!r}; {nearest_names(column, table.names)}"
                    )
                with damage_reported(item.key, where):
                    kept = table, table.by_id(column)
                self._tables.put(kept_as, kept)
            return kept
