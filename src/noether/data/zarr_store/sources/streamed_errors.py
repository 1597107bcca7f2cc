"""Why a file's arrays are not read as they are asked for."""

from __future__ import annotations

__all__ = ["DamagedArrayError", "NotStreamedError"]


class NotStreamedError(Exception):
    """A file has what only VTK's own reader knows."""


class DamagedArrayError(ValueError):
    """The values of an array are not those that its head promises; the text names array and byte."""
