"""Proposed domains and attributes of files with one array each. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from noether.data.zarr_store.layout import POSITION
from noether.data.zarr_store.sources.inspection.candidates import Candidate
from noether.data.zarr_store.sources.inspection.contents import FileContents
from noether.data.zarr_store.sources.inspection.domain_words import domain_named_in
from noether.data.zarr_store.sources.inspection.fields import DomainTable, field_name, toml_key, toml_text
from noether.data.zarr_store.sources.inspection.naming import SampleFiles
from noether.data.zarr_store.sources.suffixes import suffix_of

__all__ = ["arrays_of_meshes", "single_attributes", "single_candidates"]


def single_candidates(sample: SampleFiles, singles: Sequence[FileContents]) -> Iterator[Candidate]:
    """Yield the domains of single-array files, grouped by format and by the domain in their names."""
    by_domain: dict[tuple[str, str], list[FileContents]] = {}
    lengths = _lengths(singles)
    for found in singles:
        if _is_of_points(found, lengths):
            kind = domain_named_in(PurePosixPath(found.key).stem) or "volume"
            by_domain.setdefault((kind, suffix_of(found.key)), []).append(found)
    for (kind, _), files in by_domain.items():
        n_points = _number_of_points(files)
        n_samples = max(sample.n_files(found.key) for found in files)
        pattern = sample.patterns[files[0].key]
        yield Candidate(
            kind, pattern, n_samples, frozenset({n_points}), _single_table(sample, kind, files, n_points, n_samples)
        )


def _single_table(
    sample: SampleFiles, kind: str, files: Sequence[FileContents], n_points: int, n_samples: int
) -> Callable[[str], DomainTable]:
    def make(name: str) -> DomainTable:
        table = DomainTable(name, kind)
        for found in files:
            value = f"{{ file = {toml_text(sample.patterns[found.key])} }}"
            n_files = sample.n_files(found.key)
            if found.arrays[0].shape[0] != n_points:
                shape = found.arrays[0].shape
                table.remarks.append(f"# left out: {toml_text(PurePosixPath(found.key).stem)} has the shape {shape}")
                continue
            if 2 * n_files >= n_samples:
                table.add(found.arrays[0], PurePosixPath(found.key).stem, value)
            if n_files < n_samples:
                which = "these samples will fail" if 2 * n_files >= n_samples else "left out"
                missing = f"is missing in {n_samples - n_files:,} of {n_samples:,} samples"
                table.remarks.append(f"# {toml_text(sample.patterns[found.key])} {missing}: {which}")
        return table

    return make


def single_attributes(sample: SampleFiles, singles: Sequence[FileContents]) -> tuple[list[str], list[str]]:
    """Return the TOML lines of attributes that all samples have, and remarks on the others."""
    lengths = _lengths(singles)
    lines, remarks = [], []
    for found in singles:
        if _is_of_points(found, lengths):
            continue
        pattern, n_files = toml_text(sample.patterns[found.key]), sample.n_files(found.key)
        if n_files == sample.n_samples:
            lines.append(f"{toml_key(PurePosixPath(found.key).stem)} = {{ file = {pattern} }}")
        else:
            remarks.append(
                f"# left out, only {n_files:,} of {sample.n_samples:,} samples have the attribute: {pattern}"
            )
    return lines, remarks


def arrays_of_meshes(
    singles: Sequence[FileContents], meshes: Sequence[FileContents]
) -> dict[tuple[str, int], list[FileContents]]:
    """Return single-array files that belong to a mesh: they have one row per cell or point.

    Returns
    -------
    dict of (str, int) to list of FileContents
        Single-array files by mesh file and dimension of its parts. Files that fit several meshes, or an array of
        positions, are left out.
    """
    rows: dict[int, set[tuple[str, int]]] = {}
    for mesh in meshes:
        for dimension in {part.dimension for part in mesh.parts}:
            parts = [part for part in mesh.parts if part.dimension == dimension]
            for size in (sum(part.n_cells for part in parts), sum(part.n_points for part in parts)):
                rows.setdefault(size, set()).add((mesh.key, dimension))
    positioned = {found.arrays[0].shape[0] for found in singles if _is_one_array(found) and _is_position(found)}
    beside: dict[tuple[str, int], list[FileContents]] = {}
    for found in singles:
        if _is_one_array(found) and found.arrays[0].shape[0] not in positioned:
            fitting = rows.get(found.arrays[0].shape[0], set())
            if len(fitting) == 1:
                beside.setdefault(next(iter(fitting)), []).append(found)
    return beside


def _is_position(found: FileContents) -> bool:
    return field_name("volume", found.arrays[0], PurePosixPath(found.key).stem) == POSITION


def _number_of_points(files: Sequence[FileContents]) -> int:
    """Return the number of rows of the positions or, without positions, of most arrays."""
    lengths = Counter(found.arrays[0].shape[0] for found in files)
    positions = [found.arrays[0].shape[0] for found in files if _is_position(found)]
    return max(positions or lengths, key=lambda length: lengths[length])


def _lengths(singles: Sequence[FileContents]) -> Counter[tuple[int, ...]]:
    return Counter(found.arrays[0].shape[:1] for found in singles if _is_one_array(found))


def _is_of_points(found: FileContents, lengths: Mapping[tuple[int, ...], int]) -> bool:
    # An array over points has as many rows as another array, such as the positions.
    is_named = domain_named_in(PurePosixPath(found.key).stem) is not None
    return _is_one_array(found) and (is_named or lengths[found.arrays[0].shape[:1]] > 1)


def _is_one_array(found: FileContents) -> bool:
    return [array.name for array in found.arrays] == [""] and len(found.arrays[0].shape) in {1, 2}
