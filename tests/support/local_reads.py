"""A record of every range that is read from files of local stores, by Python or by the compiled module."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import pytest

from noether.data.zarr_store.codec import native
from noether.data.zarr_store.stores import LocalStorage

__all__ = ["LocalRead", "note_reads"]


class LocalRead(NamedTuple):
    key: str
    n_bytes: int
    thread: str


def note_reads(monkeypatch: pytest.MonkeyPatch) -> list[LocalRead]:
    """Return a list to which every range of data (not of indexes) is appended when it is read."""
    seen: list[LocalRead] = []
    keys: dict[int, str] = {}
    read_range, local_file, read = LocalStorage.read_range, LocalStorage.local_file, native.read

    def note(key: str, n_bytes: int) -> None:
        seen.append(LocalRead(key, n_bytes, threading.current_thread().name))

    def noted_range(self: LocalStorage, key: str, start: int, length: int) -> Any:
        data = read_range(self, key, start, length)
        note(key, len(data))
        return data

    def named_file(self: LocalStorage, key: str) -> Any:
        file = local_file(self, key)
        if file is not None:
            keys[file.descriptor] = key
        return file

    def noted(descriptor: int, start: int, bounds: list[int], *arguments: Any, **options: Any) -> Any:
        assert read is not None
        note(keys[descriptor], bounds[-1])
        return read(descriptor, start, bounds, *arguments, **options)

    monkeypatch.setattr(LocalStorage, "read_range", noted_range)
    monkeypatch.setattr(LocalStorage, "local_file", named_file)
    if read is not None:
        monkeypatch.setattr(native, "read", noted)
    return seen
