"""Writing a mapping.toml for inspected files. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from noether.data.zarr_store.sources.inspection.array_candidates import array_candidates
from noether.data.zarr_store.sources.inspection.candidates import Candidate, choose
from noether.data.zarr_store.sources.inspection.contents import FileContents
from noether.data.zarr_store.sources.inspection.fields import toml_text
from noether.data.zarr_store.sources.inspection.file_kinds import SINGLE_ARRAYS
from noether.data.zarr_store.sources.inspection.mesh_candidates import mesh_candidates
from noether.data.zarr_store.sources.inspection.naming import SampleFiles, group_beside, pattern_of_names
from noether.data.zarr_store.sources.inspection.other_samples import OtherFiles
from noether.data.zarr_store.sources.inspection.single_candidates import (
    arrays_of_meshes,
    single_attributes,
    single_candidates,
)
from noether.data.zarr_store.sources.suffixes import suffix_of

__all__ = ["propose_mapping"]


def propose_mapping(
    name: str,
    sample: SampleFiles,
    contents: Sequence[FileContents],
    others: Mapping[str, OtherFiles] | None = None,
) -> str:
    """Return the text of a mapping that reads the inspected files. Its comments list what is left out.

    Parameters
    ----------
    name : str
        Name of the dataset.
    sample : SampleFiles
        The files of one sample, and their patterns.
    contents : sequence of FileContents
        Contents of the files of one sample.
    others : mapping of str to OtherFiles, optional
        Contents of the corresponding files of other samples, by file name.
    """
    remarks = [f"# {remark}" for remark in sample.remarks]
    remarks += [f"# {toml_text(found.key)} cannot be read" for found in contents if found.problem is not None]
    read = [found for found in contents if found.problem is None]
    grouped = [found for found in read if found.sample_groups]
    sample_id = sample.id
    if grouped:
        group = group_beside(sample.patterns[grouped[0].key], pattern_of_names(grouped[0].sample_groups))
        sample_id = _id_of_groups(sample_id, group)
        remarks += [
            f"# left out, no HDF5 groups of samples in {toml_text(one.key)}" for one in read if one not in grouped
        ]
        read = grouped
    singles = [found for found in read if suffix_of(found.key) in SINGLE_ARRAYS and not _has_named_arrays(found)]
    beside = arrays_of_meshes(singles, [found for found in read if found.parts])
    attached = [found for same in beside.values() for found in same]
    candidates: list[Candidate] = []
    for found in read:
        if found.parts:
            candidates += mesh_candidates(sample, found, (others or {}).get(found.key, OtherFiles()), beside)
        elif found not in singles:
            candidates += array_candidates(sample, found)
    singles = [found for found in singles if found not in attached]
    candidates += single_candidates(sample, singles)
    choice = choose(candidates)
    lines = [f"name = {toml_text(name)}", f"id = {toml_text(sample_id)}", *remarks, *choice.remarks]
    attributes, missing = single_attributes(sample, singles)
    if attributes:
        lines += ["", "[attributes]", *attributes]
    lines += missing
    has_surface = any(table.name == "surface" and table.has_mesh for table in choice.tables)
    for table in choice.tables:
        if has_surface and table.kind == "volume" and table.has_mesh and "sdf" not in table.fields:
            table.remarks.append('# sdf = { derive = "distance", to = "surface" }')
        lines += table.lines()
    return "\n".join(lines) + "\n"


def _has_named_arrays(found: FileContents) -> bool:
    return any(array.name and len(array.shape) == 2 for array in found.arrays)


def _id_of_groups(sample_id: str, group: str) -> str:
    last = group.rpartition("/")[2]
    return f"{sample_id}/{last}" if "{" in sample_id and "{" in last else last if "{" in last else group
