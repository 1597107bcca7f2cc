"""Errors for files whose arrays cannot be read lazily."""

from __future__ import annotations

__all__ = ["DamagedArrayError", "NotStreamedError"]


class NotStreamedError(Exception):
    """Only VTK's reader supports the file. The message is a clause about the file, such as ``it has no parts``."""


class DamagedArrayError(ValueError):
    """The stored values of an array contradict its description.

    The message names the array, or the file and the byte.
    """
