"""What the same file of other samples holds, by its head, and whether it is cell data or point data there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from noether.data.zarr_store.errors import StoreError
from noether.data.zarr_store.sources.inspection.contents import FoundArray
from noether.data.zarr_store.sources.inspection.fields import field_name, toml_text
from noether.data.zarr_store.sources.mapping import Association
from noether.data.zarr_store.sources.range_reader import open_head
from noether.data.zarr_store.sources.suffixes import suffix_of
from noether.data.zarr_store.sources.vtk_heads import HEAD_SUFFIXES, read_vtk_head
from noether.data.zarr_store.stores import Storage, StoredObject

__all__ = ["OtherFiles", "read_other_heads"]

# So many heads, evenly spread, tell enough of very many files.
_MAX_HEADS = 100

Arrays = Mapping[Association, frozenset[str]]


@dataclass(frozen=True, slots=True)
class OtherFiles:
    """The same file of other samples.

    Attributes
    ----------
    arrays : dict of str to dict of {"cell", "point"} to frozenset of str
        By the name of each file, the arrays that it holds.
    """

    arrays: Mapping[str, Arrays] = field(default_factory=dict)

    def associate(self, found: Sequence[FoundArray]) -> tuple[Association, list[FoundArray], list[str]]:
        """Choose between cell data and point data: those that most files have; of equals, cell data.

        Parameters
        ----------
        found : sequence of FoundArray
            Arrays of the first sample.

        Returns
        -------
        association : {"cell", "point"}
            What is chosen.
        arrays : list of FoundArray
            Arrays to read.
        remarks : list of str
            Which arrays other files lack, and which are left out.
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
            # An array that the first sample has on the other side only is like those of other samples.
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
        """Say which arrays some files lack; take those away that most lack."""
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
                remarks.append(f"# {toml_text(name)} is no {association} data in {of}; such samples fail")
                if any(name in self.arrays[key][other] for key in without if key in self.arrays):
                    remarks.append(f'# (it is {other} data there: association = "{other}", into a store of its own)')
        return remarks


def _tells(array: FoundArray) -> bool:
    """Return whether an array is a result: normals and areas are often at points of cell data, and numbers at cells."""
    is_shape = field_name("surface", array, array.name) in {"normals", "area"}
    return array.dtype.startswith("float") and not is_shape and not array.minimum == array.maximum == 0


def _associations() -> tuple[Association, ...]:
    return ("cell", "point")


def read_other_heads(
    storage: Storage, listing: Mapping[str, StoredObject], first: str, keys: Iterable[str]
) -> OtherFiles:
    """Read the heads of the same file of other samples; those that cannot be read are passed over.

    Parameters
    ----------
    storage : Storage
        Where they lie.
    listing : mapping of str to StoredObject
        Files by name.
    first : str
        The file of the first sample.
    keys : iterable of str
        The files of all samples.
    """
    others = [key for key in keys if key != first] if suffix_of(first) in HEAD_SUFFIXES else []
    step = max(1, -(-len(others) // _MAX_HEADS))
    arrays: dict[str, Arrays] = {}
    for key in others[::step]:
        try:
            with open_head(storage, listing[key]) as file:
                head = read_vtk_head(file)
        except (StoreError, ValueError, KeyError, TypeError, OSError):
            continue  # its own sample tells what is wrong with it
        if head.is_whole:
            arrays[key] = {one: frozenset(held) for one, held in head.arrays.items()}
    return OtherFiles(arrays)
