"""The counters of reads by the compiled module."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether.data.zarr_store.codec import ChunkCodec, new_tally
from support.shards import encode_chunk

pytestmark = pytest.mark.usefixtures("compiled")

CODEC = ChunkCodec(np.dtype("<f4"), 100, 3)
CHUNK = encode_chunk(CODEC, np.arange(300, dtype="<f4").reshape(100, 3))
BOUNDS = [0, len(CHUNK), 2 * len(CHUNK)]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "shard").write_bytes(CHUNK + CHUNK[:-1] + b"?")
    descriptor = os.open(tmp_path / "shard", os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def out() -> np.ndarray[Any, Any]:
    return np.empty((200, 3), "<f4")


def test_tally_counts_a_fully_decoded_range(file: int, out: np.ndarray[Any, Any]) -> None:
    tally = new_tally()
    for n in (1, 2):
        assert CODEC.read_run(file, 0, BOUNDS[:2], out, tally=tally) == 1
        assert tally.tolist()[:2] == [n, n * len(CHUNK)]
    assert min(tally) > 0


def test_tally_ignores_a_partly_decoded_range(file: int, out: np.ndarray[Any, Any]) -> None:
    tally = new_tally()
    assert CODEC.read_run(file, 0, BOUNDS, out, tally=tally) == 1
    assert tally.tolist()[:2] == [0, 0]
    assert min(tally[2:]) > 0  # the time was spent


@pytest.mark.parametrize("wrong", [array("q", [0] * 3), bytearray(31), memoryview(bytearray(33))[1:]])
def test_small_tally_is_refused(file: int, out: np.ndarray[Any, Any], wrong: Any) -> None:
    before = bytes(wrong)
    with pytest.raises(ValueError, match="tally: expected at least 32 aligned bytes"):
        CODEC.read_run(file, 0, BOUNDS[:2], out, tally=wrong)
    assert bytes(wrong) == before


def test_read_only_tally_is_refused(file: int, out: np.ndarray[Any, Any]) -> None:
    with pytest.raises((TypeError, BufferError)):
        CODEC.read_run(file, 0, BOUNDS[:2], out, tally=bytes(32))  # type: ignore[arg-type]
