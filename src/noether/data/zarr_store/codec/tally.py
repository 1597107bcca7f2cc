"""What the compiled module counts of the reads that it does alone."""

from __future__ import annotations

from array import array
from typing import TypeAlias

__all__ = ["Tally", "new_tally"]

Tally: TypeAlias = "memoryview | array[int]"
"""Numbers in int64, of which the first are: requests, bytes, nanoseconds of waiting for bytes and of decoding.

A request is a range whose chunks were all decoded. The compiled module adds to a tally while it holds the interpreter's
lock, so that threads may share one.
"""


def new_tally() -> Tally:
    """Return a tally of nothing."""
    return array("q", [0] * 4)
