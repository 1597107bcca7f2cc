"""Proposed domains of a mesh: its surface and its volume. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from noether.data.zarr_store.core import name_matches
from noether.data.zarr_store.sources.inspection.candidates import Candidate
from noether.data.zarr_store.sources.inspection.components import join_components
from noether.data.zarr_store.sources.inspection.contents import FileContents, FoundArray, FoundPart
from noether.data.zarr_store.sources.inspection.domain_words import domain_named_in, is_outer
from noether.data.zarr_store.sources.inspection.fields import (
    DomainTable,
    field_name,
    is_vector,
    toml_list,
    toml_text,
    toml_value,
)
from noether.data.zarr_store.sources.inspection.naming import SampleFiles
from noether.data.zarr_store.sources.inspection.other_samples import OtherFiles

__all__ = ["mesh_candidates"]

_MAX_SHOWN = 5


def mesh_candidates(
    sample: SampleFiles,
    found: FileContents,
    others: OtherFiles,
    beside: Mapping[tuple[str, int], Sequence[FileContents]],
) -> Iterator[Candidate]:
    """Yield the surface and the volume of a mesh, or its points if it has no faces and no volume cells."""
    by_kind = {
        "surface": [part for part in found.parts if part.dimension == 2],
        "volume": [part for part in found.parts if part.dimension == 3],
    }
    if not any(by_kind.values()):
        # The name decides the domain of points without faces and cells.
        by_kind[domain_named_in(PurePosixPath(found.key).name) or "volume"] = found.parts
    for kind, parts in by_kind.items():
        if parts:
            sizes = frozenset({sum(part.n_cells for part in parts), sum(part.n_points for part in parts)})
            of_files = beside.get((found.key, parts[0].dimension), ())
            table = _mesh_table(sample, found, kind, parts, others, of_files)
            yield Candidate(kind, sample.patterns[found.key], sample.n_files(found.key), sizes, table)


def _mesh_table(
    sample: SampleFiles,
    found: FileContents,
    kind: str,
    parts: list[FoundPart],
    others: OtherFiles,
    of_files: Sequence[FileContents],
) -> Callable[[str], DomainTable]:
    def make(name: str) -> DomainTable:
        table = DomainTable(name, kind, [f"file = {toml_text(sample.patterns[found.key])}"], has_mesh=True)
        chosen, left = _body(found, parts) if kind == "surface" else (parts, [])
        names: set[str | None] = {part.name for part in chosen} if len(found.parts) > 1 else {None}
        if len(found.parts) > 1:
            instead = {
                key: [one for one in called if kind == "volume" or not is_outer(one)]
                for key, called in others.parts_instead([part.name for part in chosen], parts[0].dimension).items()
            }
            left += [
                f"# other parts in {toml_text(key)}: {', '.join(map(toml_text, called)) or 'none'}"
                for key, called in instead.items()
            ][:_MAX_SHOWN]
            wanted = [part.name for part in chosen] + [one for called in instead.values() for one in called]
            table.head.append(f"parts = {{ {_selection(found, wanted)} }}")
        in_all = _arrays_of_all_parts(found, names)
        association, arrays, apart = others.associate(in_all)
        rows = {"cell": sum(part.n_cells for part in chosen), "point": sum(part.n_points for part in chosen)}
        if not arrays and of_files:
            association = "cell" if of_files[0].arrays[0].shape[0] == rows["cell"] else "point"
        table.head.append(f'association = "{association}"')
        if found.steps.count > 1:
            said = f'{found.steps.described()}; "all" makes each step a sample, with {{step}} in the id'
            table.head.append(f'step = "last"  # of {said}')
        table.remarks += left + apart
        for array, components in join_components(arrays, is_vector(kind)):
            table.add(array, array.name, toml_value(components))
        for file in of_files:
            stem, array = PurePosixPath(file.key).stem, file.arrays[0]
            if array.shape[0] == rows[association]:
                table.add(array, stem, f"{{ file = {toml_text(sample.patterns[file.key])} }}")
            else:
                table.remarks.append(f"# left out, not {association} data: {toml_text(sample.patterns[file.key])}")
        if kind == "surface":
            for derived in ("normals", "area"):
                if derived not in table.fields:
                    table.remarks.append(f'# {derived} = {{ derive = "{derived}" }}')
        return table

    return make


def _selection(found: FileContents, wanted: Sequence[str]) -> str:
    """Return the TOML text that selects parts. Other parts that a name with * or ? matches are excluded."""
    names = list(dict.fromkeys(wanted))
    too = [
        part.name for part in found.parts if part.name not in names and any(name_matches(part.name, n) for n in names)
    ]
    excluded = f", exclude = {toml_list(too)}" if too else ""
    return f"include = {toml_list(names)}{excluded}"


def _body(found: FileContents, parts: list[FoundPart]) -> tuple[list[FoundPart], list[str]]:
    """Return the parts of the body, and remarks on other parts: inlets, outlets, the ground, walls of a tunnel."""
    remarks = []
    inner = [part for part in parts if not is_outer(part.name)]
    if inner and len(inner) < len(parts):
        outer = [part.name for part in parts if part not in inner]
        remarks.append(f"# parts left out, boundaries of the flow by their names: {', '.join(map(toml_text, outer))}")
        parts = inner
    with_friction = {
        array.part
        for array in found.arrays
        if field_name("surface", array, array.name) == "friction" and (array.minimum or array.maximum)
    }
    wet = [part for part in parts if part.name in with_friction]
    if wet and len(wet) < len(parts):
        dry = [part.name for part in parts if part not in wet]
        remarks.append(f"# parts left out, without friction: {', '.join(map(toml_text, dry))}")
        parts = wet
    return parts, remarks


def _arrays_of_all_parts(found: FileContents, names: set[str | None]) -> list[FoundArray]:
    """Return the arrays that all parts in `names` have, with the range over all these parts."""
    together: dict[tuple[str, str | None], list[FoundArray]] = {}
    for array in found.arrays:
        if array.part in names and array.name != "(positions)":
            together.setdefault((array.name, array.association), []).append(array)
    in_all = []
    for same in together.values():
        if {array.part for array in same} == names and len({array.shape[1:] for array in same}) == 1:
            lowest, highest = ([getattr(one, end) for one in same] for end in ("minimum", "maximum"))
            in_all.append(replace(same[0], minimum=_known(min, lowest), maximum=_known(max, highest)))
    return in_all


def _known(choose_end: Callable[[Iterable[float]], float], ends: Iterable[float | None]) -> float | None:
    known = [end for end in ends if end is not None]
    return choose_end(known) if known else None
