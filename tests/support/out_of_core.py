"""The code path for samples that do not fit in memory, at sizes that fit in a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from noether.data.zarr_store.writing import bucket_order, source_rows, validation

__all__ = ["scratch_bytes", "scratch_files", "shrink"]


def shrink(
    monkeypatch: pytest.MonkeyPatch,
    bucket_bytes: int,
    *,
    block_bytes: int | None = None,
    block_rows: int | None = None,
) -> None:
    """Set the size of buckets, the size up to which samples are loaded, and optionally the size of blocks."""
    monkeypatch.setattr(source_rows, "_SMALL_BYTES", bucket_bytes)
    monkeypatch.setattr(validation, "_LOADED_BYTES", bucket_bytes)
    monkeypatch.setattr(bucket_order, "BUCKET_BYTES", bucket_bytes)
    if block_bytes is not None:
        monkeypatch.setattr(source_rows, "BLOCK_BYTES", block_bytes)
    if block_rows is not None:
        monkeypatch.setattr(bucket_order, "_BLOCK_ROWS", block_rows)


def scratch_files(directory: Path) -> list[str]:
    """Return the files in a directory, and the files without a name that this process has open there."""
    links = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(link.readlink()))
        except FileNotFoundError:  # that of the listing itself
            continue
    return [path.name for path in directory.iterdir()] + [link for link in links if link.startswith(f"{directory}/")]


def scratch_bytes(directory: Path) -> int:
    """Return the total size of the files without a name that this process has open in a directory."""
    sizes = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            if str(link.readlink()).startswith(f"{directory}/"):
                sizes.append(link.stat().st_size)
        except FileNotFoundError:  # that of the listing itself
            continue
    return sum(sizes)
