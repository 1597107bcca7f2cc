"""Things that were used last, up to a bound."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

__all__ = ["BoundedCache"]

Value = TypeVar("Value")


class BoundedCache(Generic[Value]):
    """Values by key; those not used for longest make room for new ones. Safe to use from many threads.

    Parameters
    ----------
    max_size : int
        Most that all values together measure; the one used last is kept in any case.
    size_of : callable
        Measures a value; without it each counts 1.
    """

    def __init__(self, max_size: int, size_of: Callable[[Value], int] = lambda _: 1) -> None:
        self._max_size = max_size
        self._size_of = size_of
        self._size = 0
        self._values: OrderedDict[str, Value] = OrderedDict()
        self._lock = Lock()

    def get(self, key: str) -> Value | None:
        """Return the value of a key, where it is kept."""
        # Without the lock, which would be half of the work: each of the two steps is atomic.
        value = self._values.get(key)
        if value is not None:
            try:  # noqa: SIM105  # `suppress` takes as long as the rest
                self._values.move_to_end(key)
            except KeyError:  # it has made room for another one meanwhile
                pass
        return value

    def put(self, key: str, value: Value) -> None:
        """Keep a value."""
        with self._lock:
            self._put(key, value)

    def setdefault(self, key: str, value: Value) -> Value:
        """Return the value that is kept, or else keep this one, so that all threads have the same."""
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
