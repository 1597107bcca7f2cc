"""Binary EnSight Gold cases, as STAR-CCM+ and others write them: part by part, and kind by kind of element."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "SIZES",
    "EnSightPart",
    "GoldBlock",
    "GoldForm",
    "GoldPart",
    "GoldWriter",
    "small_gold_files",
    "write_ensight",
    "write_gold",
]

# Number of points of each kind of element of a fixed size; `nsided` and `nfaced` have lists.
SIZES = {"point": 1, "bar2": 2, "tria3": 3, "quad4": 4, "tetra4": 4, "pyramid5": 5, "penta6": 6, "hexa8": 8}
_KINDS = {(): "scalar", (3,): "vector", (6,): "tensor symm", (9,): "tensor asym"}


@dataclass(frozen=True)
class EnSightPart:
    """An EnSight part with one kind of element. Points are counted from 0; `values` holds arrays of the elements."""

    name: str
    points: NDArray[Any]
    element: str
    connectivity: NDArray[Any]
    values: dict[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class GoldForm:
    """Variant of the file format."""

    fortran: bool = False
    big_endian: bool = False
    node_id: str = "assign"
    element_id: str = "assign"
    extents: bool = False


@dataclass(frozen=True)
class GoldBlock:
    """Elements of one kind: lists of points, counted from 0; lists of faces for `nfaced`."""

    kind: str
    elements: Any


@dataclass(frozen=True)
class GoldPart:
    """An EnSight part. The values of its elements have one row for each element, block after block."""

    name: str
    points: NDArray[Any]
    blocks: Sequence[GoldBlock] = ()
    nodes: dict[str, NDArray[Any]] = field(default_factory=dict)
    elements: dict[str, NDArray[Any]] = field(default_factory=dict)
    number: int | None = None


class GoldWriter:
    """Encodes records in a variant of the format."""

    def __init__(self, form: GoldForm) -> None:
        self.form = form
        self._order = ">" if form.big_endian else "<"

    def record(self, data: bytes) -> bytes:
        if not self.form.fortran:
            return data
        length = np.array(len(data), f"{self._order}i4").tobytes()
        return length + data + length

    def line(self, text: str) -> bytes:
        return self.record(text.encode().ljust(80, b"\0"))

    def ints(self, *values: Any) -> bytes:
        return self.record(np.asarray(values, f"{self._order}i4").tobytes())

    def floats(self, values: Any) -> bytes:
        return self.record(np.asarray(values, f"{self._order}f4").tobytes()) if len(values) else b""

    def geometry(self, parts: Sequence[GoldPart]) -> Iterator[bytes]:
        form = self.form
        yield self.line("Fortran Binary" if form.fortran else "C Binary")
        ids = f"node id {form.node_id}", f"element id {form.element_id}"
        yield b"".join(map(self.line, ("made for tests", "", *ids)))
        if form.extents:
            yield self.line("extents") + self.floats([0, 1, 0, 1, 0, 1])
        for number, part in enumerate(parts, 1):
            yield self.line("part") + self.ints(part.number or number) + self.line(part.name)
            yield self.line("coordinates") + self.ints(len(part.points)) + self._ids(form.node_id, len(part.points))
            yield b"".join(self.floats(part.points[:, axis]) for axis in range(3))
            yield from map(self._block, part.blocks)

    def _ids(self, how: str, count: int) -> bytes:
        return self.ints(*range(7, count + 7)) if how in ("given", "ignore") else b""

    def _block(self, block: GoldBlock) -> bytes:
        head = self.line(block.kind) + self.ints(len(block.elements))
        head += self._ids(self.form.element_id, len(block.elements))
        lists: Any = block.elements
        if block.kind.endswith("nfaced"):
            head += self.ints(*map(len, block.elements))
            lists = list(chain.from_iterable(block.elements))
        if block.kind.endswith(("nfaced", "nsided")):
            head += self.ints(*map(len, lists))
        return head + (self.ints(*(point + 1 for one in lists for point in one)) if len(lists) else b"")

    def variable(self, name: str, parts: Sequence[GoldPart], *, of_nodes: bool) -> Iterator[bytes]:
        yield self.line(name)
        for number, part in enumerate(parts, 1):
            values = (part.nodes if of_nodes else part.elements).get(name)
            if values is None:
                continue
            yield self.line("part") + self.ints(part.number or number)
            if of_nodes:
                yield self.line("coordinates") + self._columns(values)
                continue
            first = 0
            for block in part.blocks:
                if not block.kind.startswith("g_"):
                    yield self.line(block.kind) + self._columns(values[first : first + len(block.elements)])
                    first += len(block.elements)

    def _columns(self, values: NDArray[Any]) -> bytes:
        return b"".join(map(self.floats, values.reshape(len(values), -1).T)) if len(values) else b""


def write_gold(path: Path, parts: Sequence[GoldPart], form: GoldForm | None = None) -> Path:
    """Write a case, its geometry, and a file for each variable. A part can lack variables."""
    writer = GoldWriter(form or GoldForm())
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    path.with_suffix(".geo").write_bytes(b"".join(writer.geometry(parts)))
    for of in ("node", "element"):
        shapes = {name: one.shape[1:] for part in parts for name, one in getattr(part, f"{of}s").items()}
        for name, shape in shapes.items():
            file = path.with_suffix(f".{name}" if of == "element" else f".{name}_{of}")
            file.write_bytes(b"".join(writer.variable(name, parts, of_nodes=of == "node")))
            lines.append(f"{_KINDS[shape]} per {of}: {name} {file.name}")
    path.write_text(
        "\n".join(["FORMAT", "type: ensight gold", "GEOMETRY", f"model: {path.stem}.geo", "VARIABLE", *lines, ""])
    )
    return path


def small_gold_files() -> list[list[bytes]]:
    """Return, for each of three forms, a geometry of two parts with all kinds of elements, and their values."""
    faces = [[0, 1, 2], [0, 3, 1], [1, 3, 2], [2, 3, 0]]
    points = np.random.default_rng(0).normal(size=(8, 3))
    blocks = [GoldBlock(kind, [range(size)]) for kind, size in SIZES.items()]
    lists = [GoldBlock("nsided", [range(5), range(3)]), GoldBlock("nfaced", [faces]), GoldBlock("g_bar2", [[0, 1]])]
    parts = [
        GoldPart("a", points, blocks, elements={"p": np.arange(8.0)}),
        GoldPart("b", points, lists, elements={"p": np.arange(3.0)}),
    ]
    forms = [GoldForm(), GoldForm(True, False, "given", "ignore", True), GoldForm(big_endian=True)]
    return [
        [b"".join(writer.geometry(parts)), b"".join(writer.variable("p", parts, of_nodes=False))]
        for writer in map(GoldWriter, forms)
    ]


def write_ensight(path: Path, parts: Sequence[EnSightPart]) -> None:
    """Write a case whose parts have one kind of element each."""
    write_gold(
        path,
        [
            GoldPart(part.name, part.points, [GoldBlock(part.element, part.connectivity)], elements=part.values)
            for part in parts
        ],
    )
