"""The offsets of the values of each EnSight part in a variable file."""

from __future__ import annotations

from dataclasses import dataclass

from noether.data.zarr_store.sources.ensight_gold.part_table import (
    GHOST,
    TYPES,
    Geometry,
    PartHead,
    require_end,
    require_streamed_word,
)
from noether.data.zarr_store.sources.ensight_gold.records import GoldFile, Records
from noether.data.zarr_store.sources.mapping import Association

__all__ = ["Section", "read_variable"]


@dataclass(frozen=True, slots=True)
class Section:
    """The values of a contiguous range of rows.

    Attributes
    ----------
    first : int
        First row.
    count : int
        Number of rows.
    starts : tuple of int
        Offset of the values of each component.
    """

    first: int
    count: int
    starts: tuple[int, ...]


def read_variable(
    file: GoldFile, geometry: Geometry, association: Association, width: int
) -> dict[int, tuple[Section, ...]]:
    """Return the sections of each EnSight part that has values, by the number of the part.

    Parameters
    ----------
    file : GoldFile
        The variable file.
    geometry : Geometry
        Geometry of the case, with the number of values of each part.
    association : {"cell", "point"}
        ``"cell"`` for values of elements, ``"point"`` for values of nodes.
    width : int
        Number of components of a value.

    Raises
    ------
    NotStreamedError
        Only VTK supports the file.
    DamagedArrayError
        The file ends early, lacks some values of a part, or names a part that the geometry does not have.
    """
    records = Records(file, geometry.order)
    records.line()
    line = records.line()
    found: dict[int, tuple[Section, ...]] = {}
    while line is not None and line.startswith("part"):
        at = records.at
        part = geometry.parts.get(number := records.part_number())
        if part is None:
            there = ", ".join(map(str, list(geometry.parts)[:10]))
            raise file.damaged(at, f"the geometry has no part {number}; its parts: {there}")
        if number in found:
            raise file.damaged(at, f"part {number} occurs twice")
        line, sections = _part_sections(records, part, association, width)
        if sum(section.count for section in sections):
            found[number] = sections
    require_end(records, line)
    return found


def _part_sections(
    records: Records, part: PartHead, association: Association, width: int
) -> tuple[str | None, tuple[Section, ...]]:
    """Return the line after a part, and the sections of its values."""
    sections: dict[str, Section] = {}
    rows = _rows_of(part, association)
    while True:
        line, at = records.line(), records.line_at
        if line is None or line.startswith(("part", "END")):
            break
        word = require_streamed_word(line)
        if word in sections:
            raise records.file.damaged(at, f"{part.called()} has {word!r} twice")
        if word not in rows and word.removeprefix(GHOST) not in TYPES:
            expected = "coordinates" if association == "point" else "a kind of elements"
            raise records.file.damaged(at, f"expected {expected} of {part.called()}, got {line.strip()[:20]!r}")
        first, count = rows.get(word, (0, 0))
        of = f"the values for {word} of {part.called()}"
        sections[word] = Section(first, count, tuple(records.skip(count, of) for _ in range(width)))
    lacking = [word for word, (_, count) in rows.items() if count and word not in sections and GHOST not in word]
    if sections and lacking:
        raise records.file.damaged(at, f"{part.called()} has no values for its {lacking[0]}")
    return line, tuple(section for word, section in sections.items() if section.count and GHOST not in word)


def _rows_of(part: PartHead, association: Association) -> dict[str, tuple[int, int]]:
    """Return the first row and the number of rows of each section that a part can have."""
    if association == "point":
        return {"coordinates": (0, part.n_points)}
    rows, first = {f"{GHOST}{kind}": (0, count) for kind, count in part.ghosts.items()}, 0
    for block in part.blocks:
        rows[block.kind] = (first, block.count)
        first += block.count
    return rows
