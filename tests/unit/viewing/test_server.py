"""The address at which a browser may read a store."""

from __future__ import annotations

from typing import Any

import pytest

from noether.data.zarr_store.viewing.server import _web_address


@pytest.mark.parametrize(
    ("root", "options", "address"),
    [
        ("https://example.org/store", {}, "https://example.org/store/"),
        ("gs://bucket/store/", {}, "https://storage.googleapis.com/bucket/store/"),
        ("s3://bucket/a/store", {"endpoint": "http://127.0.0.1:8333/"}, "http://127.0.0.1:8333/bucket/a/store/"),
        ("s3://bucket/a/store", {"region": "eu-central-1"}, "https://bucket.s3.eu-central-1.amazonaws.com/a/store/"),
        ("s3://bucket/store", {}, None),
        ("/data/store", {}, None),
        ("memory://store", {}, None),
    ],
)
def test_the_web_address_is_that_of_the_bucket(root: str, options: dict[str, Any], address: str | None) -> None:
    assert _web_address(root, options) == address
