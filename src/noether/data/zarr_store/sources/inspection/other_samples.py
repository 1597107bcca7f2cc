"""Contents of the corresponding files of other samples: arrays by association, and names of parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from noether.data.zarr_store.errors import StoreError
from noether.data.zarr_store.sources.inspection.contents import FoundArray, read_parts
from noether.data.zarr_store.sources.inspection.fields import field_name, toml_text
from noether.data.zarr_store.sources.mapping import Association
from noether.data.zarr_store.sources.range_reader import open_head
from noether.data.zarr_store.sources.referenced_files import files_beside
from noether.data.zarr_store.sources.suffixes import suffix_of
from noether.data.zarr_store.sources.vtk_heads import HEAD_SUFFIXES, read_vtk_head
from noether.data.zarr_store.stores import Storage, StoredObject, is_remote

__all__ = ["OtherFiles", "read_other_files"]

# Number of files, evenly spread, whose headers are read.
_MAX_HEADS = 100
# In object storage, each header takes at least one request.
_MAX_REMOTE_HEADS = 8
# Reading the names of parts means reading meshes: limits on the number of files and on their total bytes.
_MAX_MESHES, _MAX_MESH_BYTES = 20, 256 << 20
_PARTED_SUFFIXES = (".case", ".vtm", ".vtkhdf", ".cgns")

Arrays = Mapping[Association, frozenset[str]]


@dataclass(frozen=True, slots=True)
class OtherFiles:
    """Contents of the corresponding files of other samples.

    Attributes
    ----------
    arrays : dict of str to dict of {"cell", "point"} to frozenset of str
        Names of the arrays by file name and association.
    parts : dict of str to dict of str to int
        Dimensions of the parts by file name and name of the part.
    """

    arrays: Mapping[str, Arrays] = field(default_factory=dict)
    parts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def parts_instead(self, names: Sequence[str], dimension: int) -> dict[str, list[str]]:
        """Return, by file, the parts of one dimension in files that have none of the parts in `names`."""
        return {
            key: [name for name, of in parts.items() if of == dimension]
            for key, parts in self.parts.items()
            if parts.keys().isdisjoint(names)
        }

    def associate(self, found: Sequence[FoundArray]) -> tuple[Association, list[FoundArray], list[str]]:
        """Choose the association that most files have: cell data or point data. Cell data wins a tie.

        Parameters
        ----------
        found : sequence of FoundArray
            Arrays of the first sample.

        Returns
        -------
        association : {"cell", "point"}
            The chosen association.
        arrays : list of FoundArray
            Arrays to read.
        remarks : list of str
            Comments on arrays that other files lack, and on arrays that are left out.
        """
        names = {one: {array.name for array in found if array.association == one} for one in ("cell", "point")}
        either = names["cell"] | names["point"]
        files = self.arrays.values()
        telling = {array.name for array in found if _tells(array)}
        scores = {
            one: len(names[one] & telling) + sum(len(telling & file[one]) for file in files) for one in _associations()
        }
        association: Association = "cell" if scores["cell"] >= scores["point"] and names["cell"] else "point"
        arrays: dict[str, FoundArray] = {}
        for array in found:
            # If the first sample has an array only with the other association, take the array from another sample.
            elsewhere = any(array.name in file[association] for file in files)
            if array.association == association or (array.name not in names[association] and elsewhere):
                arrays[array.name] = array
        remarks = self._remarks(association, arrays)
        left = sorted(either - arrays.keys())
        if left:
            other = "point" if association == "cell" else "cell"
            remarks.append(f"# left out, {other} data only: {', '.join(map(toml_text, left))}")
        return association, list(arrays.values()), remarks

    def _remarks(self, association: Association, arrays: dict[str, FoundArray]) -> list[str]:
        """Return comments on arrays that some files lack. Arrays that most files lack are removed from `arrays`."""
        remarks = []
        other: Association = "point" if association == "cell" else "cell"
        for name in list(arrays):
            without = [key for key, file in self.arrays.items() if name not in file[association]]
            if arrays[name].association != association:
                without.append("the first sample's")
            of = f"{len(without)} of {len(self.arrays) + 1} files, such as {toml_text(without[0])}" if without else ""
            if len(without) > (len(self.arrays) + 1) / 2:
                del arrays[name]
                remarks.append(f"# left out: {toml_text(name)}, no {association} data in {of}")
            elif without:
                remarks.append(f"# {toml_text(name)} is not {association} data in {of}; these samples will fail")
                if any(name in self.arrays[key][other] for key in without if key in self.arrays):
                    remarks.append(
                        f"# (it is {other} data there: convert these samples into another store, with "
                        f'association = "{other}")'
                    )
        return remarks


def _tells(array: FoundArray) -> bool:
    """Return whether an array helps to choose the association.

    Normals, areas and integers do not: they often have another association than the solver's results. Arrays that are
    zero everywhere do not help either.
    """
    is_shape = field_name("surface", array, array.name) in {"normals", "area"}
    return array.dtype.startswith("float") and not is_shape and not array.minimum == array.maximum == 0


def _associations() -> tuple[Association, ...]:
    return ("cell", "point")


def read_other_files(storage: Storage, listing: Sequence[StoredObject], first: str, keys: Iterable[str]) -> OtherFiles:
    """Read the contents of the corresponding files of other samples. Files that cannot be read are skipped.

    Parameters
    ----------
    storage : Storage
        Storage of the files.
    listing : sequence of StoredObject
        All files of the storage.
    first : str
        File of the first sample.
    keys : iterable of str
        Files of all samples.
    """
    others = [key for key in keys if key != first]
    if suffix_of(first) in HEAD_SUFFIXES:
        count = _MAX_REMOTE_HEADS if is_remote(storage.root) else _MAX_HEADS
        by_key = {item.key: item for item in listing}
        return OtherFiles(arrays=_read_heads(storage, [by_key[key] for key in _spread(others, count)]))
    if suffix_of(first) in _PARTED_SUFFIXES and not is_remote(storage.root):
        return OtherFiles(parts=_read_parts(storage, listing, _spread(others, _MAX_MESHES)))
    return OtherFiles()


def _spread(keys: Sequence[str], count: int) -> Sequence[str]:
    return keys[:: max(1, -(-len(keys) // count))]


def _read_heads(storage: Storage, items: Iterable[StoredObject]) -> dict[str, Arrays]:
    arrays: dict[str, Arrays] = {}
    for item in items:
        try:
            with open_head(storage, item) as file:
                head = read_vtk_head(file)
        except (StoreError, ValueError, KeyError, TypeError, OSError):
            continue  # reported when its sample is converted
        if head.is_whole:
            arrays[item.key] = {one: frozenset(held) for one, held in head.arrays.items()}
    return arrays


def _read_parts(storage: Storage, listing: Sequence[StoredObject], keys: Sequence[str]) -> dict[str, dict[str, int]]:
    beside = files_beside(keys, listing)
    parts: dict[str, dict[str, int]] = {}
    n_bytes = 0
    for key in keys:
        n_bytes += sum(item.size for item in beside[str(PurePosixPath(key).parent)])
        if n_bytes > _MAX_MESH_BYTES:
            break
        try:
            _, read = read_parts(Path(storage.root, key), key, {"cell": (), "point": ()})
        except StoreError:
            continue  # reported when its sample is converted
        parts[key] = {part.name: part.dimension for part in read}
    return parts
