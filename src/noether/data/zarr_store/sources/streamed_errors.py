"""Errors for files whose arrays cannot be read lazily."""

from __future__ import annotations

__all__ = ["DamagedArrayError", "NotStreamedError"]


class NotStreamedError(Exception):
    """Only VTK's reader supports the file. The text is a clause: ``it has …``."""


class DamagedArrayError(ValueError):
    """The stored values of an array contradict its description. The text names the array and the byte."""
