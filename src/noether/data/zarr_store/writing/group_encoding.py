"""The objects of a sample's Zarr group, one after the other, as keys and blocks of bytes.

zarr-python makes the metadata, and `codec.shard` encodes the chunks. This module is independent of the storage. Memory
never holds a whole shard: the chunks of a shard are encoded lazily, a few at a time, as the caller takes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import zarr
from zarr.abc.buffer import Buffer
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec
from zarr.storage import MemoryStore

from noether.data.zarr_store.codec import MAX_RUN_CHUNKS, ChunkCodec, ContentChecksum, ShardIndex
from noether.data.zarr_store.core import ROOT_KEY, ZERO_CHECKSUM, Grid, run_in_order, with_checksum
from noether.data.zarr_store.layout import ArrayLayout
from noether.data.zarr_store.writing.stored_rows import StoredRows

__all__ = [
    "DomainArrays",
    "Encoding",
    "GroupArray",
    "array_document",
    "counted",
    "encoded",
    "group_metadata",
    "group_objects",
    "node_document",
    "root_document",
]


POINT_DIMENSION = "point"

_NO_ATTRIBUTES: Mapping[str, Any] = MappingProxyType({})

# Approximate number of bytes that a thread encodes in one task. One task per chunk would take 10 % more time.
_TASK_BYTES = 1 << 18
# Maximum number of tasks per thread whose chunks the caller has not taken yet.
_TASKS_AHEAD = 3


@dataclass(frozen=True, slots=True)
class Encoding:
    """The encoding of chunks: compression level, a crc32c for each chunk or not, and the number of threads.

    The encoded bytes do not depend on the number of threads.
    """

    compression_level: int
    checksum: bool
    threads: int

    def compressors(self, dtype: np.dtype[Any]) -> list[BytesBytesCodec]:
        """Return the codecs that follow the ``bytes`` codec in the metadata of an array."""
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


@dataclass(frozen=True, slots=True)
class GroupArray:
    """The encoded bytes of one array of a group.

    Attributes
    ----------
    field : str
        Canonical name of the field.
    path : str
        Path of the array in the group.
    metadata : bytes
        The ``zarr.json`` of the array.
    shards : iterable of iterable of bytes
        The shards in order, each as blocks of bytes.
    checksum : ContentChecksum
        Checksum of all chunks that were taken so far.
    """

    field: str
    path: str
    metadata: bytes
    shards: Iterable[Iterable[bytes]]
    checksum: ContentChecksum


def group_objects(
    domains: Iterable[tuple[str, Iterable[GroupArray]]], attributes_for: Callable[[dict[str, str]], Mapping[str, Any]]
) -> Generator[tuple[str, Iterable[bytes]]]:
    """Yield the objects of a group as (key, blocks of bytes), the root ``zarr.json`` last.

    The caller must take all blocks of an object before the next object. The root holds the consolidated metadata of all
    nodes, and it comes last: a group with a root is complete. The next domain is taken from `domains` only after the
    previous domain was released.

    Parameters
    ----------
    domains : iterable of (str, iterable of GroupArray)
        The arrays of each domain.
    attributes_for : callable of dict of str to str to mapping
        Function that returns the attributes of the group from the content checksums by canonical field name. It is
        called once, after all shards were taken.
    """
    content: dict[str, str] = {}
    metadata: dict[str, Any] = {}
    for domain, arrays in domains:
        metadata[domain] = group_metadata({})
        yield f"{domain}/{ROOT_KEY}", [node_document(metadata[domain])]
        for array in arrays:
            for group in _groups_above(array.path):
                if group not in metadata:  # in a store of another program, an array can be outside its domain's group
                    metadata[group] = group_metadata({})
                    yield f"{group}/{ROOT_KEY}", [node_document(metadata[group])]
            metadata[array.path] = json.loads(array.metadata)
            yield f"{array.path}/{ROOT_KEY}", [array.metadata]
            for shard, parts in enumerate(array.shards):
                yield f"{array.path}/c/{shard}/0", parts
            content[array.field] = array.checksum.digits
        del arrays, array  # free the memory before the next domain, which can be as large
    yield ROOT_KEY, [root_document(attributes_for(content), metadata)]


def _groups_above(path: str) -> Iterator[str]:
    """Return an iterator over the paths of all Zarr groups between the root and an array."""
    names = path.split("/")[:-1]
    return ("/".join(names[:depth]) for depth in range(1, len(names) + 1))


def root_document(attributes: Mapping[str, Any], metadata: Mapping[str, Any]) -> bytes:
    """Return the root ``zarr.json`` of a group, with its checksum.

    Parameters
    ----------
    attributes : mapping
        Attributes of the group.
    metadata : mapping
        Content of the ``zarr.json`` of each node below the root, by path.
    """
    root = group_metadata(ZERO_CHECKSUM | dict(attributes))
    root["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": metadata}
    return with_checksum(node_document(root))


def node_document(metadata: Mapping[str, Any]) -> bytes:
    """Return a ``zarr.json`` with this content, formatted as by zarr-python."""
    return json.dumps(metadata, indent=2, allow_nan=False).encode()


def encoded(
    domains: Iterable[tuple[str, DomainArrays]],
    encoding: Encoding,
    field_attributes: Mapping[str, Mapping[str, str]] = _NO_ATTRIBUTES,
) -> Generator[tuple[str, Iterator[GroupArray]]]:
    """Yield each domain with its encoded arrays. Threads encode them; only one domain is in memory at a time."""
    with ThreadPoolExecutor(encoding.threads, thread_name_prefix="noether-write") as pool:
        for domain, content in domains:
            yield domain, _encoded_arrays(content, encoding, field_attributes, pool)
            del content  # free the memory before the next domain, which can be as large


def _encoded_arrays(
    content: DomainArrays,
    encoding: Encoding,
    field_attributes: Mapping[str, Mapping[str, str]],
    pool: ThreadPoolExecutor,
) -> Iterator[GroupArray]:
    grid = content.grid
    for layout, rows in content.arrays:
        document = array_document(layout, grid, encoding, field_attributes.get(layout.field, _NO_ATTRIBUTES))
        checksum = ContentChecksum(follows_chunks=encoding.checksum)
        make = partial(_shard_parts, layout, rows, grid, encoding, pool, checksum)
        yield GroupArray(layout.field, layout.array_name, document, map(make, range(grid.n_shards)), checksum)


def counted(
    objects: Iterable[tuple[str, Iterable[bytes]]], on_bytes: Callable[[int], None]
) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Yield the objects of a group, and call `on_bytes` with the size of each block when it is taken."""

    def count(parts: Iterable[bytes]) -> Iterator[bytes]:
        for part in parts:
            on_bytes(len(part))
            yield part

    for key, parts in objects:
        if isinstance(parts, list):  # keep the list, because a storage can write a finished object in another way
            on_bytes(sum(map(len, parts)))
            yield key, parts
        else:
            yield key, count(parts)


def array_document(
    layout: ArrayLayout, grid: Grid, encoding: Encoding, attributes: Mapping[str, str] = _NO_ATTRIBUTES
) -> bytes:
    """Return the ``zarr.json`` of an array, with `attributes` as its attributes."""
    dtype = np.dtype(layout.dtype)
    memory: dict[str, Buffer] = {}
    zarr.create_array(
        MemoryStore(memory),
        name=layout.array_name,
        shape=(grid.n_points, layout.dim),
        dtype=dtype,
        chunks=(grid.chunk_points, layout.dim),
        shards=(grid.shard_points, layout.dim),
        serializer=BytesCodec(endian="little"),
        compressors=encoding.compressors(dtype),
        fill_value=0,
        dimension_names=(POINT_DIMENSION, f"{layout.name}_component"),
        attributes=dict(attributes),
    )
    # The configuration of zarr-python can change the format of its JSON.
    return node_document(json.loads(memory[f"{layout.array_name}/{ROOT_KEY}"].to_bytes()))


def _shard_parts(
    layout: ArrayLayout,
    rows: StoredRows,
    grid: Grid,
    encoding: Encoding,
    pool: ThreadPoolExecutor,
    checksum: ContentChecksum,
    shard: int,
) -> Iterator[bytes]:
    """Yield the chunks of a shard in order, then its index.

    Chunks of only zeros are stored too, so that a missing chunk always means a lost chunk.
    """
    dtype = np.dtype(layout.dtype).newbyteorder("<")
    codec = ChunkCodec(dtype, grid.chunk_points, layout.dim, encoding.checksum, level=encoding.compression_level)

    def make(chunks: Sequence[int]) -> tuple[bytes, list[int]]:
        bounds = grid.rows(chunks[0], chunks[-1] + 1)
        made = [codec.encode_run(values, order) for values, order in rows.parts(bounds.start, bounds.stop)]
        return b"".join(data for data, _ in made), [length for _, lengths in made for length in lengths]

    per_shard = grid.shard_points // grid.chunk_points
    chunks = range(shard * per_shard, min((shard + 1) * per_shard, grid.n_chunks))
    per_task = min(max(_TASK_BYTES // codec.n_bytes, 1), MAX_RUN_CHUNKS)
    tasks = (partial(make, chunks[first : first + per_task]) for first in range(0, len(chunks), per_task))
    lengths: list[int] = []
    for data, made in run_in_order(pool, tasks, encoding.threads * _TASKS_AHEAD):
        lengths += made
        checksum.add(data, made)
        yield data
    yield ShardIndex.of_lengths(lengths, per_shard).encode()


def group_metadata(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of the ``zarr.json`` of a group, without consolidated metadata."""
    return {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}
