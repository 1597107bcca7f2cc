"""What the geometry of an EnSight Gold case holds: its parts, and where the arrays of each lie."""

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
"""VTK's types of the elements."""

SIZES = {"point": 1, "bar2": 2, "tria3": 3, "quad4": 4, "tetra4": 4, "pyramid5": 5, "penta6": 6, "hexa8": 8}
"""Numbers of nodes of the elements that have no lists."""

GHOST = "g_"
"""The name of a kind of ghosts begins so. VTK leaves ghosts out."""

# Words of parts that only VTK reads, or of which it knows more.
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
        As the file calls it.
    count : int
        How many there are.
    nodes : int, NodeLists or FaceLists
        Where the nodes of elements of a fixed size lie, or the lists of others.
    """

    kind: str
    count: int
    nodes: int | NodeLists | FaceLists


@dataclass(slots=True)
class PartHead:
    """A part.

    Attributes
    ----------
    number : int
        What variables call it.
    name : str
        Its description.
    n_points : int
        How many nodes it has.
    coordinates : tuple of int
        Where the coordinates x, y and z lie.
    blocks : list of ElementBlock
        Its elements without ghosts.
    ghosts : dict of str to int
        Numbers of ghosts, by kind.
    """

    number: int
    name: str
    n_points: int = 0
    coordinates: tuple[int, ...] = ()
    blocks: list[ElementBlock] = field(default_factory=list)
    ghosts: dict[str, int] = field(default_factory=dict)

    @property
    def n_cells(self) -> int:
        """Elements without ghosts."""
        return sum(block.count for block in self.blocks)

    def called(self) -> str:
        """Return how errors name it."""
        return f"part {self.number} {self.name!r}"


@dataclass(frozen=True, slots=True)
class Geometry:
    """A geometry.

    Attributes
    ----------
    file : GoldFile
        The file.
    order : {"<", ">"}
        Order of its bytes.
    parts : dict of int to PartHead
        By number, in the order of the file.
    """

    file: GoldFile
    order: Order
    parts: dict[int, PartHead]


def read_geometry(file: GoldFile) -> Geometry:
    """Read the heads of the parts, and pass over their arrays.

    Raises
    ------
    NotStreamedError
        It is not Gold in binary, or has what only VTK reads.
    DamagedArrayError
        It ends early, or its numbers contradict each other.
    """
    words = file.read(0, min(file.source.size, 80)).split()
    if not any(word.startswith((b"Binary", b"binary")) for word in words[1:2]):  # as VTK tells it
        raise NotStreamedError("its geometry is text, or no EnSight Gold file")
    records = Records(file)
    _, description, _, *ids = (records.line() or "" for _ in range(5))
    if description.startswith("BEGIN TIME STEP"):
        raise NotStreamedError("its geometry has several time steps, and the case does not say so")
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
    """Raise `DamagedArrayError` where a line that begins no part is not the end of the parts."""
    if line is not None and not line.startswith(_END):
        raise records.file.damaged(records.line_at, f"expected a part, got {line.strip()[:20]!r}")


def require_streamed_word(line: str) -> str:
    """Return the word of a line that names a kind of elements, or nodes; `NotStreamedError` where only VTK knows it."""
    words = line.split()
    word = words[0] if words else ""
    if word.removeprefix(GHOST).startswith(_BY_VTK) or any(option in words[1:] for option in _OPTIONS):
        raise NotStreamedError(f"it has {line.strip()!r}")
    return word


class _PartReader:
    """Reads the head of a part, behind the line that begins it, and adds it to the parts."""

    def __init__(
        self, records: Records, parts: dict[int, PartHead], *, has_node_ids: bool, has_element_ids: bool
    ) -> None:
        self._records, self._has_node_ids, self._has_element_ids = records, has_node_ids, has_element_ids
        at = records.at
        number = records.part_number()
        name = (records.line() or "").strip()
        # As PyVista calls blocks without a name.
        self._part = PartHead(number, name or f"Block-{len(parts):02}")
        if number in parts:
            raise records.file.damaged(at, f"part {number} comes twice")
        parts[number] = self._part

    def read(self) -> str | None:
        """Read all of the part; return the line behind it."""
        records, seen = self._records, set[str]()
        while True:
            line, at = records.line(), records.line_at
            if line is None or line.startswith(("part", _END)):
                return line
            word = require_streamed_word(line)
            if word in seen:
                raise records.file.damaged(at, f"{self._part.called()} has {word!r} twice")
            if seen and "coordinates" not in seen:
                raise NotStreamedError("elements come before the nodes")
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
