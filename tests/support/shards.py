"""Arrays of one field on disk, written and read by this library and by others."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import tensorstore
import zarr
import zarrs
from numpy.typing import NDArray
from zarr.abc.codec import Codec
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec

from noether.data.zarr_store.codec.shard import ChunkCodec
from noether.data.zarr_store.codec.shard_index import ShardIndex, index_size
from noether.data.zarr_store.core.grid import Grid

Metadata = dict[str, Any]


def little_endian(name: str) -> np.dtype[Any]:
    return np.dtype(name).newbyteorder("<")


@dataclass(frozen=True)
class Settings:
    """The encoding of an array; the defaults of the blosc settings are those of `ZarrStoreWriter`."""

    grid: Grid
    width: int = 3
    dtype: str = "float32"
    checksum: bool = True
    level: int = 1
    cname: str = "zstd"
    shuffle: str = "shuffle"
    fill_value: float = 0.0

    @property
    def codec(self) -> ChunkCodec:
        rows, dtype = self.grid.chunk_points, little_endian(self.dtype)
        return ChunkCodec(dtype, rows, self.width, self.checksum, self.fill_value, self.level)

    def chain(self) -> list[Codec]:
        blosc: Any = BloscCodec(
            cname=self.cname,  # type: ignore[arg-type]  # its annotation lists the same names
            clevel=self.level,
            shuffle=self.shuffle,  # type: ignore[arg-type]  # as above
            typesize=np.dtype(self.dtype).itemsize,
        )
        return [BytesCodec(endian="little"), blosc, *([Crc32cCodec()] if self.checksum else [])]

    def create(self, path: Path) -> zarr.Array[Any]:
        """Create the array with zarr-python; nothing is stored yet."""
        return zarr.create_array(
            path,
            shape=(self.grid.n_points, self.width),
            chunks=(self.grid.shard_points, self.width),
            dtype=self.dtype,
            fill_value=self.fill_value,
            serializer=ShardingCodec(chunk_shape=(self.grid.chunk_points, self.width), codecs=self.chain()),
            compressors=None,
        )


def write_with_zarr_python(path: Path, values: NDArray[Any], settings: Settings, *, empty_chunks: bool) -> None:
    with zarr.config.set({"array.write_empty_chunks": empty_chunks}):
        settings.create(path)[:] = values


def write_with_ours(path: Path, values: NDArray[Any], settings: Settings) -> None:
    """Write the shards with this library, and only the metadata with zarr-python."""
    settings.create(path)
    for shard, data in enumerate(encode_shards(values, settings)):
        file = path / "c" / str(shard) / "0"
        file.parent.mkdir(parents=True)
        file.write_bytes(data)


def write_with_tensorstore(path: Path, values: NDArray[Any], settings: Settings, *, empty_chunks: bool) -> None:
    settings.create(path)
    spec = tensorstore_spec(path) | {"store_data_equal_to_fill_value": empty_chunks}
    tensorstore.open(spec, write=True).result().write(values).result()


def write_with_zarrs(path: Path, values: NDArray[Any], settings: Settings, *, empty_chunks: bool) -> None:
    with only_zarrs(), zarr.config.set({"array.write_empty_chunks": empty_chunks}):
        settings.create(path)[:] = values


def encode_chunk(codec: ChunkCodec, rows: NDArray[Any]) -> bytes:
    data, _ = codec.encode_run(rows)
    return data


def encode_shards(values: NDArray[Any], settings: Settings) -> Iterator[bytes]:
    grid, codec = settings.grid, settings.codec
    per_shard = grid.shard_points // grid.chunk_points
    for first in range(0, grid.n_chunks, per_shard):
        chunks = range(first, min(first + per_shard, grid.n_chunks))
        bounds = grid.rows(chunks[0], chunks[-1] + 1)
        data, lengths = codec.encode_run(np.ascontiguousarray(values[bounds]))
        yield data + ShardIndex.of_lengths(lengths, per_shard).encode()


def with_ours(path: Path) -> NDArray[Any]:
    metadata: Metadata = json.loads((path / "zarr.json").read_bytes())
    codec = ChunkCodec.of_metadata(metadata)
    assert codec is not None
    (n_points, _), (shard_points, _) = metadata["shape"], metadata["chunk_grid"]["configuration"]["chunk_shape"]
    grid = Grid(n_points, codec.rows, shard_points)
    per_shard = grid.shard_points // grid.chunk_points
    values = np.full((grid.n_shards * shard_points, codec.width), codec.fill_value, codec.dtype)
    for shard in range(grid.n_shards):
        file = path / "c" / str(shard) / "0"
        if file.exists():
            data = file.read_bytes()
            index = ShardIndex.decode(data[-index_size(per_shard) :], per_shard, len(data))
            for chunk in range(per_shard):
                ((start, length),) = index.ranges_of(chunk)
                row = (shard * per_shard + chunk) * codec.rows
                if length:
                    codec.decode_into(data[start : start + length], values[row : row + codec.rows])
    return values[:n_points]


def with_zarr_python(path: Path) -> NDArray[Any]:
    return np.asarray(zarr.open_array(path, mode="r")[:])


def with_zarrs(path: Path) -> NDArray[Any]:
    with only_zarrs():
        return with_zarr_python(path)


@contextmanager
def only_zarrs() -> Iterator[None]:
    """Encode and decode with zarrs only; codecs that it does not support are errors."""
    pipeline = f"{zarrs.ZarrsCodecPipeline.__module__}.{zarrs.ZarrsCodecPipeline.__qualname__}"
    with zarr.config.set({"codec_pipeline": {"path": pipeline, "strict": True}}):
        yield


def with_tensorstore(path: Path) -> NDArray[Any]:
    return np.asarray(tensorstore.open(tensorstore_spec(path), read=True).result().read().result())


def tensorstore_spec(path: Path) -> dict[str, Any]:
    return {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}}


def shards_of(path: Path) -> dict[str, bytes]:
    """Return the bytes of every shard of an array, by file."""
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.glob("c/*/*")}


def with_crc(data: bytes) -> bytes:
    return data + struct.pack("<I", google_crc32c.value(data))


def forge_index(entries: Iterable[tuple[int, int]]) -> bytes:
    """Return an index with any entries and a correct checksum."""
    return with_crc(b"".join(struct.pack("<QQ", *entry) for entry in entries))


def forge_header(chunk: bytes, **claims: int) -> bytes:
    """Return a chunk without checksum whose header claims other numbers."""
    names = ("version", "versionlz", "flags", "typesize", "nbytes", "blocksize", "cbytes")
    header = dict(zip(names, struct.unpack_from("<4B3I", chunk), strict=True))
    return struct.pack("<4B3I", *(header | claims).values()) + chunk[16:]
