"""What the compiled module counts of the reads that it does alone."""

from __future__ import annotations

from array import array
from typing import TypeAlias

__all__ = ["Tally", "new_tally"]

Tally: TypeAlias = "array[int]"
"""Requests, bytes, nanoseconds of waiting for bytes, nanoseconds of decoding, as int64.

A request is a range whose chunks were all decoded. The compiled module adds to a tally while it holds the interpreter's
lock, so that threads may share one.
"""


def new_tally() -> Tally:
    """Return a tally of nothing."""
    return array("q", [0] * 4)
