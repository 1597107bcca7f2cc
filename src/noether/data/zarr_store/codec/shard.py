"""Chunks to the bytes of a shard, and back. Pure: bytes in, bytes out.

A shard is its chunks one after the other, then its index: offset and length of every chunk as little-endian uint64, and
the crc32c of these (Zarr's codec ``sharding_indexed``). A chunk is its rows, little endian in C order, compressed by
blosc, and then its own crc32c where checksums are on.

Whatever is decoded here may be damaged or forged: no size is believed before it is compared with what the grid says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import google_crc32c
import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from noether.data.zarr_store.codec import native
from noether.data.zarr_store.codec.blosc_encoding import FRAME_HEADER, encode_frame
from noether.data.zarr_store.errors import CorruptDataError

__all__ = ["MAX_RUN_CHUNKS", "MIN_STORED_BYTES", "MISSING", "ChunkCodec", "ShardIndex", "index_size"]

# blosc's own threads are off. Chunks are our unit of parallel work; without threads of its own, blosc is safe to call
# from many of ours, and its bytes do not depend on their number. numcodecs has this switch for the whole process only.
blosc.use_threads = False

Buffer = bytes | memoryview

MISSING = (1 << 64) - 1
"""Offset and length of a chunk that is not stored: all of it has the fill value."""

MAX_RUN_CHUNKS = 4096
"""Most chunks that are decoded in one step: the compiled module has room for the bounds of so many (`module.c`)."""

_CRC_BYTES = 4
_ENTRY_BYTES = 16
# Larger than any array; what is computed from sizes up to it fits in 64 bits.
_MAX_SIZE = 1 << 48

MIN_STORED_BYTES = FRAME_HEADER.size
"""Fewest bytes that a chunk can have in a shard."""


@dataclass(frozen=True, slots=True)
class ChunkCodec:
    """How the rows of a chunk become bytes.

    Attributes
    ----------
    dtype : numpy.dtype
        Stored dtype, little endian.
    rows, width : int
        Shape of a chunk. A short last chunk is padded to it.
    checksum : bool
        Whether the crc32c of the compressed bytes follows them.
    fill_value : float
        What pads, and what a chunk holds that is not stored.
    level : int
        Compression level, 0 to 9, for encoding; see `blosc_encoding.encode_frame`.
    """

    dtype: np.dtype[Any]
    rows: int
    width: int
    checksum: bool = True
    fill_value: float = 0.0
    level: int = 5

    @property
    def n_bytes(self) -> int:
        """Bytes of a chunk before compression."""
        return self.rows * self.width * self.dtype.itemsize

    @property
    def max_stored_bytes(self) -> int:
        """Most bytes that a chunk can have in a shard: blosc stores what it cannot compress as it is."""
        return self.n_bytes + FRAME_HEADER.size + _CRC_BYTES

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, Any]) -> Self | None:
        """Read the codec of an array from its ``zarr.json``; None where it is not the one of this module."""
        try:
            (sharding,) = metadata["codecs"]
            inner = sharding["configuration"]
            rows, width = _sizes(inner["chunk_shape"])
            shard_rows, shard_width = _sizes(metadata["chunk_grid"]["configuration"]["chunk_shape"])
            _, array_width = _sizes(metadata["shape"])
            names = [codec["name"] for codec in inner["codecs"]]
            supported = (
                sharding["name"] == "sharding_indexed"
                and names in (["bytes", "blosc"], ["bytes", "blosc", "crc32c"])
                and _is_little_endian(inner["codecs"][0])
                and inner.get("index_location", "end") == "end"
                and [codec["name"] for codec in inner["index_codecs"]] == ["bytes", "crc32c"]
                and _is_little_endian(inner["index_codecs"][0])
                and metadata["chunk_key_encoding"]["name"] == "default"
                and metadata["chunk_key_encoding"].get("configuration", {}).get("separator", "/") == "/"
                and metadata["chunk_grid"]["name"] == "regular"
                and shard_rows % rows == 0
                and shard_width == width == array_width
                and not metadata.get("storage_transformers")
            )
            if not supported or metadata["data_type"] not in ("float16", "float32", "float64"):
                return None
            dtype = np.dtype(metadata["data_type"]).newbyteorder("<")
            return cls(dtype, rows, width, "crc32c" in names, float(metadata["fill_value"]))
        except (AttributeError, LookupError, OverflowError, TypeError, ValueError):
            return None

    def encode(self, rows: NDArray[Any]) -> bytes:
        """Encode one chunk.

        Parameters
        ----------
        rows : ndarray, shape (n, width), n <= self.rows
            In the stored dtype, C order.
        """
        if len(rows) < self.rows:
            padded = np.full((self.rows, self.width), self.fill_value, self.dtype)
            padded[: len(rows)] = rows
            rows = padded
        packed = encode_frame(rows, self.level)
        return packed + _crc(packed) if self.checksum else packed

    def decode_run(self, data: Buffer, bounds: list[int], out: NDArray[Any], *, verify: bool = True) -> int:
        """Decode neighbouring chunks in one step, as far as that goes.

        Parameters
        ----------
        data : bytes-like
            What the shard has of the chunks.
        bounds : list of int
            Where each begins in `data`, and where the last ends; of at most `MAX_RUN_CHUNKS` chunks.
        out : ndarray, shape (n_chunks * rows, width)
            Of a dtype that it `can_decode_to`; C order; is overwritten.
        verify : bool
            Whether to compare the checksums, where there are some.

        Returns
        -------
        int
            How many chunks, from the first, are decoded. The next, if there is one, is for `decode_into`, which also
            says what is wrong with a damaged one.
        """
        if native.decode is None:
            return 0
        size = self.dtype.itemsize
        return native.decode(
            data, bounds, out, itemsize=size, widen=out.itemsize > size, checksum=self.checksum, verify=verify
        )

    def can_decode_to(self, dtype: np.dtype[Any]) -> bool:
        """Tell whether `decode_run` has values of `dtype` to give."""
        widens = self.dtype == np.float16 and dtype == np.float32
        return native.decode is not None and (dtype == self.dtype or widens)

    def decode_into(self, data: Buffer, out: NDArray[Any], *, verify: bool = True) -> None:
        """Decode one chunk.

        Parameters
        ----------
        data : bytes-like
            What the shard has of the chunk.
        out : ndarray, shape (rows, width)
            In the stored dtype, C order; is overwritten.
        verify : bool
            Whether to compare the checksum, where there is one.

        Raises
        ------
        CorruptDataError
            The bytes are not those of such a chunk.
        """
        if native.decode is None:
            native.warn_of_slow_path()
        body = self._body(data, verify=verify)
        if len(body) < FRAME_HEADER.size:
            raise CorruptDataError(f"it has {len(body)} bytes, fewer than the header of a compressed chunk")
        *_, n_bytes, _, n_compressed = FRAME_HEADER.unpack_from(body.data)
        if n_bytes != out.nbytes:
            raise CorruptDataError(f"its header claims {n_bytes} bytes, the grid says {out.nbytes}")
        if n_compressed != len(body):
            raise CorruptDataError(f"its header claims {n_compressed} compressed bytes, there are {len(body)}")
        try:
            blosc.decompress(body, out)
        except (RuntimeError, ValueError) as error:
            raise CorruptDataError(f"it cannot be decompressed ({error})") from error

    def check(self, data: Buffer) -> None:
        """Raise `CorruptDataError` where a chunk carries a checksum that does not match its bytes."""
        self._body(data, verify=True)

    def _body(self, data: Buffer, *, verify: bool) -> NDArray[np.uint8]:
        """Give what the checksum is of."""
        body = np.frombuffer(data, np.uint8)
        if not self.checksum:
            return body
        body, crc = body[:-_CRC_BYTES], body[-_CRC_BYTES:]
        if verify and google_crc32c.value(body) != int.from_bytes(crc.tobytes(), "little"):
            raise CorruptDataError("its checksum does not match its bytes")
        return body


def _crc(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(_CRC_BYTES, "little")


def _sizes(shape: Any) -> tuple[int, int]:
    """Give a shape of two dimensions, or raise `ValueError`."""
    rows, width = shape
    if not all(type(size) is int and 0 < size <= _MAX_SIZE for size in (rows, width)):
        raise ValueError(f"no shape: {shape}")
    return rows, width


def _is_little_endian(codec: Mapping[str, Any]) -> bool:
    return bool(codec["name"] == "bytes" and codec.get("configuration", {}).get("endian") == "little")


def index_size(n_chunks: int) -> int:
    """Bytes of the index of a shard that has room for `n_chunks` chunks."""
    return n_chunks * _ENTRY_BYTES + _CRC_BYTES


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """Where the chunks of one shard lie.

    Attributes
    ----------
    offsets, lengths : ndarray of uint64, shape (n_chunks,)
        In bytes from the start of the shard; `MISSING` for both where a chunk is not stored.
    """

    offsets: NDArray[np.uint64]
    lengths: NDArray[np.uint64]

    @classmethod
    def of_lengths(cls, lengths: Sequence[int] | NDArray[np.integer[Any]], capacity: int | None = None) -> Self:
        """Lay chunks out one after the other from the start of the shard.

        Parameters
        ----------
        lengths : sequence of int
            Bytes of each chunk; 0 for one that is not stored.
        capacity : int, optional
            Chunks that the shard has room for, if more.
        """
        sizes = np.zeros(max(capacity or 0, len(lengths)), np.uint64)
        sizes[: len(lengths)] = lengths
        offsets = np.zeros_like(sizes)
        np.cumsum(sizes[:-1], out=offsets[1:])
        stored = sizes > 0
        missing = np.uint64(MISSING)
        return cls(np.where(stored, offsets, missing), np.where(stored, sizes, missing))

    def encode(self) -> bytes:
        """Give the bytes that end the shard."""
        entries = np.stack([self.offsets, self.lengths], axis=1).astype("<u8").tobytes()
        return entries + _crc(entries)

    @classmethod
    def decode(cls, data: Buffer, n_chunks: int, shard_size: int) -> Self:
        """Read the index from the end of a shard.

        Parameters
        ----------
        data : bytes-like
            The last ``index_size(n_chunks)`` bytes of the shard.
        n_chunks : int
            Chunks that the shard has room for.
        shard_size : int
            Bytes of the shard.

        Raises
        ------
        CorruptDataError
            The index is damaged, or points outside the shard, or chunks overlap.
        """
        expected = index_size(n_chunks)
        if len(data) != expected or shard_size < expected:
            raise CorruptDataError(f"it ends early: its index has {len(data)} bytes, expected {expected}")
        view = np.frombuffer(data, np.uint8)
        entries, crc = view[:-_CRC_BYTES], view[-_CRC_BYTES:]
        if google_crc32c.value(entries) != int.from_bytes(crc.tobytes(), "little"):
            raise CorruptDataError("the checksum of its index does not match its bytes")
        offsets, lengths = entries.view("<u8").reshape(n_chunks, 2).T.astype(np.uint64)
        index = cls(offsets, lengths)
        index._require_sound(shard_size - expected)
        return index

    def ranges_of(self, chunk: int, n_chunks: int = 1) -> list[tuple[int, int]]:
        """Give offset and length of `n_chunks` chunks, from `chunk` on; both 0 for one that is not stored."""
        stop = chunk + n_chunks
        ranges = zip(self.offsets[chunk:stop].tolist(), self.lengths[chunk:stop].tolist(), strict=True)
        return [(0, 0) if length == MISSING else (offset, length) for offset, length in ranges]

    @property
    def n_bytes(self) -> int:
        """Memory that the index takes."""
        return self.offsets.nbytes + self.lengths.nbytes

    def _require_sound(self, n_bytes: int) -> None:
        """Raise `CorruptDataError` unless the chunks lie in the first `n_bytes` bytes and do not overlap."""
        stored = self.lengths != MISSING
        if np.any(stored != (self.offsets != MISSING)) or np.any(self.lengths == 0):
            raise CorruptDataError("its index has a chunk with an offset but no length, or the reverse")
        offsets, lengths = self.offsets[stored], self.lengths[stored]
        # Compared so that no sum can pass the largest uint64.
        limit = np.uint64(n_bytes)
        outside = (lengths > limit) | (offsets > limit - np.minimum(lengths, limit))
        if np.any(outside):
            raise CorruptDataError(f"its index points past the {n_bytes} bytes of its chunks")
        order = np.argsort(offsets, kind="stable")
        starts, ends = offsets[order], (offsets + lengths)[order]
        if np.any(starts[1:] < ends[:-1]):
            raise CorruptDataError("chunks overlap in its index")
