"""Encoding and decoding of the chunks of a shard. Pure: bytes in, bytes out.

A shard consists of its chunks and then its index (`shard_index`). A chunk is a blosc frame of its rows (little endian,
C order). With checksums on, the crc32c of the frame follows.

The bytes can be damaged or forged, so every size is compared with the grid before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import google_crc32c
import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from noether.data.zarr_store.codec import native
from noether.data.zarr_store.codec.blosc_encoding import FRAME_HEADER
from noether.data.zarr_store.codec.casting import gather
from noether.data.zarr_store.codec.encoding import encode_chunks
from noether.data.zarr_store.codec.tally import Tally, new_tally
from noether.data.zarr_store.errors import CorruptDataError

__all__ = ["MAX_RUN_CHUNKS", "MIN_STORED_BYTES", "ChunkCodec"]

# The threads of blosc are off, because we run chunks in parallel. Then several threads can call blosc at the same time,
# and its output does not depend on a number of threads. In numcodecs, this setting applies to the whole process.
blosc.use_threads = False

Buffer = bytes | memoryview
RowRanges = tuple[tuple[int, int], ...]

MAX_RUN_CHUNKS = 4096
"""Maximum number of chunks that one call of the compiled module encodes or decodes (`module.c`)."""

_FLOAT16, _FLOAT32 = np.dtype(np.float16), np.dtype(np.float32)
_CRC_BYTES = 4
# Larger than any array, and small enough that numbers computed from it fit in 64 bits.
_MAX_SIZE = 1 << 48

MIN_STORED_BYTES = FRAME_HEADER.size
"""Minimum number of bytes of a chunk in a shard."""


@dataclass(frozen=True, slots=True)
class ChunkCodec:
    """The encoding of the chunks of an array.

    Attributes
    ----------
    dtype : numpy.dtype
        Stored dtype, little endian.
    rows, width : int
        Shape of a chunk. A short last chunk is padded to this shape.
    checksum : bool
        Whether the crc32c of a frame follows the frame.
    fill_value : float
        Value of the padding, and of chunks that are not stored.
    level : int
        Compression level for encoding, 0 to 9; see `blosc_encoding.encode_frame`.
    """

    dtype: np.dtype[Any]
    rows: int
    width: int
    checksum: bool = True
    fill_value: float = 0.0
    level: int = 5

    @property
    def n_bytes(self) -> int:
        """Number of bytes of a chunk before compression."""
        return self.rows * self.width * self.dtype.itemsize

    @property
    def max_stored_bytes(self) -> int:
        """Maximum number of bytes of a chunk in a shard; values that blosc cannot shrink are stored uncompressed."""
        return self.n_bytes + FRAME_HEADER.size + _CRC_BYTES

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, Any]) -> Self | None:
        """Return the codec of an array from its ``zarr.json``, or None if this module does not support it."""
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

    def encode_run(self, values: NDArray[Any], order: NDArray[np.int64] | None = None) -> tuple[bytes, list[int]]:
        """Gather rows, cast them, and encode them as neighbouring chunks.

        Parameters
        ----------
        values : ndarray, shape (n_rows, width)
            Any integer or floating dtype.
        order : ndarray of int64, shape (n,), optional
            Row ``i`` of the chunks is row ``order[i]`` of `values`. By default, rows keep their order. The rows make at
            most `MAX_RUN_CHUNKS` chunks. A short last chunk is padded.

        Returns
        -------
        bytes
            The concatenated chunks, each of at most `max_stored_bytes` bytes.
        list of int
            Number of bytes of each chunk.
        """
        n_rows = len(values) if order is None else len(order)
        if n_rows % self.rows:
            padded = np.full((-(-n_rows // self.rows) * self.rows, self.width), self.fill_value, self.dtype)
            padded[:n_rows] = gather(values, order, self.dtype)
            values, order = padded, None
        return encode_chunks(values, order, self.dtype, self.rows, level=self.level, checksum=self.checksum)

    def decode_run(
        self,
        data: Buffer,
        bounds: list[int],
        out: NDArray[Any],
        *,
        rows: list[RowRanges] | None = None,
        first_row: int = 0,
        verify: bool = True,
    ) -> int:
        """Decode neighbouring chunks with the compiled module, up to the first chunk that it cannot decode.

        Parameters
        ----------
        data : bytes-like
            Buffer that holds the stored chunks.
        bounds : list of int
            Offsets in `data` at which each chunk starts, and the offset at which the last chunk ends; at most
            `MAX_RUN_CHUNKS` chunks.
        out : ndarray, shape (n_rows, width)
            Output in C order, of a dtype for which `can_decode_to` is true. Rows from `first_row` on are overwritten.
        rows : list of tuples of pairs of int, optional
            The rows to take of each chunk: ascending ranges ``(first, stop)``. By default, all rows are taken.
        first_row : int
            Row of `out` to which the first row is written.
        verify : bool
            Whether to compare the checksums, if there are checksums.

        Returns
        -------
        int
            Number of decoded chunks; 0 without the compiled module. The caller passes the next chunk to `decode_into`,
            which decodes every encoding of blosc, and raises an error that describes the damage of a chunk.

        Raises
        ------
        ValueError
            The bounds are not ascending offsets within `data`, the row ranges are not ascending within their chunk, or
            `out` is too small.
        """
        if native.decode is None:
            return 0
        return native.decode(data, bounds, rows, out, first_row, **self._format(out), verify=verify)

    def read_run(
        self,
        descriptor: int,
        start: int,
        bounds: list[int],
        out: NDArray[Any],
        *,
        rows: list[RowRanges] | None = None,
        first_row: int = 0,
        verify: bool = True,
        tally: Tally | None = None,
    ) -> int:
        """Read neighbouring chunks of a file with one call and decode them, up to the first that cannot be decoded.

        The call reuses its buffer, and makes no Python object of the bytes.

        Parameters
        ----------
        descriptor : int
            File descriptor.
        start : int
            Offset in the file to which the `bounds` are relative.
        bounds, out, rows, first_row, verify
            See `decode_run`.
        tally : Tally, optional
            Counters to which the call adds its bytes and its time.

        Returns
        -------
        int
            Number of decoded chunks; 0 if the bytes cannot be read, or a chunk has more than `max_stored_bytes` bytes.
            The caller then reads the rest in another way, which raises the error.

        Raises
        ------
        ValueError
            As in `decode_run`.
        """
        if native.read is None:
            return 0
        if tally is None:
            tally = new_tally()
        return native.read(descriptor, start, bounds, rows, out, first_row, tally, **self._format(out), verify=verify)

    def _format(self, out: NDArray[Any]) -> dict[str, Any]:
        """Return the keyword arguments of the compiled module for decoding chunks to `out`."""
        size = self.dtype.itemsize
        return {
            "chunk_rows": self.rows,
            "width": self.width,
            "itemsize": size,
            "widen": out.itemsize > size,
            "checksum": self.checksum,
        }

    def can_decode_to(self, dtype: np.dtype[Any]) -> bool:
        """Return whether `decode_run` and `read_run` can decode to an array of `dtype`."""
        widens = dtype == _FLOAT32 and self.dtype == _FLOAT16
        return native.decode is not None and (dtype == self.dtype or widens)

    def decode_into(self, data: Buffer, out: NDArray[Any], *, verify: bool = True) -> None:
        """Decode one chunk.

        Parameters
        ----------
        data : bytes-like
            The stored chunk.
        out : ndarray, shape (rows, width)
            Output in the stored dtype and C order; it is overwritten.
        verify : bool
            Whether to compare the checksum, if the chunk has a checksum.

        Raises
        ------
        CorruptDataError
            The bytes are not a chunk of this encoding.

        Warns
        -----
        RuntimeWarning
            The compiled module is missing (once per process).
        """
        if native.decode is None:
            native.warn_of_slow_path()
        body = self._body(data, verify=verify)
        if len(body) < FRAME_HEADER.size:
            raise CorruptDataError(f"expected at least {FRAME_HEADER.size} bytes for its header, got {len(body)}")
        *_, n_bytes, _, n_compressed = FRAME_HEADER.unpack_from(body.data)
        if n_bytes != out.nbytes:
            raise CorruptDataError(f"its header claims {n_bytes:,} bytes, expected {out.nbytes:,} from the grid")
        if n_compressed != len(body):
            raise CorruptDataError(f"its header claims {n_compressed:,} compressed bytes, got {len(body):,}")
        try:
            blosc.decompress(body, out)
        except (RuntimeError, ValueError) as error:
            raise CorruptDataError(f"it cannot be decompressed ({error})") from error

    def check(self, data: Buffer) -> None:
        """Raise `CorruptDataError` if the checksum of a chunk does not match; a no-op without checksums."""
        self._body(data, verify=True)

    def _body(self, data: Buffer, *, verify: bool) -> NDArray[np.uint8]:
        """Return the bytes that the checksum covers."""
        body = np.frombuffer(data, np.uint8)
        if not self.checksum:
            return body
        body, crc = body[:-_CRC_BYTES], body[-_CRC_BYTES:]
        if verify and google_crc32c.value(body) != int.from_bytes(crc.tobytes(), "little"):
            raise CorruptDataError("its checksum does not match its bytes")
        return body


def _sizes(shape: Any) -> tuple[int, int]:
    """Return a shape of two positive dimensions, or raise `ValueError`."""
    rows, width = shape
    if not all(type(size) is int and 0 < size <= _MAX_SIZE for size in (rows, width)):
        raise ValueError(f"expected a shape of two positive sizes, got {shape}")
    return rows, width


def _is_little_endian(codec: Mapping[str, Any]) -> bool:
    return bool(codec["name"] == "bytes" and codec.get("configuration", {}).get("endian") == "little")
