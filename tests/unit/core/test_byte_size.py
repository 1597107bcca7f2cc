"""Byte sizes with units, as users write them."""

from __future__ import annotations

import pytest

from noether.data.zarr_store.core import parse_byte_size
from noether.data.zarr_store.errors import ArgumentError


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("200 GB", 200 * 10**9),
        ("1.5 TiB", 3 * 2**39),
        ("1kB", 1000),
        ("1 KiB", 1024),
        ("0.1 GB", 10**8),
        ("7 B", 7),
        (" 3 MB ", 3 * 10**6),
        (5, 5),
    ],
)
def test_sizes_are_whole_bytes(text: object, n_bytes: int) -> None:
    assert parse_byte_size(text, "limit") == n_bytes


@pytest.mark.parametrize(
    "text", ["200", "200GBs", "GB", "-1 GB", "1,5 GB", "1e9 B", "0 GB", "", "10 gb", "٣ GB", 0, -1, True, 1.5, None]
)
def test_other_sizes_are_refused_by_name(text: object) -> None:
    with pytest.raises(ArgumentError, match=r"limit: expected .* such as '200 GB', got"):
        parse_byte_size(text, "limit")
