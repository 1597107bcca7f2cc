"""The server of the viewer, before it serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from noether.data.zarr_store.errors import MissingDependencyError, StorageError
from noether.data.zarr_store.viewing import page, server
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


def test_a_missing_library_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"needs starlette.*pip install 'noether-zarr-store\[view\]'"):
        server.ViewServer("/data/store")


def test_a_page_that_was_not_built_is_named_with_the_way_to_build_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "_PAGE", tmp_path)
    with pytest.raises(StorageError, match=r"the page of the viewer is not built; run \./scripts/viewer"):
        page.page_directory()
