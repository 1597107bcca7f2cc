"""A cache of bounded size that keeps the most recently used values."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

__all__ = ["BoundedCache"]

Value = TypeVar("Value")


class BoundedCache(Generic[Value]):
    """Values by key; the least recently used values are dropped first. Thread-safe.

    Parameters
    ----------
    max_size : int
        Maximum sum of the sizes of all values. The most recently used value is always kept.
    size_of : callable
        Returns the size of a value. By default, each value counts as 1.
    """

    def __init__(self, max_size: int, size_of: Callable[[Value], int] = lambda _: 1) -> None:
        self._max_size = max_size
        self._size_of = size_of
        self._size = 0
        self._values: OrderedDict[str, Value] = OrderedDict()
        self._lock = Lock()

    def get(self, key: str) -> Value | None:
        """Return the value of a key, or None if the cache does not hold it."""
        # No lock, because it would take half of the time: each of the two operations is atomic.
        value = self._values.get(key)
        if value is not None:
            try:  # noqa: SIM105  # `suppress` takes as long as the rest of the method
                self._values.move_to_end(key)
            except KeyError:  # another thread dropped the key after the lookup
                pass
        return value

    def put(self, key: str, value: Value) -> None:
        """Add or replace the value of a key."""
        with self._lock:
            self._put(key, value)

    def setdefault(self, key: str, value: Value) -> Value:
        """Return the value of a key; add `value` first if the key is missing. All threads get the same value."""
        with self._lock:
            if key not in self._values:
                self._put(key, value)
            self._values.move_to_end(key)
            return self._values[key]

    def _put(self, key: str, value: Value) -> None:
        if key in self._values:
            self._size -= self._size_of(self._values.pop(key))
        self._values[key] = value
        self._size += self._size_of(value)
        while self._size > self._max_size and len(self._values) > 1:
            self._size -= self._size_of(self._values.popitem(last=False)[1])
