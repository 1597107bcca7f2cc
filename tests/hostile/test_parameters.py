"""Arbitrary parameters of a grid or a layout: they lead to a valid object or to an `ArgumentError`."""

from __future__ import annotations

from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from noether.data.schemas import FileMap
from noether.data.zarr_store.core.grid import Grid, chunk_points_by_domain
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.layout import build_domain_layouts, filename_to_canonical
from noether.data.zarr_store.stores import normalize_root, open_storage
from support.bounds import bounded

NUMBERS: st.SearchStrategy[Any] = st.one_of(
    st.integers(-2, 300),
    st.sampled_from([2**31, 2**48, 2**48 + 1, 2**63, 10**100, 10**4000, True, 4.0, float("nan"), "8", None, [8]]),
)
DTYPES: st.SearchStrategy[Any] = st.sampled_from(
    ["float16", "float32", "float64", ">f4", "f4,f4", "O", "int8", "(3,)f4", "", "\x00", None, 7, [], {}, "f" * 10_000]
)
NAMES = st.none() | st.sampled_from(["a.npy", "b.npy", "../c.npy", "/d.npy", "", "\x00", "e" * 5000]) | st.text()


@given(NUMBERS, NUMBERS, NUMBERS)
def test_any_numbers_make_a_consistent_grid_or_an_error(n_points: Any, chunk_points: Any, shard_points: Any) -> None:
    for make in (Grid, Grid.fit):
        try:
            grid = make(n_points, chunk_points, shard_points)
        except ArgumentError:
            event("refused")
            continue
        assert 0 < grid.n_points <= 2**48
        assert (grid.n_chunks - 1) * grid.chunk_points < grid.n_points <= grid.n_chunks * grid.chunk_points
        assert grid.shard_points % grid.chunk_points == 0


@given(st.dictionaries(st.text(max_size=3), NUMBERS, max_size=3) | NUMBERS, st.lists(st.text(max_size=3), max_size=3))
def test_any_chunk_points_are_a_number_for_each_domain_or_refused(chunk_points: Any, domains: list[str]) -> None:
    try:
        by_domain = chunk_points_by_domain(chunk_points, domains)
    except ArgumentError:
        return
    assert by_domain.keys() == set(domains)
    assert all(points >= 1 for points in by_domain.values())


@given(
    st.fixed_dictionaries(dict.fromkeys(FileMap.model_fields, NAMES)), DTYPES, DTYPES, st.dictionaries(NAMES, DTYPES)
)
def test_any_file_map_and_dtypes_make_a_layout_or_are_refused(
    files: dict[str, str | None], coords: Any, values: Any, overrides: Any
) -> None:
    filemap = FileMap(**files)
    try:
        names = filename_to_canonical(filemap)
        layouts = build_domain_layouts(filemap, coords, values, overrides)
    except ArgumentError:
        return
    fields = [field for layout in layouts.values() for field in layout.arrays]
    assert sorted(names.values()) == sorted(fields)
    assert all(layout.position in layout.arrays for layout in layouts.values())


@given(st.text(min_size=1) | st.sampled_from(["http://[", "s3://", "file://", "://", "a\x00", "x" * 9000, "memory://"]))
def test_any_text_is_a_root_or_refused(text: str) -> None:
    with bounded():
        try:
            root = normalize_root(text)
        except ArgumentError:
            return
        if "://" not in root:
            assert open_storage(root).root == root
