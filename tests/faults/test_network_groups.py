"""Writes of a group in object storage that fail, and whose clean-up fails, too: no partial group has a root."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product

import pytest

from noether.data.zarr_store.errors import StorageError, TooLargeError
from noether.data.zarr_store.stores.base import StorageByObjects, StoredObject

ROOT = "g.zarr/zarr.json"
OLD = {ROOT: b"old root", "g.zarr/c/0/0": b"old", "g.zarr/c/1/0": b"old", "g.zarr/c/2/0": b"old"}
NEW = {"g.zarr/c/0/0": b"new", "g.zarr/c/1/0": b"new", ROOT: b"new root"}


class Unreliable(StorageByObjects):
    """Objects in a dict. Of two requests, each by its number, the answers are lost, and of deletions any part is done.

    Deletions of several objects are done in no order, as in object storage.
    """

    root = "unreliable://"

    def __init__(self, objects: dict[str, bytes], failing: set[int], first_last: bool) -> None:
        self.stored = dict(objects)
        self._failing = failing
        self._first_last = first_last
        self._requests = 0

    def _answer(self) -> None:
        self._requests += 1
        if self._requests - 1 in self._failing:
            raise StorageError("the answer is lost")

    def _read(self, key: str, max_bytes: int | None = None) -> bytes | None:
        data = self.stored.get(key)
        if data is not None and max_bytes is not None and len(data) > max_bytes:
            raise TooLargeError(key)
        self._answer()
        return data

    def _put(self, key: str, parts: Iterable[bytes]) -> None:
        self.stored[key] = b"".join(parts)
        self._answer()

    def delete(self, keys: list[str]) -> None:
        if not keys:
            return
        fails = self._requests in self._failing
        done = keys if not fails else keys[-1:] if self._first_last else keys[:1]
        for key in done:
            self.stored.pop(key, None)
        self._answer()

    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        self._answer()
        found = [(key, data) for key, data in self.stored.items() if key.startswith(prefix)]
        return iter([StoredObject(key, len(data), "") for key, data in found])


@pytest.mark.parametrize("former", [{}, OLD], ids=["new", "replaced"])
@pytest.mark.parametrize("first_last", [True, False])
def test_a_group_with_a_root_is_complete_after_lost_requests(former: dict[str, bytes], first_last: bool) -> None:
    outcomes = set()
    for failing in product(range(14), range(14)):
        storage = Unreliable(former, set(failing), first_last)
        try:
            storage.write_group("g.zarr", [(key[len("g.zarr/") :], [data]) for key, data in NEW.items()])
        except StorageError:
            outcomes.add("failed")
            if ROOT in storage.stored:
                assert storage.stored in (former, NEW), failing
        else:
            outcomes.add("written")
            assert storage.stored == NEW, failing
    assert outcomes == {"failed", "written"}


def test_the_first_error_is_raised() -> None:
    storage = Unreliable({}, {2, 3}, first_last=True)
    with pytest.raises(StorageError, match="the answer is lost") as raised:
        storage.write_group("g.zarr", [(key[len("g.zarr/") :], [data]) for key, data in NEW.items()])
    assert raised.value.__notes__ == ["the objects that were written could not be removed: the answer is lost"]
