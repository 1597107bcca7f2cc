"""Turns of processes that save to one large store in object storage: one after the other, so that none saves in vain.

A save reads, merges and puts all of the manifest. Two saves at once lose nothing, since each puts on the condition that
no other came between, but one of them has to begin anew. A turn is an object that a process makes before it saves and
deletes afterwards. Turns save work alone; what is saved does not rest on them.
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

# From here on, a save in vain costs more than the requests of a turn.
_MANY_SAMPLES = 10_000

# A turn that takes longer was left by a process that was killed, or is slow: then two save at once.
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
        Where the store lies.
    clock, sleep : callable
        Tell the time in seconds, and wait for some.
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
        # The turn of another process that was met last, and when it was met first.
        self._other, self._met_at = b"", 0.0

    @contextmanager
    def turn(self, *, wait: bool) -> Iterator[bool]:
        """Yield True in a turn of this process, which ends with the block; False where another process has its turn.

        With `wait`, this waits for the turn and yields True.
        """
        own = uuid.uuid4().hex.encode()
        has_turn = self._begins(own)
        while wait and not has_turn:
            # By chance, so that those that wait do not ask in step.
            self._sleep(random.uniform(0.0, _LONGEST_WAIT_S))
            has_turn = self._begins(own)
        try:
            yield has_turn
        finally:
            if has_turn:
                with suppress(StorageError):  # one that stays is taken for left behind
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
