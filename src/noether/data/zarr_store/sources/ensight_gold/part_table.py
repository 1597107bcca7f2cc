"""The geometry of an EnSight Gold case: its EnSight parts, and the offsets of their arrays."""

from __future__ import annotations

from dataclasses import dataclass, field

from noether.data.zarr_store.sources.cells import POLYHEDRON
from noether.data.zarr_store.sources.ensight_gold.list_table import (
    POLYGON,
    FaceLists,
    NodeLists,
    read_face_lists,
    read_node_lists,
)
from noether.data.zarr_store.sources.ensight_gold.records import GoldFile, Order, Records
from noether.data.zarr_store.sources.streamed_errors import NotStreamedError

__all__ = [
    "GHOST",
    "SIZES",
    "TYPES",
    "ElementBlock",
    "Geometry",
    "PartHead",
    "read_geometry",
    "require_end",
    "require_streamed_word",
]

TYPES = {
    "point": 1,
    "bar2": 3,
    "tria3": 5,
    "nsided": POLYGON,
    "quad4": 9,
    "tetra4": 10,
    "hexa8": 12,
    "penta6": 13,
    "pyramid5": 14,
    "nfaced": POLYHEDRON,
}
"""VTK's cell type for each kind of element."""

SIZES = {"point": 1, "bar2": 2, "tria3": 3, "quad4": 4, "tetra4": 4, "pyramid5": 5, "penta6": 6, "hexa8": 8}
"""Number of nodes for each kind of element of a fixed size."""

GHOST = "g_"
"""Prefix of the kinds of ghost elements. VTK leaves ghosts out."""

# Prefixes of the kinds of elements that only VTK reads.
_BY_VTK = ("bar3", "tria6", "quad8", "tetra10", "pyramid13", "penta15", "hexa20", "block")
_OPTIONS = ("undef", "partial")
_LISTED = ("given", "ignore")
_EXTENTS = 6
_END = "END TIME STEP"


@dataclass(frozen=True, slots=True)
class ElementBlock:
    """Elements of one kind.

    Attributes
    ----------
    kind : str
        Name of the kind in the file.
    count : int
        Number of elements.
    nodes : int, NodeLists or FaceLists
        Offset of the nodes for elements of a fixed size; lists for polygons and polyhedra.
    """

    kind: str
    count: int
    nodes: int | NodeLists | FaceLists


@dataclass(slots=True)
class PartHead:
    """Description of an EnSight part.

    Attributes
    ----------
    number : int
        Number by which variable files refer to the part.
    name : str
        Description line of the part.
    n_points : int
        Number of nodes.
    coordinates : tuple of int
        Offsets of the coordinates x, y and z.
    blocks : list of ElementBlock
        Elements without ghosts.
    ghosts : dict of str to int
        Number of ghosts by kind.
    """

    number: int
    name: str
    n_points: int = 0
    coordinates: tuple[int, ...] = ()
    blocks: list[ElementBlock] = field(default_factory=list)
    ghosts: dict[str, int] = field(default_factory=dict)

    @property
    def n_cells(self) -> int:
        """Number of elements without ghosts."""
        return sum(block.count for block in self.blocks)

    def called(self) -> str:
        """Return the name of the part for errors."""
        return f"part {self.number} {self.name!r}"


@dataclass(frozen=True, slots=True)
class Geometry:
    """The geometry of a case.

    Attributes
    ----------
    file : GoldFile
        The geometry file.
    order : {"<", ">"}
        Byte order of the file.
    parts : dict of int to PartHead
        EnSight parts by number, in the order of the file.
    """

    file: GoldFile
    order: Order
    parts: dict[int, PartHead]


def read_geometry(file: GoldFile) -> Geometry:
    """Read the descriptions of the EnSight parts, and skip their arrays.

    Raises
    ------
    NotStreamedError
        The file is not binary EnSight Gold, or uses a feature that only VTK supports.
    DamagedArrayError
        The file ends early, or its numbers contradict each other.
    """
    words = file.read(0, min(file.source.size, 80)).split()
    if not any(word.startswith((b"Binary", b"binary")) for word in words[1:2]):  # the test that VTK uses
        raise NotStreamedError("its geometry is text, or not an EnSight Gold file")
    records = Records(file)
    _, description, _, *ids = (records.line() or "" for _ in range(5))
    if description.startswith("BEGIN TIME STEP"):
        raise NotStreamedError("its geometry has several time steps, which the case does not declare")
    listed = [line.split()[2:3] for line in ids]
    has_node_ids, has_element_ids = (bool(words) and words[0].startswith(_LISTED) for words in listed)
    line = records.line()
    if line is not None and line.startswith("extents"):
        records.skip(_EXTENTS, "extents")
        line = records.line()
    parts: dict[int, PartHead] = {}
    while line is not None and line.startswith("part"):
        part = _PartReader(records, parts, has_node_ids=has_node_ids, has_element_ids=has_element_ids)
        line = part.read()
    require_end(records, line)
    if records.order is None:
        raise NotStreamedError("its geometry has no parts")
    return Geometry(file, records.order, parts)


def require_end(records: Records, line: str | None) -> None:
    """Raise `DamagedArrayError` if the line after the last part does not end the time step or the file."""
    if line is not None and not line.startswith(_END):
        raise records.file.damaged(records.line_at, f"expected a part, got {line.strip()[:20]!r}")


def require_streamed_word(line: str) -> str:
    """Return the first word of a line: a kind of elements, or ``coordinates``.

    Raises
    ------
    NotStreamedError
        Only VTK supports the word or one of its options.
    """
    words = line.split()
    word = words[0] if words else ""
    if word.removeprefix(GHOST).startswith(_BY_VTK) or any(option in words[1:] for option in _OPTIONS):
        raise NotStreamedError(f"it has {line.strip()!r}, which only VTK reads")
    return word


class _PartReader:
    """Reads one EnSight part, from the line after ``part`` on, and adds it to `parts`."""

    def __init__(
        self, records: Records, parts: dict[int, PartHead], *, has_node_ids: bool, has_element_ids: bool
    ) -> None:
        self._records, self._has_node_ids, self._has_element_ids = records, has_node_ids, has_element_ids
        at = records.at
        number = records.part_number()
        name = (records.line() or "").strip()
        # The name that PyVista gives to unnamed blocks.
        self._part = PartHead(number, name or f"Block-{len(parts):02}")
        if number in parts:
            raise records.file.damaged(at, f"part {number} occurs twice")
        parts[number] = self._part

    def read(self) -> str | None:
        """Read all of the part; return the line after it."""
        records, seen = self._records, set[str]()
        while True:
            line, at = records.line(), records.line_at
            if line is None or line.startswith(("part", _END)):
                return line
            word = require_streamed_word(line)
            if word in seen:
                raise records.file.damaged(at, f"{self._part.called()} has {word!r} twice")
            if seen and "coordinates" not in seen:
                raise NotStreamedError("its elements come before its nodes")
            seen.add(word)
            if word == "coordinates":
                self._coordinates()
            elif word.removeprefix(GHOST) in TYPES:
                self._elements(word)
            else:
                problem = f"{self._part.called()} has {line.strip()[:20]!r}; expected coordinates or elements"
                raise records.file.damaged(at, problem)

    def _coordinates(self) -> None:
        records, part = self._records, self._part
        part.n_points = records.count(f"nodes of {part.called()}")
        if self._has_node_ids:
            records.skip(part.n_points, f"node ids of {part.called()}")
        part.coordinates = tuple(
            records.skip(part.n_points, f"the coordinates {axis} of {part.called()}") for axis in "xyz"
        )

    def _elements(self, word: str) -> None:
        records, of = self._records, f"{word} of {self._part.called()}"
        count = records.count(of)
        if self._has_element_ids:
            records.skip(count, f"element ids of {of}")
        nodes: int | NodeLists | FaceLists
        kind = word.removeprefix(GHOST)
        if kind == "nfaced":
            nodes = read_face_lists(records, count, of)
        elif kind == "nsided":
            nodes = read_node_lists(records, count, of)
        else:
            nodes = records.skip(count * SIZES[kind], f"the nodes of {of}")
        if kind == word:
            self._part.blocks.append(ElementBlock(kind, count, nodes))
        else:
            self._part.ghosts[kind] = count
