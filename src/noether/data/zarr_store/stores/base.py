"""The interface of a storage, which the rest of the library uses, and its implementation by single objects."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import BinaryIO, NamedTuple, Protocol

from zarr.abc.store import Store

from noether.data.zarr_store.core import ROOT_KEY
from noether.data.zarr_store.errors import StorageError, TooLargeError
from noether.data.zarr_store.stores.staging import StagedWrite

__all__ = [
    "MAX_DOCUMENT_BYTES",
    "NO_BUCKET",
    "Buffer",
    "LocalFile",
    "Storage",
    "StorageByObjects",
    "StoreFactory",
    "StoredObject",
    "require_size",
]


Buffer = bytes | memoryview
StoreFactory = Callable[[str], Store]

# Larger than a manifest of half a million samples.
MAX_DOCUMENT_BYTES = 1 << 30

# Another process can write objects into a group during its removal; then the removal starts again.
_REMOVAL_TRIES = 5

NO_BUCKET = "the bucket does not exist; create it, or correct the URL"
"""The text of an error after a server has answered that the bucket does not exist."""


def require_size(size: int, max_bytes: int, where: str) -> None:
    """Raise `TooLargeError` if an object is larger than the limit, before it is read."""
    if size > max_bytes:
        raise TooLargeError(
            f"{where} has {size:,} bytes, expected a document of at most {max_bytes:,}; restore it from a copy"
        )


class StoredObject(NamedTuple):
    """One object or file in a listing.

    Attributes
    ----------
    key : str
        Key, relative to the root.
    size : int
        Size in bytes.
    version : str
        Text that changes when the object is replaced: its entity tag, or the time of its last change. Empty if the
        storage has neither.
    """

    key: str
    size: int
    version: str


class LocalFile(Protocol):
    """A file that stays open as long as this object is referenced."""

    @property
    def descriptor(self) -> int:
        """Its file descriptor. The caller must not close it, and must not change its file offset."""


class Storage(Protocol):
    """The objects below one root. Safe to use from many threads. A forked process must open its own."""

    root: str

    @property
    def n_retries(self) -> int:
        """Number of requests that this process has sent again so far, without the hidden retries of obstore."""

    def read_if_there(self, key: str) -> bytes | None:
        """Read a document; return ``None`` if it does not exist. Raise `TooLargeError` if it has more than 1 GiB."""

    def read_range(self, key: str, start: int, length: int) -> Buffer:
        """Read `length` bytes of an object, or fewer at its end. Raise `StorageError` if it does not exist."""

    def local_file(self, key: str) -> LocalFile | None:
        """Return the open file of an object, for code that reads it directly; None if there is no file."""

    def read_tail(self, key: str, length: int) -> tuple[Buffer, int] | None:
        """Return the last `length` bytes of an object (all of a shorter one) and its size; None without the object."""

    def open_file(self, key: str) -> BinaryIO:
        """Open an object for reading, as a seekable file. Raise `StorageError` if it does not exist."""

    def write(self, key: str, data: bytes) -> None:
        """Write an object atomically: readers find all of it, or nothing."""

    def update(self, key: str, change: Callable[[bytes | None], bytes]) -> None:
        """Replace an object by the result of `change` on its bytes, atomically with respect to other updates.

        `change` is called again if another update came first, so it must not depend on earlier calls.
        """

    def write_group(self, relpath: str, objects: Iterable[tuple[str, Iterable[bytes]]]) -> None:
        """Write the group `relpath` from (key, pieces of bytes) pairs. It replaces a former group.

        The pair of the root ``zarr.json`` comes last. A reader finds the former group, the new group or no group, never
        a partial group. A failure leaves no objects.
        """

    def remove_group(self, relpath: str) -> None:
        """Remove the group `relpath` and everything below it, the root ``zarr.json`` first. No-op without a group.

        A reader finds the whole group or no group. A removal that is killed leaves a group without its root. Staged
        copies of the group by killed writers are removed as well. A link is removed, and its target stays.
        """

    def require_changeable(self, relpath: str) -> None:
        """Raise `StorageError` if a link on the path of the group `relpath` leads out of the root."""

    def is_linked(self, relpath: str) -> bool:
        """Return whether the group `relpath`, or a directory above it, is a link."""

    def remove_staged(self, relpath: str, pid: int) -> None:
        """Remove the staged copies of the group `relpath` by a killed process of this machine."""

    def abandoned(self) -> list[StagedWrite]:
        """List the staged writes of killed writers."""

    def recover(self, staged: StagedWrite) -> None:
        """Move a group back to its path if the staged write restores it, else remove the staged write."""

    def recover_own(self, relpaths: Iterable[str]) -> None:
        """Recover the staged writes of killed processes of this machine, at the root and beside some groups.

        Never fails: a staged write that cannot be recovered stays.
        """

    def delete(self, keys: list[str]) -> None:
        """Delete objects; missing objects are skipped."""

    def delete_if_same(self, key: str, data: bytes) -> None:
        """Delete an object if it has these bytes. A local storage holds the lock of `update` during this."""

    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        """List the objects below a directory, in no particular order."""

    def zarr_store(self, relpath: str, *, read_only: bool) -> Store:
        """Open the group `relpath` as a zarr Store."""


class StorageByObjects:
    """A storage that handles the objects of a group one by one: the root is deleted first and written last."""

    root: str

    @property
    def n_retries(self) -> int:
        """Return 0, since the file system does not report retries; see `Storage`."""
        return 0

    def read_if_there(self, key: str) -> bytes | None:
        """Read a document; see `Storage`."""
        return self._read(key, MAX_DOCUMENT_BYTES)

    def local_file(self, key: str) -> None:
        """Return None, since the objects are not files of this machine; see `Storage`."""

    @abstractmethod
    def _read(self, key: str, max_bytes: int | None = None) -> bytes | None:
        """Read an object; return ``None`` if it does not exist. Raise `TooLargeError` above `max_bytes` bytes."""

    def open_file(self, key: str) -> BinaryIO:
        """Read an object into a file in memory; see `Storage`."""
        data = self._read(key)
        if data is None:
            raise StorageError(f"cannot read {self.root}/{key}: it does not exist; check the path")
        return BytesIO(data)

    def write(self, key: str, data: bytes) -> None:
        """Write an object; see `Storage`."""
        self._put(key, [data])

    @abstractmethod
    def _put(self, key: str, parts: Iterable[bytes]) -> None: ...

    @abstractmethod
    def delete(self, keys: list[str]) -> None:
        """Delete objects; see `Storage`."""

    def delete_if_same(self, key: str, data: bytes) -> None:
        """Delete an object if it has these bytes; see `Storage`."""
        if self.read_if_there(key) == data:
            self.delete([key])

    @abstractmethod
    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        """List the objects below a directory, in no particular order."""

    def write_group(self, relpath: str, objects: Iterable[tuple[str, Iterable[bytes]]]) -> None:
        """Write the group `relpath`; see `Storage`.

        Another conversion can write the same sample, and so the same bytes, at the same time. Neither deletes objects
        of the other. If an object is missing in the end, the root is not written, so the group is not complete.
        """
        root = f"{relpath}/{ROOT_KEY}"
        former = {item.key for item in self.objects(relpath)}
        replaces = root in former
        if replaces:
            self.delete([root])
        written: list[str] = []
        try:
            for key, parts in objects:
                if key == ROOT_KEY:
                    self.delete(sorted(former.difference(written, [root])))
                    self._require_all(relpath, written)
                written.append(f"{relpath}/{key}")
                self._put(written[-1], parts)
        except BaseException as error:
            try:
                self._take_back(root, written, former, replaces=replaces)
            except StorageError as left:
                error.add_note(f"the objects that were written could not be removed: {left}")
            raise

    def _take_back(self, root: str, written: list[str], former: set[str], *, replaces: bool) -> None:
        if root in written:
            # First and in its own request: the root can exist although its write failed, and one request deletes its
            # objects in any order. All other objects stay until the root is deleted.
            self.delete([root])
        elif self.read_if_there(root) is not None:
            return
        self.delete(written[::-1] if replaces else [key for key in written[::-1] if key not in former])
        self.delete(sorted(former.difference(written)) if replaces else [])

    def remove_group(self, relpath: str) -> None:
        """Remove a group; see `Storage`.

        The root is deleted in its own request, since one request deletes its objects in any order.
        """
        root = f"{relpath}/{ROOT_KEY}"
        for _ in range(_REMOVAL_TRIES):
            there = [item.key for item in self.objects(relpath)]
            if not there:
                return
            if root in there:
                self.delete([root])
            self.delete([key for key in there if key != root])
        raise StorageError(
            f"cannot remove {self.root}/{relpath}: another process writes it at the same time; end that process, and "
            "run the removal again"
        )

    def require_changeable(self, relpath: str) -> None:
        """No-op, since objects cannot be links; see `Storage`."""

    def is_linked(self, relpath: str) -> bool:  # noqa: ARG002  # the signature is that of Storage
        """Return False, since objects cannot be links; see `Storage`."""
        return False

    def remove_staged(self, relpath: str, pid: int) -> None:
        """No-op: another machine can be writing the same objects, and the next write replaces them."""

    def abandoned(self) -> list[StagedWrite]:
        """Return an empty list, since objects appear atomically and nothing is staged; see `Storage`."""
        return []

    def recover(self, staged: StagedWrite) -> None:
        """Remove a staged write; see `Storage`."""
        self.delete([staged.key])

    def recover_own(self, relpaths: Iterable[str]) -> None:
        """No-op, since the writer of a staged object can be another machine; see `Storage`."""

    def _require_bucket(self, key: str) -> None:
        """Raise `StorageError` if a listing finds no bucket. Some servers answer "forbidden" to writes without one."""
        try:
            list(self.objects(key))
        except StorageError as error:
            if "bucket does not exist" in str(error):
                raise StorageError(f"cannot write {self.root}/{key}: {NO_BUCKET}") from error

    def _require_all(self, relpath: str, written: list[str]) -> None:
        there = {item.key for item in self.objects(relpath)}
        missing = [key for key in written if key not in there]
        if missing:
            raise StorageError(
                f"cannot write {self.root}/{relpath}: another conversion of the same sample has failed, and has "
                f"deleted {missing[0]}; run the command again"
            )
