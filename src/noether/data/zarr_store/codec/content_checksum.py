"""The checksum of the stored values of a field. Pure: bytes in, digits out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec.encoding import crc_bytes

__all__ = ["ContentChecksum"]

Buffer = bytes | memoryview

_CRC_BYTES = 4


class ContentChecksum:
    """The crc32c of the checksums of all chunks of an array. The chunks must be added in ascending order.

    The crc32c of the bytes of a shard does not work: data with its own crc32c appended has the same crc32c whatever the
    data is. So the crc32c of a shard depends only on the lengths of its chunks.

    Parameters
    ----------
    follows_chunks : bool
        Whether each chunk ends with its crc32c. If not, the checksums are computed here.
    """

    def __init__(self, *, follows_chunks: bool) -> None:
        self._follows_chunks = follows_chunks
        self._value = 0

    def add(self, data: Buffer, lengths: Sequence[int]) -> None:
        """Add the stored bytes of neighbouring chunks; the length of a chunk that is not stored is 0."""
        ends = np.cumsum(lengths)
        if self._follows_chunks and all(lengths):
            checksums = _last_bytes(np.frombuffer(data, np.uint8), ends)
        else:
            view, n_bytes = memoryview(data), _CRC_BYTES if self._follows_chunks else 0
            bounds = pairwise([0, *ends.tolist()])
            checksums = b"".join(crc_bytes(bytes(view[start : max(stop - n_bytes, start)])) for start, stop in bounds)
        self._value = google_crc32c.extend(self._value, checksums)

    @property
    def digits(self) -> str:
        """The checksum as eight hex digits."""
        return f"{self._value:08x}"


def _last_bytes(data: NDArray[np.uint8], ends: NDArray[np.int64]) -> bytes:
    """Return the concatenated checksums that end at these offsets."""
    checksums: NDArray[np.uint8] = data[ends[:, np.newaxis] + np.arange(-_CRC_BYTES, 0)]
    return checksums.tobytes()
