"""The split of a domain into chunks and shards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from noether.data.zarr_store.core.grid import Grid, positive_int
from noether.data.zarr_store.errors import ArgumentError

NO_POSITIVE_WHOLE_NUMBER = [
    pytest.param(0, id="zero"),
    pytest.param(-4, id="negative"),
    pytest.param(4.0, id="float"),
    pytest.param(np.float64(4), id="numpy-float"),
    pytest.param(True, id="bool"),
    pytest.param(np.True_, id="numpy-bool"),
    pytest.param("4", id="text"),
    pytest.param(None, id="none"),
    pytest.param(np.array([4, 4]), id="array"),
]


@pytest.mark.parametrize(
    ("n_points", "chunk_points", "shard_points", "chunk", "shard", "n_chunks", "n_shards"),
    [
        pytest.param(10, 4, None, 4, 12, 3, 1, id="without-a-cap-one-shard-holds-all"),
        pytest.param(12, 4, None, 4, 12, 3, 1, id="whole-chunks-only"),
        pytest.param(3, 4, None, 3, 3, 1, 1, id="a-domain-smaller-than-a-chunk-gets-one-of-its-own-size"),
        pytest.param(3, 4, 4, 3, 3, 1, 1, id="and-one-shard-of-that-size"),
        pytest.param(4, 4, None, 4, 4, 1, 1, id="one-chunk-exactly"),
        pytest.param(1, 1, None, 1, 1, 1, 1, id="one-point"),
        pytest.param(100, 4, 11, 4, 8, 25, 13, id="the-cap-is-rounded-down-to-whole-chunks"),
        pytest.param(100, 4, 12, 4, 12, 25, 9, id="a-cap-of-whole-chunks-stays"),
        pytest.param(100, 4, 3, 4, 4, 25, 25, id="but-a-shard-has-at-least-one-chunk"),
        pytest.param(100, 4, 10**9, 4, 100, 25, 1, id="a-cap-beyond-the-domain-is-no-cap"),
        pytest.param(285_000_000, 4096, 2**24, 4096, 2**24, 69_581, 17, id="the-largest-samples"),
    ],
)
def test_a_grid_is_fitted_to_a_domain(
    n_points: int, chunk_points: int, shard_points: int | None, chunk: int, shard: int, n_chunks: int, n_shards: int
) -> None:
    grid = Grid.fit(n_points, chunk_points, shard_points)
    assert grid == Grid(n_points, chunk, shard)
    assert (grid.n_chunks, grid.n_shards) == (n_chunks, n_shards)


def test_short_chunk_is_last_and_counted() -> None:
    grid = Grid.fit(10, 4)
    assert (grid.n_full_chunks, grid.short_points) == (2, 2)
    assert [grid.chunk_size(chunk) for chunk in range(3)] == [4, 4, 2]
    assert grid.rows(1, 3) == slice(4, 10)


def test_without_a_short_chunk_all_are_full() -> None:
    grid = Grid.fit(12, 4)
    assert (grid.n_full_chunks, grid.short_points) == (3, 0)
    assert grid.rows(1, 3) == slice(4, 12)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint64, np.int64])
def test_numpy_integers_become_python_integers(dtype: type[np.integer[Any]]) -> None:
    sizes: list[Any] = [dtype(101), dtype(4), dtype(8)]
    for grid in (Grid.fit(*sizes), Grid(*sizes)):
        assert grid == Grid(101, 4, 8)
        assert (grid.n_chunks, grid.n_shards) == (26, 13)
        assert {type(value) for value in (grid.n_points, grid.chunk_points, grid.shard_points)} == {int}


@pytest.mark.parametrize("value", NO_POSITIVE_WHOLE_NUMBER)
@pytest.mark.parametrize("parameter", ["n_points", "chunk_points", "shard_points"])
def test_size_must_be_a_positive_whole_number(parameter: str, value: Any) -> None:
    sizes = {"n_points": 8, "chunk_points": 4, "shard_points": 4, parameter: value}
    with pytest.raises(ArgumentError, match=f"^{parameter}: expected a whole number of at least 1, got "):
        Grid(**sizes)


@pytest.mark.parametrize("value", [value for value in NO_POSITIVE_WHOLE_NUMBER if value.id != "none"])
def test_shard_cap_must_be_a_positive_whole_number(value: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^shard_points: expected a whole number of at least 1, got "):
        Grid.fit(8, 4, value)


def test_shard_must_have_whole_chunks() -> None:
    with pytest.raises(ArgumentError, match=r"^shard_points: expected a multiple of chunk_points 4, got 6$"):
        Grid(10, 4, 6)


@pytest.mark.parametrize("value", [1, np.int64(7), np.array(7)], ids=repr)
def test_positive_whole_number_is_returned_as_int(value: Any) -> None:
    assert positive_int(value, "size") == int(value)
    assert type(positive_int(value, "size")) is int
