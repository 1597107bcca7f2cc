"""Parse arrays of decimal numbers in a VTK file."""

from __future__ import annotations

import re
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
    """Yield the numbers of an array in blocks.

    Raises
    ------
    DamagedArrayError
        The text is not a list of numbers.
    """
    at, rest = head.start, b""
    while at < head.stop:
        stop = min(at + _STEP_BYTES, head.stop)
        first, text = at - len(rest), rest + stored.text(at, stop)
        end = len(text)
        if stop < head.stop:  # the last number may continue in the next block
            end = max(text.rfind(blank) for blank in _BLANKS) + 1
            if end + _MAX_DIGITS < len(text):
                raise stored.damaged(f"a number at byte {first + end:,} has more than {_MAX_DIGITS} digits")
        words, rest = text[:end].split(), text[end:]
        # NumPy gives every word as much memory as the longest one.
        if max(map(len, words), default=0) > _MAX_DIGITS:
            longest = text.find(max(words, key=len))
            raise stored.damaged(f"a number at byte {first + longest:,} has more than {_MAX_DIGITS} digits")
        if words:
            try:
                # Convert from text directly: float64 cannot represent all integers of 64 bits.
                yield np.array(words, np.bytes_).astype(dtype)
            except (ValueError, OverflowError) as error:
                wrong = first + _first_wrong(text, dtype)
                raise stored.damaged(f"expected a list of numbers at byte {wrong:,} ({error})") from error
        at = stop


def _first_wrong(text: bytes, dtype: np.dtype[Any]) -> int:
    """Return the offset of the first word that is no number of the dtype."""
    for word in re.finditer(rb"\S+", text):
        try:
            np.array([word[0]], np.bytes_).astype(dtype)
        except (ValueError, OverflowError):
            return word.start()
    return 0
