"""What a sample's Zarr group is made of: its objects, one after the other, as keys and bytes.

zarr-python makes the bytes, into memory, one field at a time; nothing here knows where they go.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.buffer import Buffer
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec
from zarr.storage import MemoryStore

from noether.data.zarr_store.grid import Grid
from noether.data.zarr_store.layout import ArrayLayout
from noether.data.zarr_store.names import ROOT_KEY

__all__ = ["DomainArrays", "Encoding", "group_objects"]

POINT_DIMENSION = "point"


@dataclass(frozen=True, slots=True)
class Encoding:
    """How chunks become bytes: the level of zstd, and whether each carries a crc32c."""

    compression_level: int
    checksum: bool

    def compressors(self, dtype: np.dtype[Any]) -> list[BytesBytesCodec]:
        """Give the codecs after the plain bytes."""
        blosc = BloscCodec(cname="zstd", clevel=self.compression_level, shuffle="shuffle", typesize=dtype.itemsize)
        return [blosc, Crc32cCodec()] if self.checksum else [blosc]


@dataclass(frozen=True, slots=True)
class DomainArrays:
    """The arrays of one domain of one sample: source rows, and the order they are stored in.

    Attributes
    ----------
    grid : Grid
        Chunks and shards of every array.
    order : ndarray of int64, shape (n_points,)
        Stored row ``i`` is source row ``order[i]``.
    arrays : list of (ArrayLayout, ndarray of shape (n_points, dim))
        The fields, in source order and source dtype.
    """

    grid: Grid
    order: NDArray[np.int64]
    arrays: list[tuple[ArrayLayout, NDArray[Any]]]


def group_objects(
    domains: Mapping[str, DomainArrays], attributes: Mapping[str, Any], encoding: Encoding
) -> Iterator[tuple[str, bytes]]:
    """Yield the objects of a group as (key, bytes), the root ``zarr.json`` last.

    The root holds the consolidated metadata of all nodes, so that whoever finds it finds the whole group.
    """
    metadata: dict[str, Any] = {}
    for domain, content in domains.items():
        group = _group_metadata({})
        metadata[domain] = group
        yield f"{domain}/{ROOT_KEY}", _json_bytes(group)
        for layout, values in content.arrays:
            path = f"{domain}/{layout.array_name}"
            objects = _array_objects(path, layout, values, content, encoding)
            document = objects.pop(f"{path}/{ROOT_KEY}")
            metadata[path] = json.loads(document)
            yield f"{path}/{ROOT_KEY}", document
            yield from objects.items()
    root = _group_metadata(attributes)
    root["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": metadata}
    yield ROOT_KEY, _json_bytes(root)


def _array_objects(
    path: str, layout: ArrayLayout, values: NDArray[Any], content: DomainArrays, encoding: Encoding
) -> dict[str, bytes]:
    dtype, grid = np.dtype(layout.dtype), content.grid
    memory: dict[str, Buffer] = {}
    array = zarr.create_array(
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
        # A field that is zero all over has its bytes too: a missing object always means a lost one.
        config={"write_empty_chunks": True},
    )
    # Shard by shard, so that one shard is shuffled and cast at a time.
    for start in range(0, grid.n_points, grid.shard_points):
        rows = content.order[start : start + grid.shard_points]
        # Overflow was refused before; what is cast to infinity here was infinite in the source.
        array[start : start + len(rows)] = values[rows].astype(dtype)
    return {key: memory[key].to_bytes() for key in sorted(memory) if key.startswith(f"{path}/")}


def _group_metadata(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}


def _json_bytes(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=2, allow_nan=False).encode()
