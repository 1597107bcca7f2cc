"""Arrays that a VTK file writes as decimal numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.sources.vtk_xml.array_bytes import ArrayBytes
from noether.data.zarr_store.sources.vtk_xml.document import ArrayHead

__all__ = ["parse_numbers"]

_STEP_BYTES = 1 << 20
_MAX_DIGITS = 64
_BLANKS = (b" ", b"\n", b"\t", b"\r")


def parse_numbers(stored: ArrayBytes, head: ArrayHead, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Yield the numbers of an array, a part of them at a time.

    Raises
    ------
    DamagedArrayError
        There is something else.
    """
    at, rest = head.start, b""
    while at < head.stop:
        stop = min(at + _STEP_BYTES, head.stop)
        text = rest + stored.text(at, stop)
        end = len(text)
        if stop < head.stop:  # the last number may go on
            end = max(text.rfind(blank) for blank in _BLANKS) + 1
            if end + _MAX_DIGITS < len(text):
                raise stored.damaged(f"a number at byte {at:,} does not end")
        words, rest = text[:end].split(), text[end:]
        if max(map(len, words), default=0) > _MAX_DIGITS:  # all words would take as much memory as the longest
            raise stored.damaged(f"no list of numbers is at byte {at:,}")
        if words:
            try:
                # By way of text: float64 does not have all whole numbers of 64 bits.
                yield np.array(words, np.bytes_).astype(dtype)
            except (ValueError, OverflowError) as error:
                raise stored.damaged(f"no list of numbers is at byte {at:,} ({error})") from error
        at = stop
