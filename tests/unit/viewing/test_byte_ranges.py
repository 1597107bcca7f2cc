"""The Range header, against the cases of RFC 9110, section 14.1.2."""

from __future__ import annotations

import pytest

from noether.data.zarr_store.viewing.byte_ranges import byte_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, (0, 100)),
        ("bytes=0-0", (0, 1)),
        ("bytes=10-19", (10, 20)),
        ("bytes=90-", (90, 100)),
        ("bytes=90-1000", (90, 100)),
        ("bytes=-5", (95, 100)),
        ("bytes=-500", (0, 100)),
        ("bytes=100-", None),
        ("bytes=-0", None),
        # A server ignores ranges that it does not know, and answers with the whole object.
        ("bytes=20-10", (0, 100)),
        ("bytes=0-1,5-6", (0, 100)),
        ("bytes=-", (0, 100)),
        ("rows=0-1", (0, 100)),
        ("bytes=" + "9" * 400 + "-", (0, 100)),
    ],
)
def test_a_range_is_that_of_the_rfc(header: str | None, expected: tuple[int, int] | None) -> None:
    assert byte_range(header, 100) == expected
