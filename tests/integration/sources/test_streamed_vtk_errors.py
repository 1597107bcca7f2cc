"""A damaged or forged VTK file is refused with sample, file, array and byte, in little time and memory."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources import MappedSource
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from noether.data.zarr_store.sources.vtk_xml import text_numbers
from support.bounds import bounded
from support.vtk_bytes import Parts, blocks_of, cube_arrays, vtu_bytes

MAPPING = (
    'name = "v"\nid = "{case}"\n[domains.volume]\nfile = "{case}/volume.vtu"\nassociation = "cell"\n'
    '[domains.volume.fields]\npressure = "p"\n'
)
POINTS = MAPPING.replace('"cell"', '"point"\nunused_points = "drop"').replace('pressure = "p"', "")
Forge = Callable[[Parts], None]


def header(*words: int) -> bytes:
    return np.array(words, "<u8").tobytes()


def forged(name: str, *words: int) -> Forge:
    """Replace the numbers at the beginning of an array's header."""

    def forge(parts: Parts) -> None:
        values = next(arrays[name] for arrays in parts.arrays.values() if name in arrays)
        parts.blobs[name] = header(*words) + blocks_of(values)[8 * len(words) :]

    return forge


def with_values(name: str, at: int, value: int) -> Forge:
    """Replace one number of an array of the cells."""

    def forge(parts: Parts) -> None:
        values = parts.arrays["Cells"][name].copy()
        values[at] = value
        parts.arrays["Cells"][name] = values

    return forge


def with_bomb(parts: Parts) -> None:
    block = zlib.compress(bytes(64 << 20))
    parts.blobs["p"] = header(1, 160, 0, len(block)) + block


def without_bytes(parts: Parts) -> None:
    block = zlib.compress(bytes(100))
    parts.blobs["p"] = header(1, 160, 0, len(block)) + block


def without_checksum(parts: Parts) -> None:
    block = zlib.compress(bytes(160))[:-4]
    parts.blobs["p"] = header(1, 160, 0, len(block)) + block


def flipped(parts: Parts) -> None:
    blob = bytearray(blocks_of(parts.arrays["CellData"]["p"]))
    blob[-20] ^= 0xFF
    parts.blobs["p"] = bytes(blob)


def beyond(parts: Parts) -> None:
    parts.offsets["p"] = 10**12


def more_cells(parts: Parts) -> None:
    parts.n_cells = 10**12


def more_points(parts: Parts) -> None:
    parts.n_points = 10**12


CASES: dict[str, tuple[Forge, str]] = {
    "many blocks": (
        forged("p", 2**60),
        r"its header at byte [\d,]+ promises 1,152,921,504,606,846,976 blocks",
    ),
    "large blocks": (forged("p", 1, 2**50), r"array 'p': its header at byte [\d,]+ promises 1 blocks of 1,125,899"),
    "terabytes in a block": (forged("p", 1, 2**40, 0), r"array 'p': its header at byte [\d,]+ promises more values"),
    "blocks beyond the file": (
        forged("p", 1, 160, 0, 2**40),
        r"its header at byte [\d,]+ promises blocks beyond",
    ),
    "an offset beyond the file": (beyond, r"array 'p': it ends at byte [\d,]+; expected bytes [\d,]+ to"),
    "a bomb": (with_bomb, r"array 'p': block 0 at byte [\d,]+: expected 160 bytes from it, got more"),
    "a block that ends early": (
        without_bytes,
        r"block 0 at byte [\d,]+: expected 160 bytes from it, got 100",
    ),
    "a block without its checksum": (
        without_checksum,
        r"array 'p': block 0 at byte [\d,]+: its end, with the checksum, is missing",
    ),
    "a damaged block": (flipped, r"array 'p': block 0 at byte [\d,]+: it cannot be decompressed"),
    "more cells than values": (more_cells, r"array 'p': it has 40 values; expected 1,000,000,000,000"),
    "more points than values": (more_points, r"array 'Points': it has 960 values; expected 3,000,000,000,000"),
    "a point beyond the points": (with_values("connectivity", 17, 320), "cell 2 names point 320; there are 320"),
    "a negative point": (with_values("connectivity", 17, -1), "cell 2 names point -1; there are 320"),
    "offsets that descend": (with_values("offsets", 5, 3), "array 'offsets': a list goes from 40 to 3"),
    "offsets beyond the array": (
        with_values("offsets", 39, 10**12),
        "array 'offsets': a list goes from 312 to 1,0",
    ),
    "a cell of another size": (with_values("types", 3, 10), "cell 3 of VTK's type 10 has 8 points; expected 4"),
}
POLYHEDRA: dict[str, tuple[Forge, str]] = {
    "a face of no points": (
        with_values("faces", 1, 0),
        r"array 'faces': the faces of polyhedron \d+ of a block do not end",
    ),
    "a face of many points": (
        with_values("faces", 1, 10**12),
        r"array 'faces': the faces of polyhedron \d+ of a block do not end",
    ),
    "many faces": (with_values("faces", 0, 2**62), r"array 'faces': the faces of polyhedron \d+ of a block do not end"),
    "fewer faces": (with_values("faces", 0, 5), r"array 'faces': the faces of polyhedron \d+ of a block do not end"),
    "a face that points nowhere": (with_values("faces", 2, 99_999), "cell 0 names point 99999; there are 320"),
    "faces that end beyond": (with_values("faceoffsets", 39, 10**12), "array 'faceoffsets': a list goes from 1,209 to"),
    "faces that end before": (with_values("faceoffsets", 7, 0), "array 'faceoffsets': a list goes from 217 to 0"),
}


def load(tmp_path: Path, data: bytes, mapping: str = MAPPING) -> None:
    (tmp_path / "run_1").mkdir()
    (tmp_path / "run_1" / "volume.vtu").write_bytes(data)
    with bounded():
        MappedSource(tmp_path, parse_mapping(mapping, "mapping test.toml")).load("run_1")


@pytest.mark.parametrize(
    ("forge", "message", "polyhedra"),
    [
        *(pytest.param(*case, False, id=name) for name, case in CASES.items()),
        *(pytest.param(*case, True, id=name) for name, case in POLYHEDRA.items()),
    ],
)
def test_damage_is_named(tmp_path: Path, forge: Forge, message: str, polyhedra: bool) -> None:
    parts = cube_arrays(polyhedra=polyhedra)
    forge(parts)
    with pytest.raises(
        SourceError, match=rf"^sample 'run_1': run_1/volume\.vtu cannot be read \(.*{message}.*make the"
    ):
        load(tmp_path, vtu_bytes(parts))


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9, 0.99])
def test_a_file_that_ends_early_is_named(tmp_path: Path, part: float) -> None:
    data = vtu_bytes(cube_arrays(400))
    with pytest.raises(SourceError, match=r"^sample 'run_1': run_1/volume\.vtu cannot be read \(.*make the file again"):
        load(tmp_path, data[: int(len(data) * part)])


def test_a_missing_point_is_not_a_used_point(tmp_path: Path) -> None:
    parts = cube_arrays()
    with_values("connectivity", 17, 320)(parts)
    with pytest.raises(SourceError, match=r"cell 2 names point 320; there are 320"):
        load(tmp_path, vtu_bytes(parts), POINTS)


def one_cell(numbers: str) -> bytes:
    """Return a file of one cell whose points and field `p` have the same text."""
    arrays = f'<DataArray type="Float32" Name="p" format="ascii">{numbers}</DataArray>'
    points = arrays.replace("Name", 'NumberOfComponents="3" Name')
    data = (
        '<VTKFile type="UnstructuredGrid"><UnstructuredGrid><Piece NumberOfPoints="1" NumberOfCells="1">'
        f"<CellData>{arrays}</CellData><Points>{points}</Points><Cells>"
        + "".join(
            f'<DataArray type="Int64" Name="{name}">1</DataArray>' for name in ("connectivity", "offsets", "types")
        )
        + "</Cells></Piece></UnstructuredGrid></VTKFile>"
    )
    return data.encode()


@pytest.mark.parametrize("array", ["1" * (4 << 20) + " 1 " * 2_000_000, "1" * (12 << 20)])
def test_a_number_of_a_million_digits_is_scanned_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, array: str
) -> None:
    monkeypatch.setattr(text_numbers, "_STEP_BYTES", 8 << 20)
    with pytest.raises(SourceError, match=r"array '\w+': a number at byte [\d,]+ has more than 64 digits"):
        load(tmp_path, one_cell(array))


@pytest.mark.parametrize("step_bytes", [8, 84, 1 << 20])  # the long number begins or ends in another block
@pytest.mark.parametrize("word", ["x", "1" * 70], ids=["no number", "too long"])
def test_a_wrong_number_is_named_by_its_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, step_bytes: int
) -> None:
    monkeypatch.setattr(text_numbers, "_STEP_BYTES", step_bytes)
    data = one_cell(f"1.5 2.25\n 3 -4 {word} 5")
    bytes_of_word = "|".join(f"{at:,}" for at in range(len(data)) if data[at - 1 :].startswith(f" {word} ".encode()))
    with pytest.raises(SourceError, match=rf"at byte ({bytes_of_word})\b"):
        load(tmp_path, data)


def test_numbers_without_an_end_are_refused(tmp_path: Path) -> None:
    array = '<DataArray type="Float32" Name="p" format="ascii">' + "1" * (4 << 20)
    head = '<VTKFile type="UnstructuredGrid"><UnstructuredGrid><Piece NumberOfPoints="1" NumberOfCells="1"><CellData>'
    with pytest.raises(SourceError, match=r"^sample 'run_1': run_1/volume\.vtu "):
        load(tmp_path, (head + array).encode())
