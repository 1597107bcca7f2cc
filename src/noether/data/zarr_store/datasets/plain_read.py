"""Measurement of the rate at which a disk or network delivers shards, without draws and without decoding."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

from noether.data.zarr_store.core import run_in_order
from noether.data.zarr_store.manifest import StoreManifest
from noether.data.zarr_store.reading import fields_by_domain
from noether.data.zarr_store.stores import Storage, is_remote, open_storage

__all__ = ["PlainRead", "plain_read"]

_BLOCK_BYTES = 8 << 20
# A single stream does not use the full bandwidth of a network.
_IN_FLIGHT = 16


@dataclass(frozen=True, slots=True)
class PlainRead:
    """The rates of two passes that read shards from front to back.

    Attributes
    ----------
    n_bytes : int
        Number of bytes that were read, the same in both passes.
    in_flight : int
        Number of reads of 8 MiB in flight at the same time.
    first_bytes_per_second, second_bytes_per_second : float
        Rates of the two passes. The second pass reads from memory the bytes that the operating system has cached.
    cached_before : float or None
        Share of these bytes that the operating system had in memory before the first pass; None if it does not report
        it.
    """

    n_bytes: int
    in_flight: int
    first_bytes_per_second: float
    second_bytes_per_second: float
    cached_before: float | None


class _Block(NamedTuple):
    key: str
    start: int
    length: int


def plain_read(
    root: str,
    manifest: StoreManifest,
    sample_ids: Sequence[str],
    fields: Iterable[str] | None,
    seconds: float,
    storage_options: Mapping[str, Any] | None = None,
) -> PlainRead | None:
    """Measure the rate of reading the shards of samples from front to back, and of reading the same bytes again.

    Parameters
    ----------
    root : str
        Path or URL of the store.
    manifest : StoreManifest
        Manifest of the store.
    sample_ids : sequence of str
        Ids of the samples, in this order.
    fields : iterable of str or None
        Canonical names of the fields; None takes all.
    seconds : float
        Duration after which the first pass ends; at least one block is read.
    storage_options : mapping, optional
        Options of the file system.

    Returns
    -------
    PlainRead or None
        The rates; None if no shard has the usual path, as in stores of other tools.
    """
    storage = open_storage(root, storage_options)
    wanted = None if fields is None else list(fields)
    blocks = _blocks(storage, (key for one in sample_ids for key in _shard_keys(manifest, one, wanted)))
    in_flight = _IN_FLIGHT if is_remote(storage.root) else 1
    cached = _Cached()
    # The buffer is filled, so that the first pass does not wait for the system to allocate pages.
    memory = bytearray(b"\1") * _BLOCK_BYTES
    read: list[_Block] = []
    begun, until = time.perf_counter(), time.perf_counter() + seconds

    def in_time() -> Iterator[_Block]:
        for block in blocks:
            if read and time.perf_counter() >= until:
                return
            cached.probe(storage, block)
            read.append(block)
            yield block

    n_bytes = _read_all(storage, in_time(), in_flight, memory)
    first = time.perf_counter() - begun - cached.seconds
    if not n_bytes:
        return None
    begun = time.perf_counter()
    _read_all(storage, iter(read), in_flight, memory)
    second = time.perf_counter() - begun
    return PlainRead(n_bytes, in_flight, n_bytes / first, n_bytes / second, cached.share)


def _read_all(storage: Storage, blocks: Iterator[_Block], in_flight: int, memory: bytearray) -> int:
    if in_flight == 1:
        return sum(_read_local(storage, block, memory) for block in blocks)
    with ThreadPoolExecutor(in_flight, thread_name_prefix="noether-plain") as pool:
        tasks = (lambda block=block: len(storage.read_range(*block)) for block in blocks)
        return sum(run_in_order(pool, tasks, in_flight))


def _read_local(storage: Storage, block: _Block, memory: bytearray) -> int:
    file = storage.local_file(block.key)
    if file is None or not hasattr(os, "preadv"):
        return len(storage.read_range(*block))
    return os.preadv(file.descriptor, [memoryview(memory)[: block.length]], block.start)


def _blocks(storage: Storage, keys: Iterable[str]) -> Iterator[_Block]:
    for key in keys:
        tail = storage.read_tail(key, 1)
        size = 0 if tail is None else tail[1]
        for start in range(0, size, _BLOCK_BYTES):
            yield _Block(key, start, min(_BLOCK_BYTES, size - start))


def _shard_keys(manifest: StoreManifest, sample_id: str, fields: list[str] | None) -> Iterator[str]:
    entry = manifest.sample(sample_id)
    for domain, layouts in fields_by_domain(manifest, sample_id, entry, fields).items():
        for layout in layouts:
            for shard in range(entry.domains[domain].grid.n_shards):
                yield f"{entry.relpath}/{layout.array_name}/c/{shard}/0"


class _Cached:
    """Checks which bytes of files are in the page cache of Linux. A probe never reads from a disk."""

    def __init__(self) -> None:
        self._n_probes = self._n_cached = 0
        self._can_probe = hasattr(os, "preadv") and hasattr(os, "RWF_NOWAIT")
        self.seconds = 0.0

    @property
    def share(self) -> float | None:
        """Share of the probes that were in memory; None if the system does not report it."""
        return self._n_cached / self._n_probes if self._can_probe and self._n_probes else None

    def probe(self, storage: Storage, block: _Block) -> None:
        """Probe some bytes of a block, and add to the counts."""
        file = storage.local_file(block.key)
        if file is None or not self._can_probe:
            self._can_probe = False
            return
        begun = time.perf_counter()
        for offset in range(block.start, block.start + block.length, _BLOCK_BYTES // 8):
            try:
                n_read = os.preadv(file.descriptor, [bytearray(1)], offset, os.RWF_NOWAIT)
            except BlockingIOError:
                n_read = 0
            except OSError:  # a file system that does not support RWF_NOWAIT
                self._can_probe = False
                return
            self._n_probes, self._n_cached = self._n_probes + 1, self._n_cached + n_read
        self.seconds += time.perf_counter() - begun
