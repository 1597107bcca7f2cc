"""Proposed domains of a file of named arrays: ``.npz``, ``.pt`` and HDF5. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from noether.data.zarr_store.layout import POSITION
from noether.data.zarr_store.sources.inspection.candidates import Candidate
from noether.data.zarr_store.sources.inspection.components import join_components
from noether.data.zarr_store.sources.inspection.contents import FileContents, FoundArray
from noether.data.zarr_store.sources.inspection.domain_words import domain_named_in
from noether.data.zarr_store.sources.inspection.fields import (
    DomainTable,
    bare_name,
    field_name,
    is_vector,
    toml_text,
    toml_value,
)
from noether.data.zarr_store.sources.inspection.naming import SampleFiles, group_beside, pattern_of_names

__all__ = ["array_candidates"]


def array_candidates(sample: SampleFiles, found: FileContents) -> Iterator[Candidate]:
    """Yield the domains of a file. The name of an array, or else of the file, tells the domain of the array."""
    pattern = sample.patterns[found.key]
    by_kind: dict[str, list[FoundArray]] = {}
    for array in found.arrays:
        kind = domain_named_in(array.name) or domain_named_in(PurePosixPath(pattern).name) or "volume"
        by_kind.setdefault(kind, []).append(array)
    for kind, arrays in by_kind.items():
        n_columns = _columns_of_positions(kind, arrays)
        joined = join_components([_upright(array, n_columns) for array in arrays], is_vector(kind))
        turned = {array.name for array in arrays if _upright(array, n_columns) != array}
        n_points = _number_of_points(kind, [array for array, _ in joined])
        sizes = frozenset(() if n_points is None else (n_points,))
        yield Candidate(
            kind,
            sample.patterns[found.key],
            sample.n_files(found.key),
            sizes,
            _array_table(sample, found, kind, joined, turned, n_points),
        )


def _array_table(
    sample: SampleFiles,
    found: FileContents,
    kind: str,
    joined: Sequence[tuple[FoundArray, tuple[str, ...]]],
    turned: set[str],
    n_points: int | None,
) -> Callable[[str], DomainTable]:
    def make(name: str) -> DomainTable:
        pattern = sample.patterns[found.key]
        table = DomainTable(name, kind, [f"file = {toml_text(pattern)}"])
        if found.sample_groups:
            table.head.append(f"group = {toml_text(group_beside(pattern, pattern_of_names(found.sample_groups)))}")
        # Add an array named x last: if there are other positions, x holds the node features, as in PyTorch Geometric.
        for array, components in sorted(joined, key=lambda one: bare_name(one[0].name) == "x"):
            if array.shape[:1] == (n_points,) and len(array.shape) <= 2:
                value = toml_value(components)
                value = f"{{ array = {value}, transpose = true }}" if turned.intersection(components) else value
                table.add(array, array.name, value)
            else:
                table.remarks.append(f"# left out: {toml_text(array.name)} has the shape {array.shape}")
        return table

    return make


def _columns_of_positions(kind: str, arrays: Sequence[FoundArray]) -> int | None:
    """Return the number of columns of transposed positions (one column per point), or None."""
    for array in arrays:
        if len(array.shape) == 2 and array.shape[0] == 3 != array.shape[1]:
            upright = _upright(array, array.shape[1])
            if field_name(kind, upright, array.name) == POSITION:
                return array.shape[1]
    return None


def _upright(array: FoundArray, n_columns: int | None) -> FoundArray:
    """Return a transposed array with rows and columns swapped; other arrays unchanged."""
    is_turned = len(array.shape) == 2 and array.shape[1] == n_columns != array.shape[0]
    return replace(array, shape=array.shape[::-1]) if is_turned else array


def _number_of_points(kind: str, arrays: Sequence[FoundArray]) -> int | None:
    sizes = [array.shape[0] for array in arrays if array.shape and field_name(kind, array, array.name) == POSITION]
    return sizes[0] if sizes else max((array.shape[0] for array in arrays if array.shape), default=None)
