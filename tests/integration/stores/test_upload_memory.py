"""Uploads stream: their memory does not grow with the size of the object."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from noether.data.zarr_store.core.memory import memory_bytes, peak_memory_bytes
from noether.data.zarr_store.stores import open_storage
from support.s3_server import S3Server

pytestmark = pytest.mark.s3

MEGABYTE = 1 << 20
N_MEGABYTES = 200


def megabytes(count: int) -> Iterator[bytes]:
    return (bytes([number % 256]) * MEGABYTE for number in range(count))


def test_a_large_upload_takes_the_memory_of_a_few_parts(s3_root: str, s3_server: S3Server) -> None:
    storage = open_storage(s3_root, s3_server.obstore_options)
    # The first upload allocates the connections and threads of the client.
    storage.write_group("first.zarr", [("c/0/0", megabytes(40)), ("zarr.json", [b"root"])])
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak; see proc_pid_clear_refs(5)
    before = memory_bytes()
    storage.write_group("large.zarr", [("c/0/0", megabytes(N_MEGABYTES)), ("zarr.json", [b"root"])])
    assert peak_memory_bytes() - before < N_MEGABYTES * MEGABYTE / 2
    [shard] = storage.objects("large.zarr/c")
    assert shard.size == N_MEGABYTES * MEGABYTE
    for number in (0, 77, N_MEGABYTES - 1):
        part = storage.read_range("large.zarr/c/0/0", number * MEGABYTE, MEGABYTE)
        assert bytes(part) == bytes([number]) * MEGABYTE
