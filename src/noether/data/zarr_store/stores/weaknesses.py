"""Warnings about storages without locks or conditional writes, and about settings that have no effect."""

from __future__ import annotations

import warnings
from functools import cache

__all__ = ["StorageWarning", "warn_once"]


class StorageWarning(UserWarning):
    """A storage lacks locks or conditional writes.

    A lock file replaces missing locks. Without conditional writes, only one machine may write to the store at a time.
    This is also the warning about a cache directory for a local store, which has no effect.
    """


@cache
def warn_once(message: str) -> None:
    """Warn once per process."""
    warnings.warn(message, StorageWarning, stacklevel=2)
