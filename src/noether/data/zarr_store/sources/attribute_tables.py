"""Attributes of samples from a table with one row per sample. Each process reads a table once."""

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
# A mapping names few tables, but each subset of a dataset can have its own.
_TABLES_KEPT = 16

_Rows = tuple[TextTable, dict[str, TextRow]]


class AttributeTables:
    """Cache of tables that this process has read. It is thread-safe; an unpickled copy is empty."""

    def __init__(self) -> None:
        self._tables: BoundedCache[_Rows] = BoundedCache(_TABLES_KEPT)
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[AttributeTables], tuple[()]]:
        return AttributeTables, ()

    def row(self, storage: Storage, item: StoredObject, column: str, ids: Sequence[str], where: str) -> dict[str, Any]:
        """Return the attributes of one sample from a table.

        Parameters
        ----------
        storage : Storage
            Storage that holds the table.
        item : StoredObject
            The table.
        column : str
            Name of the column with the names of the samples.
        ids : sequence of str
            Names of the sample; the table can use any of them.
        where : str
            Sample and attribute, as the start of error messages.

        Raises
        ------
        SourceError
            The table is damaged, lacks the column, has no row or several rows of the sample, or has a cell that looks
            like a number but is ambiguous.
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
