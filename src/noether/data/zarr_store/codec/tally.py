"""Counters of the reads that the compiled module does without Python."""

from __future__ import annotations

from array import array
from typing import TypeAlias

__all__ = ["Tally", "new_tally"]

Tally: TypeAlias = "memoryview | array[int]"
"""Counters in int64. The first four are: requests, bytes, nanoseconds of waiting for bytes, nanoseconds of decoding.

A request is a byte range of which all chunks were decoded. The compiled module updates a tally while it holds the GIL,
so several threads can share one tally.
"""


def new_tally() -> Tally:
    """Return a tally of four zeros."""
    return array("q", [0] * 4)
