"""EnSight Gold cases in C binary, as STAR-CCM+ and others write them: part by part, one kind of element each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["EnSightPart", "write_ensight"]


@dataclass(frozen=True)
class EnSightPart:
    """One part: a name, points, elements by their points, counted from 0, and values of the elements by name."""

    name: str
    points: NDArray[Any]
    element: str
    connectivity: NDArray[Any]
    values: dict[str, NDArray[Any]] = field(default_factory=dict)


def write_ensight(path: Path, parts: Sequence[EnSightPart]) -> None:
    """Write a case, its geometry and a file for each of its variables, which only some parts may have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    widths = {name: values.ndim for part in parts for name, values in part.values.items()}
    kinds = {1: "scalar", 2: "vector"}
    lines = [f"{kinds[ndim]} per element: {name} {path.stem}.{name}" for name, ndim in widths.items()]
    path.write_text(
        "\n".join(["FORMAT", "type: ensight gold", "GEOMETRY", f"model: {path.stem}.geo", "VARIABLE", *lines, ""])
    )
    path.with_suffix(".geo").write_bytes(b"".join(_geometry(parts)))
    for name in widths:
        path.with_suffix(f".{name}").write_bytes(b"".join(_variable(name, parts)))


def _geometry(parts: Sequence[EnSightPart]) -> Iterator[bytes]:
    yield b"".join(map(_line, ("C Binary", "made for tests", "", "node id assign", "element id assign")))
    for number, part in enumerate(parts, 1):
        yield _line("part") + _int(number) + _line(part.name) + _line("coordinates") + _int(len(part.points))
        yield np.asarray(part.points, "<f4").tobytes(order="F")
        yield _line(part.element) + _int(len(part.connectivity)) + np.asarray(part.connectivity + 1, "<i4").tobytes()


def _variable(name: str, parts: Sequence[EnSightPart]) -> Iterator[bytes]:
    yield _line(name)
    for number, part in enumerate(parts, 1):
        if name in part.values:
            yield _line("part") + _int(number) + _line(part.element)
            yield np.asarray(part.values[name], "<f4").tobytes(order="F")


def _line(text: str) -> bytes:
    return text.encode().ljust(80, b"\0")


def _int(value: int) -> bytes:
    return np.int32(value).tobytes()
