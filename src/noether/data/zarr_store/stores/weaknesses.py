"""Warnings about storages without locks or conditional writes, and about settings that have no effect."""

from __future__ import annotations

import warnings
from functools import cache

__all__ = ["StorageWarning", "warn_once"]


class StorageWarning(UserWarning):
    """A storage lacks locks or conditional writes, so the user must keep concurrent writers apart.

    It also warns about a cache directory for a local store, which has no effect.
    """


@cache
def warn_once(message: str) -> None:
    """Warn once per process."""
    warnings.warn(message, StorageWarning, stacklevel=2)
