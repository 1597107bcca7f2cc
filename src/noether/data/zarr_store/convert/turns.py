"""Turns of processes that save to one large store in object storage, so that no save has to be repeated.

A save reads, merges and writes the whole manifest. Two saves at once lose nothing, because each write is conditional on
an unchanged manifest, but one of the two must start again. A turn is an object that a process creates before a save and
deletes afterwards. Turns only avoid repeated work: correctness does not depend on them.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from noether.data.zarr_store.errors import StorageError
from noether.data.zarr_store.stores import Storage, is_remote
from noether.data.zarr_store.writer import ZarrStoreWriter

__all__ = ["TURN_NAME", "Turns", "is_costly"]

TURN_NAME = "noether-zarr.turn"

# From this number of samples, a repeated save costs more than the requests of a turn.
_MANY_SAMPLES = 10_000

# An older turn belongs to a process that was killed or is slow; another process may then save at the same time.
_LONGEST_TURN_S = 60.0
_LONGEST_WAIT_S = 1.0


def is_costly(writer: ZarrStoreWriter) -> bool:
    """Return whether a save of the manifest moves many bytes over a network."""
    return is_remote(writer.store_root) and len(writer.manifest.samples) >= _MANY_SAMPLES


class Turns:
    """The turns of one process.

    Parameters
    ----------
    storage : Storage
        Storage of the store.
    clock, sleep : callable
        Functions that return the time in seconds, and that wait for a number of seconds.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._storage = storage
        self._clock, self._sleep = clock, sleep
        # The latest turn of another process, and the time when it was first seen.
        self._other, self._met_at = b"", 0.0

    @contextmanager
    def turn(self, *, wait: bool) -> Iterator[bool]:
        """Yield True during a turn of this process, which ends with the block; False if another process has a turn.

        With `wait`, wait for the turn, and yield True.
        """
        own = uuid.uuid4().hex.encode()
        has_turn = self._begins(own)
        while wait and not has_turn:
            # A random pause, so that waiting processes do not send their requests at the same time.
            self._sleep(random.uniform(0.0, _LONGEST_WAIT_S))
            has_turn = self._begins(own)
        try:
            yield has_turn
        finally:
            if has_turn:
                with suppress(StorageError):  # a turn that stays expires after `_LONGEST_TURN_S`
                    self._storage.delete_if_same(TURN_NAME, own)

    def _begins(self, own: bytes) -> bool:
        def begin(current: bytes | None) -> bytes:
            if current is not None and not self._is_left_behind(current):
                raise _OthersTurnError
            return own

        try:
            self._storage.update(TURN_NAME, begin)
        except _OthersTurnError:
            return False
        return True

    def _is_left_behind(self, other: bytes) -> bool:
        now = self._clock()
        if other != self._other:
            self._other, self._met_at = other, now
        return now - self._met_at > _LONGEST_TURN_S


class _OthersTurnError(Exception):
    """Another process has its turn."""
