"""Fields that are added to an existing sample: checks, comparison with the stored fields, and the new root."""

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
"""Number of points of a domain whose positions are compared with ``compare="some"``, plus at most one batch. If one
point in 10,000 differs, the probability to miss all of them is 4e-12; for one in 50,000 it is 0.5 %."""

StoredRowsOf = Callable[[OwnManifest, str, ArrayLayout], _Batches]
"""Function that reads a field of a domain of a sample. It yields ranges of stored row numbers, and the rows."""


@dataclass(frozen=True, slots=True)
class WrittenArrays:
    """New arrays of a group that its root does not name yet.

    Attributes
    ----------
    metadata : dict of str to bytes
        The ``zarr.json`` of each array, by path in the group.
    content : dict of str to str
        The checksum of the stored values of each array, by canonical field name.
    """

    metadata: dict[str, bytes]
    content: dict[str, str]


@dataclass(frozen=True, slots=True)
class FieldAddition:
    """The fields that the caller passed for a sample, checked against the stored sample.

    Attributes
    ----------
    own : OwnManifest
        The manifest in the root of the sample's group, when it was read.
    fields : dict of str to list of (ArrayLayout, ndarray or SourceRows)
        All passed fields, by domain.
    new : frozenset of str
        Fields that the sample does not have yet. All others, including positions, are compared with the stored ones.
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
        """Check the names, shapes and dtypes of the passed fields.

        Raises
        ------
        SampleDataError
            A field is unknown, or the sample was converted with it. Or its shape, dtype or number of points is not that
            of the sample, or the sample does not have its domain.
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
                    f"sample {sample_id!r}, field {values[0][0].field}: expected {expected:,} points as in the store, "
                    f"got {got:,}; use the arrays of the source that the sample was converted from"
                )
        if in_stored_order:
            fields = {domain: [(one, _loaded(rows)) for one, rows in values] for domain, values in fields.items()}
        there = {field for layout in own.alone.domains.values() for field in layout.arrays}
        return cls(own, fields, frozenset(one.field for values in fields.values() for one, _ in values) - there)

    @property
    def sample_id(self) -> str:
        """Id of the sample."""
        return self.own.sample_id

    @property
    def grids(self) -> dict[str, Grid]:
        """Chunks and shards of each domain; new fields have the same as the stored fields."""
        return {domain: self.own.entry.domains[domain].grid for domain in self.fields}

    @property
    def compared(self) -> frozenset[str]:
        """Fields that the sample already has."""
        return frozenset(one.field for values in self.fields.values() for one, _ in values) - self.new

    @property
    def added(self) -> PendingFields:
        """Layouts of the new fields, by domain."""
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
        """Compare passed fields that the sample already has with the stored fields, bit for bit.

        Parameters
        ----------
        contents : mapping of str to DomainArrays
            The passed rows, in stored order.
        stored : callable
            Function that reads the stored rows.
        compare : {"all", "some"}
            Whether to compare all positions, or `SOME_POINTS` positions of each domain.
        threads : int
            Number of threads that compare.

        Raises
        ------
        SampleDataError
            A row differs.
        """
        with ThreadPoolExecutor(threads, "noether-compare") as pool:
            for domain, content in contents.items():
                for layout, rows in content.arrays:
                    if layout.field in self.new:
                        continue
                    # Stored rows are in random order, so the first rows are a random subset of the domain.
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
            f"sample {self.sample_id!r}, field {layout.field}: {self._what_differs(domain, layout)}: expected "
            f"{there[row].tolist()} in stored row {numbers.start + row:,}, got {given[row].tolist()}; nothing was "
            f"written; {self._way_out(domain, layout)}"
        )

    def _what_differs(self, domain: str, layout: ArrayLayout) -> str:
        is_position = layout.field == self.own.alone.domains[domain].position
        return "the points or their order differ" if is_position else "the sample already has it with other values"

    def _way_out(self, domain: str, layout: ArrayLayout) -> str:
        if layout.field == self.own.alone.domains[domain].position:
            return "use the arrays of the source that the sample was converted from"
        return f"to replace the field, remove it first: noether-zarr remove STORE --field {layout.field}"

    def arrays(self, contents: Mapping[str, DomainArrays]) -> Iterator[tuple[str, DomainArrays]]:
        """Yield each domain with only its new fields."""
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
            The current root; None if it does not exist.
        written : WrittenArrays
            The new arrays.
        fidelity : mapping of str to FieldFidelity
            Loss of storing each field.
        where : str
            Path or URL of the root, for errors.

        Raises
        ------
        StorageError
            Another process has written or removed the sample since it was read.
        """
        own = OwnManifest.of_root(document, self.own.entry.relpath, where) if document is not None else None
        if own is None or document is None or not self._is_same(own):
            raise StorageError(
                f"cannot write {where}: another process wrote or removed the sample; add the fields again"
            )
        entry = self._entry(own.entry, written, fidelity)
        known = own.alone.model_copy(update={"pending_fields": self.added})
        domains = domains_of_sample(known, entry, frozenset(entry.added_fields))
        return root_with(document, own, entry, domains, written.metadata)

    def _is_same(self, own: OwnManifest) -> bool:
        """Return whether a group is still the one that was read, apart from fields that were added to it."""
        mine, others = self.own.entry, own.entry
        is_same = own.sample_id == self.sample_id and mine.domains == others.domains
        is_same = is_same and mine.fingerprint == others.fingerprint and own.checksum_state != "broken"
        is_same = is_same and mine.fidelity.items() <= others.fidelity.items()
        return is_same and mine.content_crc32c.items() <= others.content_crc32c.items()


def _first(batches: _Batches, n_points: int) -> _Batches:
    """Yield batches until they have at least `n_points` points."""
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
    """Return the layouts with only the passed fields."""
    known = [field for layout in layouts.values() for field in layout.arrays]
    for field in field_arrays:
        if field not in known:
            raise SampleDataError(f"sample {sample_id!r}: unknown field {field!r}; {nearest_names(field, known)}")
    if not field_arrays:
        raise SampleDataError(f"sample {sample_id!r}: expected at least one field to add, got none; name a field")
    given = {
        domain: replace(layout, arrays={field: one for field, one in layout.arrays.items() if field in field_arrays})
        for domain, layout in layouts.items()
    }
    return {domain: layout for domain, layout in given.items() if layout.arrays}


def _require_addable(own: OwnManifest, domain: str, layout: DomainLayout) -> None:
    where = f"sample {own.sample_id!r}"
    if domain not in own.entry.domains:
        raise SampleDataError(
            f"{where}: it has no domain {domain!r} for {', '.join(layout.arrays)}; add only fields of "
            f"{', '.join(own.entry.domains)}"
        )
    there = own.alone.domains[domain]
    for field, array in layout.arrays.items():
        if field not in there.arrays or field == there.position:
            continue
        if field not in own.entry.added_fields:
            raise SampleDataError(
                f"{where}, field {field}: expected a new field, but the sample was converted with it; nothing was "
                "written; to replace the field, convert the sample again, or remove the field first: noether-zarr "
                f"remove STORE --field {field}"
            )
        if there.arrays[field] != array:
            raise SampleDataError(
                f"{where}, field {field}: expected {there.arrays[field].dtype} x {there.arrays[field].dim} as in the "
                f"sample, got {array.dtype} x {array.dim}; use the dtype and width of the store"
            )


def _loaded(rows: NDArray[Any] | SourceRows) -> NDArray[Any]:
    return rows.load() if isinstance(rows, SourceRows) else rows


def _bits(rows: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(rows).view(f"u{rows.dtype.itemsize}")
