"""What the rest of the library asks of the place where a store's bytes live."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import BinaryIO, NamedTuple, Protocol

from zarr.abc.store import Store

from noether.data.zarr_store.errors import StorageError
from noether.data.zarr_store.names import ROOT_KEY

__all__ = ["Buffer", "ObjectSize", "Storage", "StorageByObjects", "StoreFactory"]


Buffer = bytes | memoryview
StoreFactory = Callable[[str], Store]


class ObjectSize(NamedTuple):
    """One object or file: its key relative to the root, and its bytes."""

    key: str
    size: int


class Storage(Protocol):
    """The objects below one root. Safe to use from many threads; not to be carried over a fork."""

    root: str

    def read_if_there(self, key: str) -> bytes | None:
        """Read an object; ``None`` where there is none."""

    def read_range(self, key: str, start: int, length: int) -> Buffer:
        """Read `length` bytes of an object, or fewer where it ends; `StorageError` where there is none."""

    def read_tail(self, key: str, length: int) -> tuple[Buffer, int] | None:
        """Read the last `length` bytes of an object, or all of a shorter one, and its size; None without one."""

    def open_file(self, key: str) -> BinaryIO:
        """Open an object for reading, as a file that can seek; `StorageError` where there is none."""

    def write(self, key: str, data: bytes) -> None:
        """Write an object, which appears whole or not at all."""

    def update(self, key: str, change: Callable[[bytes | None], bytes]) -> None:
        """Replace an object by what `change` makes of its bytes, in one step that no other update can come between.

        `change` may be called again where another update came first, so it must not depend on earlier calls.
        """

    def write_group(self, relpath: str, objects: Iterable[tuple[str, Iterable[bytes]]]) -> None:
        """Write the group `relpath` from (key, parts of bytes) pairs, replacing what was there.

        The pair of the root ``zarr.json`` comes last.
        A reader finds the former group, none, or the new one, never a part of one. Nothing stays behind a failure.
        """

    def delete(self, keys: list[str]) -> None:
        """Delete objects; those that are not there are passed over."""

    def objects(self, prefix: str = "") -> Iterator[ObjectSize]:
        """List the objects below a directory, in no particular order."""

    def zarr_store(self, relpath: str, *, read_only: bool) -> Store:
        """Open the group `relpath` as a zarr Store."""


class StorageByObjects:
    """Groups as objects that appear one by one: the root ``zarr.json`` goes first and comes last."""

    root: str

    @abstractmethod
    def read_if_there(self, key: str) -> bytes | None:
        """Read an object; ``None`` where there is none."""

    def open_file(self, key: str) -> BinaryIO:
        """Read an object, as a file; see `Storage`."""
        data = self.read_if_there(key)
        if data is None:
            raise StorageError(f"cannot read {self.root}/{key}: it is not there")
        return BytesIO(data)

    def write(self, key: str, data: bytes) -> None:
        """Write an object; see `Storage`."""
        self._put(key, [data])

    @abstractmethod
    def _put(self, key: str, parts: Iterable[bytes]) -> None: ...

    @abstractmethod
    def delete(self, keys: list[str]) -> None:
        """Delete objects; see `Storage`."""

    @abstractmethod
    def objects(self, prefix: str = "") -> Iterator[ObjectSize]:
        """List the objects below a directory, in no particular order."""

    def write_group(self, relpath: str, objects: Iterable[tuple[str, Iterable[bytes]]]) -> None:
        """Write the group `relpath`; see `Storage`."""
        self._delete_group(relpath)
        written: list[str] = []
        try:
            for key, parts in objects:
                written.append(f"{relpath}/{key}")
                self._put(written[-1], parts)
        except BaseException:
            self.delete(written[::-1])
            raise

    def _delete_group(self, relpath: str) -> None:
        there = {item.key for item in self.objects(relpath)}
        root = f"{relpath}/{ROOT_KEY}"
        if root in there:
            self.delete([root])
        self.delete(sorted(there - {root}))
