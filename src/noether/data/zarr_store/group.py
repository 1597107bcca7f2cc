"""What a sample's Zarr group is made of: its objects, one after the other, as keys and parts of bytes.

zarr-python makes the metadata, `shard` the bytes of the chunks. Nothing here knows where they go, and no object is
ever whole in memory: a shard is made a few chunks at a time, as fast as whoever takes the parts takes them.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import zarr
from zarr.abc.buffer import Buffer
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec
from zarr.storage import MemoryStore

from noether.data.zarr_store.grid import Grid
from noether.data.zarr_store.layout import ArrayLayout
from noether.data.zarr_store.names import ROOT_KEY
from noether.data.zarr_store.rows import StoredRows
from noether.data.zarr_store.shard import ChunkCodec, ShardIndex

__all__ = ["DomainArrays", "Encoding", "default_threads", "group_objects"]

POINT_DIMENSION = "point"

# A thread makes chunks of about so many bytes at a time: handing over every single one takes a tenth of the time.
_TASK_BYTES = 1 << 18
# Such tasks per thread that run ahead of whoever takes their chunks.
_TASKS_AHEAD = 3


def default_threads() -> int:
    """Give the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Encoding:
    """How chunks become bytes: the level of zstd, whether each carries a crc32c, and how many are made at once.

    The bytes do not depend on the number of threads.
    """

    compression_level: int
    checksum: bool
    threads: int

    def compressors(self, dtype: np.dtype[Any]) -> list[BytesBytesCodec]:
        """Give the codecs after the plain bytes, for the metadata."""
        blosc = BloscCodec(cname="zstd", clevel=self.compression_level, shuffle="shuffle", typesize=dtype.itemsize)
        return [blosc, Crc32cCodec()] if self.checksum else [blosc]


@dataclass(frozen=True, slots=True)
class DomainArrays:
    """The arrays of one domain of one sample.

    Attributes
    ----------
    grid : Grid
        Chunks and shards of every array.
    arrays : list of (ArrayLayout, StoredRows)
        The fields.
    """

    grid: Grid
    arrays: list[tuple[ArrayLayout, StoredRows]]


def group_objects(
    domains: Iterable[tuple[str, DomainArrays]], attributes: Mapping[str, Any], encoding: Encoding
) -> Generator[tuple[str, Iterable[bytes]]]:
    """Yield the objects of a group as (key, parts), the root ``zarr.json`` last.

    The parts of an object are to be taken before the next object is asked for. The root holds the consolidated
    metadata of all nodes, so that whoever finds it finds the whole group. A domain is asked for when the one before
    it is done and forgotten.
    """
    metadata: dict[str, Any] = {}
    with ThreadPoolExecutor(encoding.threads, thread_name_prefix="noether-write") as pool:
        for domain, content in domains:
            group = _group_metadata({})
            metadata[domain] = group
            yield f"{domain}/{ROOT_KEY}", [_json_bytes(group)]
            for layout, rows in content.arrays:
                path = f"{domain}/{layout.array_name}"
                document = _array_metadata(path, layout, content.grid, encoding)
                metadata[path] = json.loads(document)
                yield f"{path}/{ROOT_KEY}", [document]
                for shard in range(content.grid.n_shards):
                    yield f"{path}/c/{shard}/0", _shard_parts(shard, layout, rows, content.grid, encoding, pool)
            del content, rows  # the next domain may be as large
    root = _group_metadata(attributes)
    root["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": metadata}
    yield ROOT_KEY, [_json_bytes(root)]


def _array_metadata(path: str, layout: ArrayLayout, grid: Grid, encoding: Encoding) -> bytes:
    dtype = np.dtype(layout.dtype)
    memory: dict[str, Buffer] = {}
    zarr.create_array(
        MemoryStore(memory),
        name=path,
        shape=(grid.n_points, layout.dim),
        dtype=dtype,
        chunks=(grid.chunk_points, layout.dim),
        shards=(grid.shard_points, layout.dim),
        serializer=BytesCodec(endian="little"),
        compressors=encoding.compressors(dtype),
        fill_value=0,
        dimension_names=(POINT_DIMENSION, f"{layout.array_name}_component"),
    )
    return memory[f"{path}/{ROOT_KEY}"].to_bytes()


def _shard_parts(
    shard: int, layout: ArrayLayout, rows: StoredRows, grid: Grid, encoding: Encoding, pool: ThreadPoolExecutor
) -> Iterator[bytes]:
    """Yield the chunks of a shard in order, then its index.

    Chunks that are zero all over are stored as well: a missing one always means a lost one.
    """
    dtype = np.dtype(layout.dtype).newbyteorder("<")
    codec = ChunkCodec(dtype, grid.chunk_points, layout.dim, encoding.checksum, level=encoding.compression_level)

    def make(chunks: Sequence[int]) -> list[bytes]:
        parts = (grid.rows(chunk, chunk + 1) for chunk in chunks)
        return [codec.encode(rows.chunk(part.start, part.stop)) for part in parts]

    per_shard = grid.shard_points // grid.chunk_points
    chunks = range(shard * per_shard, min((shard + 1) * per_shard, grid.n_chunks))
    per_task = max(_TASK_BYTES // codec.n_bytes, 1)
    tasks = (partial(make, chunks[first : first + per_task]) for first in range(0, len(chunks), per_task))
    lengths: list[int] = []
    for made in _in_order(pool, tasks, encoding.threads * _TASKS_AHEAD):
        lengths += map(len, made)
        yield b"".join(made)
    yield ShardIndex.of_lengths(lengths, per_shard).encode()


def _in_order(
    pool: ThreadPoolExecutor, tasks: Iterable[Callable[[], list[bytes]]], ahead: int
) -> Iterator[list[bytes]]:
    """Run tasks in threads, at most `ahead` of them before their results are taken, and yield these in order."""
    running: deque[Future[list[bytes]]] = deque()
    try:
        for task in tasks:
            if len(running) == ahead:
                yield running.popleft().result()
            running.append(pool.submit(task))
        while running:
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()


def _group_metadata(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}


def _json_bytes(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=2, allow_nan=False).encode()
