"""Warnings of storages that lack what keeps several writers apart."""

from __future__ import annotations

import warnings
from functools import cache

__all__ = ["StorageWarning", "warn_once"]


class StorageWarning(UserWarning):
    """A storage lacks locks or conditional writes, so that a writer has to take care of others."""


@cache
def warn_once(message: str) -> None:
    """Warn, once in a process."""
    warnings.warn(message, StorageWarning, stacklevel=2)
