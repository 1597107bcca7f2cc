"""A damaged or forged EnSight case is refused with sample, file and byte, in little time and memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources import MappedSource
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from support.bounds import bounded
from support.ensight_files import GoldBlock, GoldForm, GoldPart, GoldWriter, write_gold

MAPPING = (
    'name = "v"\nid = "{case}"\n[domains.volume]\nfile = "{case}/{case}.case"\nassociation = "cell"\n'
    'parts = { include = ["fluid"] }\n[domains.volume.fields]\npressure = "p"\n'
)
POINTS = MAPPING.replace('"cell"', '"point"\nunused_points = "drop"').replace('pressure = "p"', "")
TETRA = [[[0, 1, 2], [0, 3, 1], [1, 3, 2], [2, 3, 0]]]
PARTS = [
    GoldPart(
        "fluid",
        np.random.default_rng(0).normal(size=(9, 3)),
        [GoldBlock("hexa8", [range(8), range(1, 9)]), GoldBlock("nsided", [[0, 1, 2]]), GoldBlock("nfaced", TETRA)],
        elements={"p": np.arange(4.0)},
    ),
    GoldPart("wall", np.eye(3), [GoldBlock("tria3", [[0, 1, 2]])], elements={"p": np.ones(1)}),
]
C, FORTRAN = GoldForm(), GoldForm(fortran=True)
Change = Callable[[GoldWriter], tuple[bytes, bytes]]
BILLION = 10**9


def count_of(word: str, count: int, forged: int) -> Change:
    """Replace the number after a line."""
    return lambda writer: (writer.line(word) + writer.ints(count), writer.line(word) + writer.ints(forged))


def line(word: str, forged: str) -> Change:
    return lambda writer: (writer.line(word), writer.line(forged))


def ints(*values: int, to: tuple[int, ...]) -> Change:
    return lambda writer: (writer.ints(*values), writer.ints(*to))


HEXA = tuple(range(1, 9)) + tuple(range(2, 10))
GEOMETRY: dict[str, tuple[Change, str]] = {
    "many nodes": (
        count_of("coordinates", 9, BILLION),
        r"expected 4,000,000,000 bytes of the coordinates x of part 1 'fluid'; the file ends at byte [\d,]+",
    ),
    "fewer nodes than none": (count_of("coordinates", 9, -3), "it claims -3 nodes of part 1 'fluid'"),
    "many elements": (
        count_of("hexa8", 2, BILLION),
        "expected 32,000,000,000 bytes of the nodes of hexa8 of part 1 'fluid'; the file ends",
    ),
    "fewer elements than none": (count_of("hexa8", 2, -2), "it claims -2 hexa8 of part 1 'fluid'"),
    "many polygons": (count_of("nsided", 1, BILLION), "expected 4,000,000,000 bytes of the numbers of nodes of nsided"),
    "a polygon of many nodes": (
        lambda writer: (writer.ints(3) + writer.ints(1, 2, 3), writer.ints(BILLION) + writer.ints(1, 2, 3)),
        "expected 4,000,000,000 bytes of the nodes of nsided of part 1 'fluid'",
    ),
    "a polygon of negative nodes": (
        lambda writer: (writer.ints(3) + writer.ints(1, 2, 3), writer.ints(-3) + writer.ints(1, 2, 3)),
        "it claims -3 nodes of nsided of part 1 'fluid'",
    ),
    "a polyhedron of many faces": (
        lambda writer: (writer.ints(4) + writer.ints(3, 3, 3, 3), writer.ints(BILLION) + writer.ints(3, 3, 3, 3)),
        "expected 4,000,000,000 bytes of the numbers of nodes of the faces of nfaced",
    ),
    "a face of negative nodes": (ints(3, 3, 3, 3, to=(3, -3, 3, 3)), "it claims -3 nodes of the faces of nfaced"),
    "a node beyond the nodes": (
        ints(*HEXA, to=(*HEXA[:-1], 10)),
        "hexa8 of part 1 'fluid' names node 10; the part has 9",
    ),
    "a node before the first": (ints(*HEXA, to=(0, *HEXA[1:])), "hexa8 of part 1 'fluid' names node 0; the part has 9"),
    "a corner beyond the nodes": (
        ints(1, 2, 3, 1, 4, 2, 2, 4, 3, 3, 4, 1, to=(1, 2, 3, 1, 4, 2, 2, 4, 3, 3, 4, 99)),
        "nfaced of part 1 'fluid' names node 99; the part has 9",
    ),
    "a part twice": (count_of("part", 2, 1), "part 1 occurs twice"),
    "a part without number": (count_of("part", 2, 0), "expected the number of a part, 1 to 65,536, got 0"),
    "a word of no meaning": (line("hexa8", "hoxa8"), "part 1 'fluid' has 'hoxa8'; expected coordinates or elements"),
    "elements twice": (line("nsided", "hexa8"), "part 1 'fluid' has 'hexa8' twice|expected"),
}
VARIABLE: dict[str, tuple[Change, str]] = {
    "an unknown part": (count_of("part", 2, 7), "the geometry has no part 7; its parts: 1, 2"),
    "a part twice": (count_of("part", 2, 1), "part 1 occurs twice"),
    "a word of no meaning": (line("hexa8", "hoxa8"), "expected a kind of elements of part 1 'fluid', got 'hoxa8'"),
    "elements that the part does not have": (line("hexa8", "hexa9"), "expected a kind of elements of part 1"),
    "elements twice": (line("nsided", "nfaced"), "part 1 'fluid' has 'nfaced' twice"),
    "elements without values": (
        lambda writer: (writer.line("nsided") + writer.floats([2.0]), b""),
        "part 1 'fluid' has no values for its nsided",
    ),
}


def load(root: Path, mapping: str = MAPPING) -> None:
    with bounded():
        MappedSource(root, parse_mapping(mapping, "mapping test.toml")).load("run_1")


@pytest.mark.parametrize("form", [C, FORTRAN], ids=["C", "Fortran"])
@pytest.mark.parametrize(
    ("suffix", "change", "message"),
    [
        *(pytest.param(".geo", *case, id=name) for name, case in GEOMETRY.items()),
        *(pytest.param(".p", *case, id=f"values, {name}") for name, case in VARIABLE.items()),
    ],
)
def test_damage_is_named(tmp_path: Path, suffix: str, change: Change, message: str, form: GoldForm) -> None:
    file = write_gold(tmp_path / "run_1" / "run_1.case", PARTS, form).with_suffix(suffix)
    old, new = change(GoldWriter(form))
    data = file.read_bytes()
    assert old in data
    file.write_bytes(data.replace(old, new, 1))
    where = rf"^sample 'run_1': run_1/run_1\.case cannot be read \({file.name}, byte [\d,]+: "
    with pytest.raises(SourceError, match=rf"{where}({message}).*; make the file again$"):
        load(tmp_path)


@pytest.mark.parametrize("form", [C, FORTRAN], ids=["C", "Fortran"])
@pytest.mark.parametrize("suffix", [".geo", ".p"])
@pytest.mark.parametrize("part", [0.01, 0.3, 0.6, 0.9, 0.999])
def test_a_file_that_ends_early_is_named(tmp_path: Path, suffix: str, part: float, form: GoldForm) -> None:
    file = write_gold(tmp_path / "run_1" / "run_1.case", PARTS, form).with_suffix(suffix)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * part)])
    with pytest.raises(SourceError, match=r"^sample 'run_1': run_1/run_1\.case cannot be read \(.*make the file again"):
        load(tmp_path)


@pytest.mark.parametrize("form", [C, FORTRAN], ids=["C", "Fortran"])
def test_a_file_can_end_with_blanks_but_not_in_a_line(tmp_path: Path, form: GoldForm) -> None:
    file = write_gold(tmp_path / "run_1" / "run_1.case", PARTS, form).with_suffix(".geo")
    data, size = file.read_bytes(), file.stat().st_size
    file.write_bytes(data + b"\0 \r\n")
    load(tmp_path)
    file.write_bytes(data + GoldWriter(form).line("part")[:40])
    with pytest.raises(SourceError, match=rf"run_1\.geo, byte {size:,}: the file ends after 40 bytes of a line of 80"):
        load(tmp_path)


@pytest.mark.parametrize("suffix", [".geo", ".p"])
def test_a_fortran_record_with_two_lengths_is_refused(tmp_path: Path, suffix: str) -> None:
    file = write_gold(tmp_path / "run_1" / "run_1.case", PARTS, FORTRAN).with_suffix(suffix)
    data = bytearray(file.read_bytes())
    data[-4:] = (9).to_bytes(4, "little")
    file.write_bytes(data)
    with pytest.raises(SourceError, match=r"byte [\d,]+: expected a record of [\d,]+ bytes of .*, got one of 9\)"):
        load(tmp_path)


def test_values_in_another_byte_order_are_refused(tmp_path: Path) -> None:
    path = write_gold(tmp_path / "run_1" / "run_1.case", PARTS, FORTRAN)
    write_gold(tmp_path / "other" / "run_1.case", PARTS, GoldForm(fortran=True, big_endian=True))
    (tmp_path / "other" / "run_1.p").rename(path.with_suffix(".p"))
    with pytest.raises(SourceError, match=r"run_1\.p, byte 0: its byte order differs from that of the geometry"):
        load(tmp_path)


def test_a_missing_node_is_not_a_used_point(tmp_path: Path) -> None:
    file = write_gold(tmp_path / "run_1" / "run_1.case", PARTS).with_suffix(".geo")
    writer = GoldWriter(C)
    file.write_bytes(file.read_bytes().replace(writer.ints(*HEXA), writer.ints(*HEXA[:-1], 10)))
    with pytest.raises(
        SourceError, match=r"run_1\.geo, byte [\d,]+: hexa8 of part 1 'fluid' names node 10; the part has 9"
    ):
        load(tmp_path, POINTS)


def test_an_error_names_the_byte_in_a_file_of_several_steps(tmp_path: Path) -> None:
    path = write_gold(tmp_path / "run_1" / "run_1.case", PARTS)
    writer, data = GoldWriter(C), path.with_suffix(".p").read_bytes()
    begin, end = writer.line("BEGIN TIME STEP"), writer.line("END TIME STEP")
    whole = begin + data + end
    path.with_suffix(".p").write_bytes(whole + begin + data.replace(writer.line("hexa8"), writer.line("hoxa8")) + end)
    text = path.read_text().replace("element: p", "element: 1 1 p")
    path.write_text(f"{text}TIME\ntime set: 1\nnumber of steps: 2\nFILE\nfile set: 1\nnumber of steps: 2\n")
    at = len(whole) + 80 + data.index(writer.line("hexa8"))
    with pytest.raises(SourceError, match=rf"run_1\.p, byte {at:,}: expected a kind of elements"):
        load(tmp_path)
