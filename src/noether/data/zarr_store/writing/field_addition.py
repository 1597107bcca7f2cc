"""Fields that are added to a sample that is there: what is given, what is there, and the root with both."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.core import ROOT_KEY, Grid, run_all
from noether.data.zarr_store.errors import SampleDataError, StorageError, nearest_names
from noether.data.zarr_store.layout import ArrayLayout, DomainLayout
from noether.data.zarr_store.manifest import (
    FieldFidelity,
    OwnManifest,
    PendingFields,
    SampleEntry,
    domains_of_sample,
)
from noether.data.zarr_store.writing.changed_roots import root_with
from noether.data.zarr_store.writing.group_encoding import DomainArrays, GroupArray
from noether.data.zarr_store.writing.source_rows import SourceRows
from noether.data.zarr_store.writing.stored_rows import StoredRows
from noether.data.zarr_store.writing.validation import FieldValues, check_fields

__all__ = ["SOME_POINTS", "Comparison", "FieldAddition", "StoredRowsOf", "WrittenArrays", "array_objects"]

_Batches = Generator[tuple[range, NDArray[Any]]]

Comparison = Literal["all", "some"]

SOME_POINTS = 1 << 18
"""Points of a domain whose positions are compared where not all are, up to a batch more. A source in which one point in
10,000 differs is found but for a chance of 4e-12; with one in 50,000, of 0.5 %."""

StoredRowsOf = Callable[[OwnManifest, str, ArrayLayout], _Batches]
"""Reads a field of a domain of a sample: yields the numbers of stored rows, and the rows."""


@dataclass(frozen=True, slots=True)
class WrittenArrays:
    """New arrays of a group, which its root does not name yet.

    Attributes
    ----------
    metadata : dict of str to bytes
        The ``zarr.json`` of each by its path in the group.
    content : dict of str to str
        The checksum of the stored values of each by canonical field name.
    """

    metadata: dict[str, bytes]
    content: dict[str, str]


@dataclass(frozen=True, slots=True)
class FieldAddition:
    """The fields that are given for a sample, checked against the sample that is there.

    Attributes
    ----------
    own : OwnManifest
        What the group of the sample said when it was read.
    fields : dict of str to list of (ArrayLayout, ndarray or SourceRows)
        By domain, all fields that are given.
    new : frozenset of str
        The fields that the sample lacks. The others, positions among them, are compared with those that are stored.
    """

    own: OwnManifest
    fields: dict[str, list[FieldValues]]
    new: frozenset[str]

    @classmethod
    def checked(
        cls,
        own: OwnManifest,
        field_arrays: Mapping[str, Any],
        layouts: Mapping[str, DomainLayout],
        *,
        in_stored_order: bool,
    ) -> FieldAddition:
        """Check what is given, but for its values.

        Raises
        ------
        SampleDataError
            A field is unknown, or one that the sample was converted with; it has another shape or dtype, or another
            number of points than the sample; or the sample lacks its domain.
        """
        sample_id, entry = own.sample_id, own.entry
        given = _given_layouts(sample_id, field_arrays, layouts)
        for domain, layout in given.items():
            _require_addable(own, domain, layout)
        fields = check_fields(sample_id, field_arrays, given)
        for domain, values in fields.items():
            expected, got = entry.domains[domain].n_points, values[0][1].shape[0]
            if got != expected:
                raise SampleDataError(
                    f"sample {sample_id!r}, field {values[0][0].field}: expected {expected:,} points, as the sample "
                    f"has in the store, got {got:,}; give the arrays of the source that the sample was converted from"
                )
        if in_stored_order:
            fields = {domain: [(one, _loaded(rows)) for one, rows in values] for domain, values in fields.items()}
        there = {field for layout in own.alone.domains.values() for field in layout.arrays}
        return cls(own, fields, frozenset(one.field for values in fields.values() for one, _ in values) - there)

    @property
    def sample_id(self) -> str:
        """The sample."""
        return self.own.sample_id

    @property
    def grids(self) -> dict[str, Grid]:
        """Chunks and shards of the domains, which are those of the fields that are there."""
        return {domain: self.own.entry.domains[domain].grid for domain in self.fields}

    @property
    def compared(self) -> frozenset[str]:
        """The fields that are there already."""
        return frozenset(one.field for values in self.fields.values() for one, _ in values) - self.new

    @property
    def added(self) -> PendingFields:
        """The layouts of the new fields, by domain."""
        found = {
            domain: {one.field: one for one, _ in values if one.field in self.new}
            for domain, values in self.fields.items()
        }
        return {domain: arrays for domain, arrays in found.items() if arrays}

    def require_same(
        self,
        contents: Mapping[str, DomainArrays],
        stored: Callable[[str, ArrayLayout], _Batches],
        compare: Comparison,
        threads: int,
    ) -> None:
        """Compare what is there already with what is given, bit for bit.

        Parameters
        ----------
        contents : mapping of str to DomainArrays
            The rows that are given, in stored order.
        stored : callable
            Reads the rows that are there.
        compare : {"all", "some"}
            Whether all positions are compared, or `SOME_POINTS` of a domain.
        threads : int
            Threads that compare.

        Raises
        ------
        SampleDataError
            They differ.
        """
        with ThreadPoolExecutor(threads, "noether-compare") as pool:
            for domain, content in contents.items():
                for layout, rows in content.arrays:
                    if layout.field in self.new:
                        continue
                    # Stored rows lie in a random order: the first ones are points from all over the domain.
                    is_position = layout.field == self.own.alone.domains[domain].position
                    n_points = SOME_POINTS if is_position and compare == "some" else content.grid.n_points
                    require_same = partial(self._require_same_rows, domain, layout, rows)
                    with closing(stored(domain, layout)) as batches:
                        tasks = (partial(require_same, *batch) for batch in _first(batches, n_points))
                        run_all(pool, tasks, ahead=threads + 1)

    def _require_same_rows(
        self, domain: str, layout: ArrayLayout, rows: StoredRows, numbers: range, there: NDArray[Any]
    ) -> None:
        given = rows.chunk(numbers.start, numbers.stop)
        if np.array_equal(_bits(there), _bits(given)):
            return
        row = int(np.flatnonzero((_bits(there) != _bits(given)).any(axis=1))[0])
        raise SampleDataError(
            f"sample {self.sample_id!r}, field {layout.field}: {self._what_differs(domain, layout)}: stored row "
            f"{numbers.start + row:,}: expected {there[row].tolist()}, as the store has, got {given[row].tolist()}; "
            f"{self._way_out(domain, layout)}"
        )

    def _what_differs(self, domain: str, layout: ArrayLayout) -> str:
        is_position = layout.field == self.own.alone.domains[domain].position
        return "these are other points, or another order" if is_position else "the sample has it, with other values"

    def _way_out(self, domain: str, layout: ArrayLayout) -> str:
        if layout.field == self.own.alone.domains[domain].position:
            return "nothing was written; give the arrays of the source that the sample was converted from"
        return (
            "nothing was written; to replace the field, take it out first: noether-zarr remove STORE --field "
            f"{layout.field}"
        )

    def arrays(self, contents: Mapping[str, DomainArrays]) -> Iterator[tuple[str, DomainArrays]]:
        """Yield each domain with its new fields alone."""
        for domain, content in contents.items():
            arrays = [one for one in content.arrays if one[0].field in self.new]
            if arrays:
                yield domain, replace(content, arrays=arrays)

    def _entry(self, entry: SampleEntry, written: WrittenArrays, fidelity: Mapping[str, FieldFidelity]) -> SampleEntry:
        """Return the entry of the sample with the new fields."""
        return replace(
            entry,
            fidelity=entry.fidelity | {field: fidelity[field] for field in self.new},
            content_crc32c=entry.content_crc32c | written.content,
            added_fields=tuple(sorted(self.new.union(entry.added_fields))),
        )

    def changed_root(
        self, document: bytes | None, written: WrittenArrays, fidelity: Mapping[str, FieldFidelity], where: str
    ) -> bytes:
        """Return the root ``zarr.json`` of the group with the new fields.

        Parameters
        ----------
        document : bytes or None
            The root at this moment.
        written : WrittenArrays
            The new arrays.
        fidelity : mapping of str to FieldFidelity
            What storing the fields lost.
        where : str
            The place of the root, for errors.

        Raises
        ------
        StorageError
            Another process has written or removed the sample meanwhile.
        """
        own = OwnManifest.of_root(document, self.own.entry.relpath, where) if document is not None else None
        if own is None or document is None or not self._is_same(own):
            raise StorageError(
                f"cannot write {where}: another process wrote or removed the sample meanwhile; run again"
            )
        entry = self._entry(own.entry, written, fidelity)
        known = own.alone.model_copy(update={"pending_fields": self.added})
        domains = domains_of_sample(known, entry, frozenset(entry.added_fields))
        return root_with(document, own, entry, domains, written.metadata)

    def _is_same(self, own: OwnManifest) -> bool:
        """Return whether a group is still that of the same conversion; other fields may have come."""
        mine, others = self.own.entry, own.entry
        is_same = own.sample_id == self.sample_id and mine.domains == others.domains
        is_same = is_same and mine.fingerprint == others.fingerprint and own.checksum_state != "broken"
        is_same = is_same and mine.fidelity.items() <= others.fidelity.items()
        return is_same and mine.content_crc32c.items() <= others.content_crc32c.items()


def _first(batches: _Batches, n_points: int) -> _Batches:
    """Yield the batches that have the first points."""
    for numbers, rows in batches:
        yield numbers, rows
        if numbers.stop >= n_points:
            return


def array_objects(array: GroupArray) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Yield the objects of one array as (key, parts), its ``zarr.json`` last; see `group_objects`."""
    for shard, parts in enumerate(array.shards):
        yield f"c/{shard}/0", parts
    yield ROOT_KEY, [array.metadata]


def _given_layouts(
    sample_id: str, field_arrays: Mapping[str, Any], layouts: Mapping[str, DomainLayout]
) -> dict[str, DomainLayout]:
    """Return the layouts of the fields that are given alone."""
    known = [field for layout in layouts.values() for field in layout.arrays]
    for field in field_arrays:
        if field not in known:
            raise SampleDataError(f"sample {sample_id!r}: unknown field {field!r}; {nearest_names(field, known)}")
    if not field_arrays:
        raise SampleDataError(f"sample {sample_id!r}: no field is given; expected at least one to add")
    given = {
        domain: replace(layout, arrays={field: one for field, one in layout.arrays.items() if field in field_arrays})
        for domain, layout in layouts.items()
    }
    return {domain: layout for domain, layout in given.items() if layout.arrays}


def _require_addable(own: OwnManifest, domain: str, layout: DomainLayout) -> None:
    where = f"sample {own.sample_id!r}"
    if domain not in own.entry.domains:
        raise SampleDataError(
            f"{where}: it has no domain {domain!r} to add {', '.join(layout.arrays)} to; expected fields of "
            f"{', '.join(own.entry.domains)}"
        )
    there = own.alone.domains[domain]
    for field, array in layout.arrays.items():
        if field not in there.arrays or field == there.position:
            continue
        if field not in own.entry.added_fields:
            raise SampleDataError(
                f"{where}, field {field}: the sample was converted with it; expected fields that it lacks. Nothing was "
                "written; to replace it, convert the sample again, or take the field out first: noether-zarr remove "
                f"STORE --field {field}"
            )
        if there.arrays[field] != array:
            raise SampleDataError(
                f"{where}, field {field}: the sample has it as {there.arrays[field].dtype} x "
                f"{there.arrays[field].dim}, got {array.dtype} x {array.dim}; use the dtype and width of the store"
            )


def _loaded(rows: NDArray[Any] | SourceRows) -> NDArray[Any]:
    return rows.load() if isinstance(rows, SourceRows) else rows


def _bits(rows: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(rows).view(f"u{rows.dtype.itemsize}")
