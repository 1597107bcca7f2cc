"""Chunks to the bytes of a shard, and back. Pure: bytes in, bytes out.

A shard has its chunks one after the other, then its index (`shard_index`). A chunk is a frame of blosc with its rows,
little endian in C order, and where checksums are on, the crc32c of the frame.

The bytes may be damaged or forged: no size is used before it is compared with that of the grid.
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

# blosc's own threads are off, since chunks are the unit of parallel work. Without them, many of our threads may call
# blosc, and its bytes do not depend on a number of threads. numcodecs has this switch for the whole process only.
blosc.use_threads = False

Buffer = bytes | memoryview
RowRanges = tuple[tuple[int, int], ...]

MAX_RUN_CHUNKS = 4096
"""Most chunks that are encoded or decoded in one step of the compiled module (`module.c`)."""

_FLOAT16, _FLOAT32 = np.dtype(np.float16), np.dtype(np.float32)
_CRC_BYTES = 4
# Larger than any array, and small enough that numbers computed from it fit in 64 bits.
_MAX_SIZE = 1 << 48

MIN_STORED_BYTES = FRAME_HEADER.size
"""Fewest bytes that a chunk can have in a shard."""


@dataclass(frozen=True, slots=True)
class ChunkCodec:
    """The encoding of the chunks of an array.

    Attributes
    ----------
    dtype : numpy.dtype
        Stored dtype, little endian.
    rows, width : int
        Shape of a chunk. A short last chunk is padded to it.
    checksum : bool
        Whether the crc32c of a frame follows it.
    fill_value : float
        Value of the padding, and of chunks that are not stored.
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
        """Most bytes that a chunk can have in a shard: blosc stores values that it cannot make smaller."""
        return self.n_bytes + FRAME_HEADER.size + _CRC_BYTES

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, Any]) -> Self | None:
        """Read the codec of an array from its ``zarr.json``; return None if this module does not have that codec."""
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
            Row ``i`` of the chunks is row ``order[i]``; rows keep their order unless it is given. At most
            `MAX_RUN_CHUNKS` chunks; if the last one has fewer rows, it is padded.

        Returns
        -------
        bytes
            The chunks, one after the other, each of at most `max_stored_bytes`.
        list of int
            Bytes of each chunk.
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
        """Decode neighbouring chunks in one step, as far as possible.

        Parameters
        ----------
        data : bytes-like
            Holds the stored chunks.
        bounds : list of int
            Offsets in `data` where each chunk begins, and where the last ends; at most `MAX_RUN_CHUNKS` chunks.
        out : ndarray, shape (n_rows, width)
            Has a dtype that the codec `can_decode_to`, in C order; rows from `first_row` on are overwritten.
        rows : list of tuples of pairs of int, optional
            For each chunk the rows to take: half-open, ascending ranges of them. Without it, all rows are taken.
        first_row : int
            Row of `out` where the first one goes.
        verify : bool
            Whether to compare the checksums, if there are checksums.

        Returns
        -------
        int
            Number of chunks, from the first, that are decoded. The caller passes the next one to `decode_into`, which
            decodes every encoding of blosc, and names the damage of a damaged chunk. 0 without the compiled module.

        Raises
        ------
        ValueError
            The bounds do not ascend within `data`, the rows do not within their chunk, or `out` has no room for them.
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
        """Read neighbouring chunks of a file and decode them in one step, as far as possible.

        The bytes become no object of Python, and take no new memory.

        Parameters
        ----------
        descriptor, start : int
            The file, and the offset in it that the `bounds` are counted from.
        bounds, out, rows, first_row, verify
            See `decode_run`.
        tally : Tally, optional
            The bytes and the time are added to it.

        Returns
        -------
        int
            The result of `decode_run`; 0 where the bytes cannot be read, or a chunk has more than `max_stored_bytes`.
            The caller reads again in another way, which raises the error.

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
        """Return what the compiled module asks of the chunks that it decodes to an array."""
        size = self.dtype.itemsize
        return {
            "chunk_rows": self.rows,
            "width": self.width,
            "itemsize": size,
            "widen": out.itemsize > size,
            "checksum": self.checksum,
        }

    def can_decode_to(self, dtype: np.dtype[Any]) -> bool:
        """Return whether `decode_run` and `read_run` decode to values of `dtype`."""
        widens = dtype == _FLOAT32 and self.dtype == _FLOAT16
        return native.decode is not None and (dtype == self.dtype or widens)

    def decode_into(self, data: Buffer, out: NDArray[Any], *, verify: bool = True) -> None:
        """Decode one chunk.

        Parameters
        ----------
        data : bytes-like
            The stored chunk.
        out : ndarray, shape (rows, width)
            In the stored dtype and C order; is overwritten.
        verify : bool
            Whether to compare the checksum, if there is one.

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
        """Raise `CorruptDataError` if a chunk has a checksum that does not match its bytes."""
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
    """Return a shape of two dimensions, or raise `ValueError`."""
    rows, width = shape
    if not all(type(size) is int and 0 < size <= _MAX_SIZE for size in (rows, width)):
        raise ValueError(f"no shape: {shape}")
    return rows, width


def _is_little_endian(codec: Mapping[str, Any]) -> bool:
    return bool(codec["name"] == "bytes" and codec.get("configuration", {}).get("endian") == "little")
