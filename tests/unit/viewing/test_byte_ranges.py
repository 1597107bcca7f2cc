"""The Range header, against the cases of RFC 9110, section 14.1.2."""

from __future__ import annotations

import pytest

from noether.data.zarr_store.viewing.byte_ranges import parse_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=10-19", (10, 20)),
        ("bytes=90-", (90, 100)),
        ("bytes=90-1000", (90, 100)),
        ("bytes=-5", (95, 100)),
        ("bytes=-500", (0, 100)),
        ("bytes=100-", None),
        ("bytes=100-110", None),
        ("bytes=-0", None),
    ],
)
def test_a_range_has_the_bytes_of_the_rfc(header: str, expected: tuple[int, int] | None) -> None:
    found = parse_range(header)
    assert found is not None
    assert found.within(100) == expected


@pytest.mark.parametrize(
    "header", [None, "", "bytes=20-10", "bytes=0-1,5-6", "bytes=-", "rows=0-1", "bytes=" + "9" * 400 + "-"]
)
def test_a_header_that_a_server_may_ignore_is_no_range(header: str | None) -> None:
    assert parse_range(header) is None


@pytest.mark.parametrize(("header", "bounds"), [("bytes=3-7", (3, 8)), ("bytes=3-", None), ("bytes=-3", None)])
def test_bounds_do_not_need_the_size(header: str, bounds: tuple[int, int] | None) -> None:
    found = parse_range(header)
    assert found is not None
    assert found.bounds == bounds
