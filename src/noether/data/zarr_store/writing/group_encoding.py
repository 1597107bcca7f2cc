"""What a sample's Zarr group is made of: its objects, one after the other, as keys and parts of bytes.

zarr-python makes the metadata, `shard` the bytes of the chunks. Nothing here knows where they go, and no object is
ever whole in memory: a shard is made a few chunks at a time, as fast as whoever takes the parts takes them.
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

# A thread makes chunks of about so many bytes at a time: handing over every single one takes a tenth of the time.
_TASK_BYTES = 1 << 18
# Such tasks per thread that run ahead of whoever takes their chunks.
_TASKS_AHEAD = 3


@dataclass(frozen=True, slots=True)
class Encoding:
    """How chunks become bytes: the level of zstd, whether each carries a crc32c, and how many are made at once.

    The bytes do not depend on the number of threads.
    """

    compression_level: int
    checksum: bool
    threads: int

    def compressors(self, dtype: np.dtype[Any]) -> list[BytesBytesCodec]:
        """Return the codecs after the plain bytes, for the metadata."""
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
    """One array of a group as its bytes.

    Attributes
    ----------
    field : str
        Canonical name.
    path : str
        In the group.
    metadata : bytes
        Its ``zarr.json``.
    shards : iterable of iterable of bytes
        Its shards in order, each in parts.
    checksum : ContentChecksum
        The checksum of the chunks of the shards, as they are taken.
    """

    field: str
    path: str
    metadata: bytes
    shards: Iterable[Iterable[bytes]]
    checksum: ContentChecksum


def group_objects(
    domains: Iterable[tuple[str, Iterable[GroupArray]]], attributes_for: Callable[[dict[str, str]], Mapping[str, Any]]
) -> Generator[tuple[str, Iterable[bytes]]]:
    """Yield the objects of a group as (key, parts), the root ``zarr.json`` last.

    The parts of an object are to be taken before the next object is asked for. The root holds the consolidated
    metadata of all nodes, so that whoever finds it finds the whole group. A domain is asked for when the one before
    it is done and forgotten.

    Parameters
    ----------
    domains : iterable of (str, iterable of GroupArray)
        The arrays of each domain.
    attributes_for : callable of dict of str to str to mapping
        Returns the attributes of the group for the checksums of its content, by canonical field name. Called once,
        after all shards were taken.
    """
    content: dict[str, str] = {}
    metadata: dict[str, Any] = {}
    for domain, arrays in domains:
        metadata[domain] = group_metadata({})
        yield f"{domain}/{ROOT_KEY}", [node_document(metadata[domain])]
        for array in arrays:
            for group in _groups_above(array.path):
                if group not in metadata:  # an array of a store from elsewhere need not lie in its domain
                    metadata[group] = group_metadata({})
                    yield f"{group}/{ROOT_KEY}", [node_document(metadata[group])]
            metadata[array.path] = json.loads(array.metadata)
            yield f"{array.path}/{ROOT_KEY}", [array.metadata]
            for shard, parts in enumerate(array.shards):
                yield f"{array.path}/c/{shard}/0", parts
            content[array.field] = array.checksum.digits
        del arrays, array  # the next domain may be as large
    yield ROOT_KEY, [root_document(attributes_for(content), metadata)]


def _groups_above(path: str) -> Iterator[str]:
    """Yield the path of each Zarr group that an array lies in, below the root."""
    names = path.split("/")[:-1]
    return ("/".join(names[:depth]) for depth in range(1, len(names) + 1))


def root_document(attributes: Mapping[str, Any], metadata: Mapping[str, Any]) -> bytes:
    """Return the root ``zarr.json`` of a group, with its checksum.

    Parameters
    ----------
    attributes : mapping
        Those of the group.
    metadata : mapping
        By path, what the ``zarr.json`` of each node below says.
    """
    root = group_metadata(ZERO_CHECKSUM | dict(attributes))
    root["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": metadata}
    return with_checksum(node_document(root))


def node_document(metadata: Mapping[str, Any]) -> bytes:
    """Return the ``zarr.json`` that says this, as zarr-python lays it out."""
    return json.dumps(metadata, indent=2, allow_nan=False).encode()


def encoded(
    domains: Iterable[tuple[str, DomainArrays]],
    encoding: Encoding,
    field_attributes: Mapping[str, Mapping[str, str]] = _NO_ATTRIBUTES,
) -> Generator[tuple[str, Iterator[GroupArray]]]:
    """Encode the arrays of each domain, in threads; one domain at a time is held."""
    with ThreadPoolExecutor(encoding.threads, thread_name_prefix="noether-write") as pool:
        for domain, content in domains:
            yield domain, _encoded_arrays(content, encoding, field_attributes, pool)
            del content  # the next domain may be as large


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
    """Yield the objects of a group, and tell `on_bytes` the size of each of their parts as it is taken."""

    def count(parts: Iterable[bytes]) -> Iterator[bytes]:
        for part in parts:
            on_bytes(len(part))
            yield part

    for key, parts in objects:
        if isinstance(parts, list):  # a storage may take a small object otherwise than one that is still being made
            on_bytes(sum(map(len, parts)))
            yield key, parts
        else:
            yield key, count(parts)


def array_document(
    layout: ArrayLayout, grid: Grid, encoding: Encoding, attributes: Mapping[str, str] = _NO_ATTRIBUTES
) -> bytes:
    """Return the ``zarr.json`` of an array with these attributes, or none."""
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
    # zarr-python can be told to lay its JSON out otherwise.
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

    Chunks that are zero all over are stored as well: a missing one always means a lost one.
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
    """Return what the ``zarr.json`` of a group says, but for copies of its nodes'."""
    return {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}
