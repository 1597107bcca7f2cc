"""Writing large VTK files block by block: hexahedra of a warped box, zlib-compressed, appended as raw bytes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from benchmarks.settings import cores
from noether.data.zarr_store.core import run_in_order

__all__ = ["FIELD_WIDTHS", "Make", "VtkArray", "box_shape", "write_grid", "write_hexahedra"]

FIELD_WIDTHS = {"p": 1, "U": 3, "vorticity": 3}

_BLOCK_BYTES = 1 << 15  # VTK's default
_LEVEL = 5  # VTK's default
_STEP_BLOCKS = 64
_STEP_CELLS = 1 << 17
_NAMES = {"f4": "Float32", "i8": "Int64", "u1": "UInt8"}


# Returns the rows between a start and a stop.
Make = Callable[[int, int], NDArray[Any]]


@dataclass(frozen=True)
class VtkArray:
    """One array of a file.

    Attributes
    ----------
    section, name : str
        XML section of the array, and its name.
    dtype : str
        NumPy's code of the dtype.
    width : int
        Number of values per row.
    n_rows : int
        Number of rows.
    make : callable of (int, int) to ndarray
        Returns the rows between a start and a stop.
    """

    section: str
    name: str
    dtype: str
    width: int
    n_rows: int
    make: Make


def box_shape(n_cells: int) -> tuple[int, int, int]:
    """Return the shape of a box with about the given number of cells, in layers of the same size."""
    side = round(n_cells ** (1 / 3))
    return side, side, max(n_cells // side**2, 1)


def write_hexahedra(path: Path, shape: tuple[int, int, int]) -> Path:
    """Write a box of hexahedra with three fields, unless the file exists."""
    n_cells = shape[0] * shape[1] * shape[2]
    n_points = (shape[0] + 1) * (shape[1] + 1) * (shape[2] + 1)
    arrays = [
        *(VtkArray("CellData", name, "f4", width, n_cells, _values(width)) for name, width in FIELD_WIDTHS.items()),
        VtkArray("Points", "Points", "f4", 3, n_points, _points(shape)),
        VtkArray("Cells", "connectivity", "i8", 8, n_cells, _corners(shape)),
        VtkArray("Cells", "offsets", "i8", 1, n_cells, lambda start, stop: 8 * np.arange(start + 1, stop + 1)),
        VtkArray("Cells", "types", "u1", 1, n_cells, lambda start, stop: np.full(stop - start, 12)),
    ]
    write_grid(path, arrays, n_points=n_points, n_cells=n_cells)
    return path


def write_grid(path: Path, arrays: list[VtkArray], *, n_points: int, n_cells: int) -> None:
    """Write an unstructured grid of arrays atomically, unless the file exists."""
    if path.exists():
        return
    staged = path.with_suffix(".part")
    with staged.open("wb") as file, ThreadPoolExecutor(cores()) as pool:
        head = _head(arrays, [0] * len(arrays), n_points, n_cells)
        file.write(head)
        offsets = []
        for array in arrays:
            offsets.append(file.tell() - len(head))
            _append(file, array, pool)
        file.write(b"</AppendedData></VTKFile>")
        file.seek(0)
        file.write(_head(arrays, offsets, n_points, n_cells))
    staged.rename(path)


def _head(arrays: list[VtkArray], offsets: list[int], n_points: int, n_cells: int) -> bytes:
    sections: dict[str, str] = {}
    for array, offset in zip(arrays, offsets, strict=True):
        width = 1 if array.section == "Cells" else array.width
        sections[array.section] = sections.get(array.section, "") + (
            f'<DataArray type="{_NAMES[array.dtype]}" Name="{array.name}" NumberOfComponents="{width}" '
            f'format="appended" offset="{offset:020}"/>'
        )
    inside = "".join(f"<{section}>{text}</{section}>" for section, text in sections.items())
    return (
        '<?xml version="1.0"?><VTKFile type="UnstructuredGrid" version="1.0" byte_order="LittleEndian" '
        'header_type="UInt64" compressor="vtkZLibDataCompressor"><UnstructuredGrid>'
        f'<Piece NumberOfPoints="{n_points}" NumberOfCells="{n_cells}">{inside}</Piece></UnstructuredGrid>'
        '<AppendedData encoding="raw">_'
    ).encode()


def _append(file: BinaryIO, array: VtkArray, pool: ThreadPoolExecutor) -> None:
    """Write the blocks of an array, then their sizes in front of them."""
    n_bytes = array.n_rows * array.width * np.dtype(array.dtype).itemsize
    n_blocks, at = -(-n_bytes // _BLOCK_BYTES), file.tell()
    file.seek(at + 8 * (3 + n_blocks))
    lengths: list[int] = []
    for blocks in run_in_order(pool, (partial(_compress, run) for run in _runs_of_blocks(array)), ahead=2 * cores()):
        for block in blocks:
            file.write(block)
            lengths.append(len(block))
    end = file.tell()
    file.seek(at)
    file.write(np.array([n_blocks, _BLOCK_BYTES, n_bytes % _BLOCK_BYTES, *lengths], "<u8").tobytes())
    file.seek(end)


def _compress(data: bytes) -> list[bytes]:
    return [zlib.compress(data[at : at + _BLOCK_BYTES], _LEVEL) for at in range(0, len(data), _BLOCK_BYTES)]


def _runs_of_blocks(array: VtkArray) -> Iterator[bytes]:
    """Yield the bytes of an array in whole blocks."""
    rest, run_bytes = b"", _STEP_BLOCKS * _BLOCK_BYTES
    for start in range(0, array.n_rows, _STEP_CELLS):
        rows = array.make(start, min(start + _STEP_CELLS, array.n_rows))
        rest += np.ascontiguousarray(rows, array.dtype).tobytes()
        whole = len(rest) // run_bytes * run_bytes
        for at in range(0, whole, run_bytes):
            yield rest[at : at + run_bytes]
        rest = rest[whole:]
    if rest:
        yield rest


def _places(shape: tuple[int, int, int], start: int, stop: int) -> tuple[NDArray[np.int64], ...]:
    """Return the three indices of cells or points of a box."""
    rest, x = np.divmod(np.arange(start, stop), shape[0])
    z, y = np.divmod(rest, shape[1])
    return x, y, z


def _points(shape: tuple[int, int, int]) -> Callable[[int, int], NDArray[Any]]:
    of_points = (shape[0] + 1, shape[1] + 1, shape[2] + 1)

    def make(start: int, stop: int) -> NDArray[Any]:
        x, y, z = _places(of_points, start, stop)
        noise = np.random.default_rng(start).uniform(-0.2, 0.2, (stop - start, 3))
        points: NDArray[Any] = np.stack([x, y, z], axis=1) + noise
        return points

    return make


def _corners(shape: tuple[int, int, int]) -> Callable[[int, int], NDArray[Any]]:
    row, layer = shape[0] + 1, (shape[0] + 1) * (shape[1] + 1)
    steps = np.array([0, 1, row + 1, row, layer, layer + 1, layer + row + 1, layer + row])

    def make(start: int, stop: int) -> NDArray[Any]:
        x, y, z = _places(shape, start, stop)
        corners: NDArray[Any] = (x + row * y + layer * z)[:, None] + steps
        return corners

    return make


def _values(width: int) -> Callable[[int, int], NDArray[Any]]:
    def make(start: int, stop: int) -> NDArray[Any]:
        smooth = np.sin(np.arange(start, stop)[:, None] * 1e-5 + np.arange(width))
        values: NDArray[Any] = smooth + np.random.default_rng(start + width).normal(
            scale=0.01, size=(stop - start, width)
        )
        return values

    return make
