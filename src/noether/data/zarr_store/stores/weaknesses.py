"""Warnings about storages without locks or conditional writes."""

from __future__ import annotations

import warnings
from functools import cache

__all__ = ["StorageWarning", "warn_once"]


class StorageWarning(UserWarning):
    """A storage lacks locks or conditional writes, so the user must keep concurrent writers apart."""


@cache
def warn_once(message: str) -> None:
    """Warn once per process."""
    warnings.warn(message, StorageWarning, stacklevel=2)
