"""Reads of runs from a file: unreadable bytes and wrong arguments are refused before anything is written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether.data.zarr_store.codec.shard import ChunkCodec
from noether.data.zarr_store.core import peak_memory_bytes
from support.shards import encode_chunk

pytestmark = pytest.mark.usefixtures("compiled")

CODEC = ChunkCodec(np.dtype("<f4"), 100, 3)
ROWS = np.arange(300, dtype="<f4").reshape(100, 3)
CHUNK = encode_chunk(CODEC, ROWS)
BOUNDS = [0, len(CHUNK), 2 * len(CHUNK)]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "shard"
    path.write_bytes(CHUNK * 2)
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def out() -> np.ndarray[Any, Any]:
    return np.full((200, 3), 7, "<f4")


def test_a_run_is_read_whole_without_ranges(file: int, out: np.ndarray[Any, Any]) -> None:
    assert CODEC.read_run(file, 0, BOUNDS, out) == 2
    np.testing.assert_array_equal(out, np.concatenate([ROWS, ROWS]))


@pytest.mark.parametrize(
    ("start", "bounds"),
    [
        pytest.param(1, BOUNDS, id="a byte is missing at the end"),
        pytest.param(len(CHUNK) * 2, BOUNDS, id="the file ends before"),
        pytest.param((1 << 63) - 1, BOUNDS, id="no file is so long"),
        pytest.param(-1, BOUNDS, id="before the file"),
        pytest.param(0, [0, 1 << 40, 1 << 40], id="a chunk of a terabyte"),
        pytest.param(0, [0, CODEC.max_stored_bytes + 1], id="a chunk that is a byte too long"),
        pytest.param(0, [0, (1 << 63) + 1], id="a chunk that is longer than memory"),
    ],
)
def test_unreadable_bytes_decode_no_chunk(file: int, out: np.ndarray[Any, Any], start: int, bounds: list[int]) -> None:
    assert CODEC.read_run(file, start, bounds, out) == 0
    assert (out == 7).all()


def test_truncated_file_gets_no_bytes_of_an_earlier_read(tmp_path: Path, file: int) -> None:
    """The buffer of an earlier read does not fill in the missing bytes."""
    plain = ChunkCodec(CODEC.dtype, CODEC.rows, CODEC.width, checksum=False, level=0)
    path, out = tmp_path / "plain", np.full((100, 3), 7, "<f4")
    path.write_bytes(encode_chunk(plain, ROWS))
    bounds = [0, path.stat().st_size]
    descriptor = os.open(path, os.O_RDONLY)
    assert plain.read_run(descriptor, 0, bounds, out) == 1
    out[:] = 7
    os.truncate(path, bounds[1] - 1)
    assert plain.read_run(descriptor, 0, bounds, out) == 0
    assert (out == 7).all()
    os.close(descriptor)


def test_oversized_chunk_takes_no_memory(tmp_path: Path, out: np.ndarray[Any, Any]) -> None:
    claimed = 256 << 20
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(claimed)
    descriptor = os.open(tmp_path / "sparse", os.O_RDONLY)
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak: proc_pid_clear_refs(5)
    before = peak_memory_bytes()
    assert CODEC.read_run(descriptor, 0, [0, claimed], out) == 0
    assert peak_memory_bytes() - before < claimed // 4
    os.close(descriptor)


def test_unreadable_file_decodes_no_chunk(tmp_path: Path, out: np.ndarray[Any, Any]) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    assert CODEC.read_run(directory, 0, BOUNDS, out) == 0
    os.close(directory)
    assert CODEC.read_run(directory, 0, BOUNDS, out) == 0
    reading, writing = os.pipe()
    assert CODEC.read_run(reading, 0, BOUNDS, out) == 0
    os.close(reading)
    os.close(writing)
    assert (out == 7).all()


REFUSED = [
    pytest.param({"rows": [((0, 101),), ()]}, "rows: expected ascending", id="a row beyond the chunk"),
    pytest.param({"rows": [((5, 5),), ()]}, "rows: expected ascending", id="an empty range"),
    pytest.param({"rows": [((6, 5),), ()]}, "rows: expected ascending", id="an end before its start"),
    pytest.param({"rows": [((0, 5), (4, 6)), ()]}, "rows: expected ascending", id="ranges that overlap"),
    pytest.param({"rows": [((8, 9), (0, 1)), ()]}, "rows: expected ascending", id="ranges in descending order"),
    pytest.param({"rows": [((0, 5),)]}, "rows: expected None, or", id="ranges of fewer chunks"),
    pytest.param({"rows": [()] * 3}, "rows: expected None, or", id="ranges of more chunks"),
    pytest.param({"rows": ((), ())}, "rows: expected None, or", id="no list"),
    pytest.param({"first_row": 1}, "out: expected room", id="room for a row less"),
    pytest.param({"first_row": 201}, "out: expected room", id="first row beyond the result"),
    pytest.param({"first_row": -1}, "out: expected room", id="first row before the result"),
    pytest.param({"bounds": [0]}, "bounds: expected 2 to", id="no chunk"),
    pytest.param({"bounds": [5, 4, 6]}, "bounds: expected ascending", id="bounds that descend"),
]


@pytest.mark.parametrize(("wrong", "message"), REFUSED)
@pytest.mark.parametrize("from_file", [False, True], ids=["memory", "file"])
def test_arguments_that_do_not_fit_together_are_refused(
    file: int, out: np.ndarray[Any, Any], from_file: bool, wrong: dict[str, Any], message: str
) -> None:
    arguments: dict[str, Any] = {"bounds": BOUNDS, "out": out} | wrong
    decode = partial(CODEC.read_run, file, 0) if from_file else partial(CODEC.decode_run, CHUNK * 2)
    with pytest.raises(ValueError, match=message):
        decode(**arguments)
    assert (out == 7).all()


@pytest.mark.parametrize(
    "rows", [[5, ()], [(5,), ()], [((5,),), ()], [((0, 1, 2),), ()], [(("a", "b"),), ()], [[(0, 1)], ()]]
)
def test_ranges_must_be_pairs(file: int, out: np.ndarray[Any, Any], rows: Any) -> None:
    with pytest.raises(TypeError):
        CODEC.read_run(file, 0, BOUNDS, out, rows=rows)
    with pytest.raises(OverflowError):
        CODEC.read_run(file, 0, BOUNDS, out, rows=[((-1, 5),), ()])
    assert (out == 7).all()


def test_oversized_chunk_is_not_decoded(file: int, out: np.ndarray[Any, Any]) -> None:
    """The grid is forged. The caller raises an error for chunks that it cannot decode."""
    for rows, width in ((1 << 30, 3), (1 << 48, 1 << 48)):
        forged = ChunkCodec(np.dtype("<f4"), rows, width)
        few = np.full((1, 3), 7, "<f4")
        assert forged.read_run(file, 0, [0, len(CHUNK)], few, rows=[((0, 1),)] if width == 3 else [()]) == 0
        assert forged.decode_run(CHUNK, [0, len(CHUNK)], few, rows=[((0, 1),)] if width == 3 else [()]) == 0
