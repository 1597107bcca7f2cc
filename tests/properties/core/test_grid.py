"""Laws of the grid: chunks and shards tile the rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store.core.grid import Grid

SIZES = st.integers(1, 3_000)
CAPS = st.none() | st.integers(1, 4_000)


@given(SIZES, SIZES, CAPS)
def test_chunks_tile_the_rows(n: int, chunk_points: int, cap: int | None) -> None:
    grid = Grid.fit(n, chunk_points, cap)
    tiles = [grid.rows(chunk, chunk + 1) for chunk in range(grid.n_chunks)]
    assert [row for tile in tiles for row in range(tile.start, tile.stop)] == list(range(n))
    sizes = [tile.stop - tile.start for tile in tiles]
    assert sizes == [grid.chunk_size(chunk) for chunk in range(grid.n_chunks)]
    assert set(sizes[:-1]) <= {grid.chunk_points}
    assert sizes.count(grid.chunk_points) == grid.n_full_chunks
    assert n == grid.n_full_chunks * grid.chunk_points + grid.short_points


@given(SIZES, SIZES, CAPS)
def test_shard_has_the_most_chunks_within_the_cap(n: int, chunk_points: int, cap: int | None) -> None:
    """A shard has at least one chunk."""
    grid = Grid.fit(n, chunk_points, cap)
    chunks_in_shard, rest = divmod(grid.shard_points, grid.chunk_points)
    assert rest == 0
    assert 1 <= chunks_in_shard <= grid.n_chunks
    assert chunks_in_shard == 1 or cap is None or grid.shard_points <= cap
    assert chunks_in_shard == grid.n_chunks or (cap is not None and grid.shard_points + grid.chunk_points > cap)


@given(SIZES, SIZES, CAPS)
def test_the_shards_cover_the_rows_without_an_empty_one(n: int, chunk_points: int, cap: int | None) -> None:
    grid = Grid.fit(n, chunk_points, cap)
    assert (grid.n_shards - 1) * grid.shard_points < n <= grid.n_shards * grid.shard_points


@given(SIZES, SIZES)
def test_no_chunk_is_larger_than_its_domain(n: int, chunk_points: int) -> None:
    assert Grid.fit(n, chunk_points).chunk_points == min(n, chunk_points)


@given(SIZES, SIZES, CAPS)
def test_fitting_a_grid_to_itself_changes_nothing(n: int, chunk_points: int, cap: int | None) -> None:
    grid = Grid.fit(n, chunk_points, cap)
    assert Grid.fit(n, grid.chunk_points, grid.shard_points) == grid
