"""What the rest of the library asks of the place where a store's bytes live."""

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

# More than the manifest of half a million samples.
MAX_DOCUMENT_BYTES = 1 << 30

# Each time, another process has put objects into a group that is being removed.
_REMOVAL_TRIES = 5

NO_BUCKET = "the bucket does not exist; create it, or correct the URL"
"""The reason that an error has where a server says so."""


def require_size(size: int, max_bytes: int, where: str) -> None:
    """Raise `TooLargeError` where an object is larger than it can be, before it is read."""
    if size > max_bytes:
        raise TooLargeError(f"{where} has {size:,} bytes; expected a document of at most {max_bytes:,}")


class StoredObject(NamedTuple):
    """One object or file as a listing has it.

    Attributes
    ----------
    key : str
        Relative to the root.
    size : int
        Bytes.
    version : str
        Changes when the object is replaced: its entity tag, or the time of its last change; empty where the storage
        tells neither.
    """

    key: str
    size: int
    version: str


class LocalFile(Protocol):
    """A file that stays open as long as somebody refers to this object."""

    @property
    def descriptor(self) -> int:
        """Its file descriptor, which is not to be closed nor moved."""


class Storage(Protocol):
    """The objects below one root. Safe to use from many threads; not to be carried over a fork."""

    root: str

    @property
    def n_retries(self) -> int:
        """Requests that this process sent again so far, where the library that sends them does not hide it."""

    def read_if_there(self, key: str) -> bytes | None:
        """Read a document; ``None`` where there is none. `TooLargeError` where it has more than 1 GiB."""

    def read_range(self, key: str, start: int, length: int) -> Buffer:
        """Read `length` bytes of an object, or fewer where it ends; `StorageError` where there is none."""

    def local_file(self, key: str) -> LocalFile | None:
        """Return the open file of an object for code that reads it itself; None where `read_range` has to read."""

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

    def remove_group(self, relpath: str) -> None:
        """Remove the group `relpath` and everything below it, the root ``zarr.json`` first; no-op without a group.

        A reader finds the group or none, and a kill leaves a group without its root. Staged copies that killed writers
        left of the group go as well. A link is removed, and its target stays.
        """

    def require_changeable(self, relpath: str) -> None:
        """Raise `StorageError` where a link leads out of the root on the way to the group `relpath`."""

    def is_linked(self, relpath: str) -> bool:
        """Return whether a link lies on the way to the group `relpath`, or in its place."""

    def remove_staged(self, relpath: str, pid: int) -> None:
        """Remove what a process of this machine, which has been killed, left of the group `relpath`."""

    def abandoned(self) -> list[StagedWrite]:
        """List what writers that were killed left of what they had not put in its place yet."""

    def recover(self, staged: StagedWrite) -> None:
        """Put a group back where it belongs, if the staged write restores one, else remove it."""

    def recover_own(self, relpaths: Iterable[str]) -> None:
        """Recover what processes of this machine that were killed left at the root, and beside some groups.

        Never fails: what cannot be recovered stays.
        """

    def delete(self, keys: list[str]) -> None:
        """Delete objects; those that are not there are passed over."""

    def delete_if_same(self, key: str, data: bytes) -> None:
        """Delete an object that has these bytes; locally, under the lock of `update`."""

    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        """List the objects below a directory, in no particular order."""

    def zarr_store(self, relpath: str, *, read_only: bool) -> Store:
        """Open the group `relpath` as a zarr Store."""


class StorageByObjects:
    """Groups as objects that appear one by one: the root ``zarr.json`` goes first and comes last."""

    root: str

    @property
    def n_retries(self) -> int:
        """Return 0: the file system does not tell; see `Storage`."""
        return 0

    def read_if_there(self, key: str) -> bytes | None:
        """Read a document; see `Storage`."""
        return self._read(key, MAX_DOCUMENT_BYTES)

    def local_file(self, key: str) -> None:
        """Return None: no file of this machine holds an object; see `Storage`."""

    @abstractmethod
    def _read(self, key: str, max_bytes: int | None = None) -> bytes | None:
        """Read an object; ``None`` where there is none. `TooLargeError` where it has more than `max_bytes`."""

    def open_file(self, key: str) -> BinaryIO:
        """Read an object, as a file; see `Storage`."""
        data = self._read(key)
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

    def delete_if_same(self, key: str, data: bytes) -> None:
        """Delete an object that has these bytes; see `Storage`."""
        if self.read_if_there(key) == data:
            self.delete([key])

    @abstractmethod
    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        """List the objects below a directory, in no particular order."""

    def write_group(self, relpath: str, objects: Iterable[tuple[str, Iterable[bytes]]]) -> None:
        """Write the group `relpath`; see `Storage`.

        Another run may be writing the same sample, and so the same bytes. Neither takes objects away that the other has
        put, and where one is missing in the end, the group does not become complete.
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
                error.add_note(f"what was written of it could not be removed: {left}")
            raise

    def _take_back(self, root: str, written: list[str], former: set[str], *, replaces: bool) -> None:
        if root in written:
            # Before all else, and on its own: it may be there although no answer said so, and what is deleted at once
            # is deleted in no order. Until it is gone, all of the group stays.
            self.delete([root])
        elif self.read_if_there(root) is not None:
            return
        self.delete(written[::-1] if replaces else [key for key in written[::-1] if key not in former])
        self.delete(sorted(former.difference(written)) if replaces else [])

    def remove_group(self, relpath: str) -> None:
        """Remove a group; see `Storage`.

        The root is deleted by a request of its own: objects that are deleted by one request go in any order.
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
            "run again"
        )

    def require_changeable(self, relpath: str) -> None:
        """No-op: there are no links; see `Storage`."""

    def is_linked(self, relpath: str) -> bool:  # noqa: ARG002  # the signature is that of Storage
        """Return False: there are no links; see `Storage`."""
        return False

    def remove_staged(self, relpath: str, pid: int) -> None:
        """Leave what is there: another machine may be writing the same objects, and the next write replaces them."""

    def abandoned(self) -> list[StagedWrite]:
        """List what killed writers left; see `Storage`.

        Nothing, where objects appear whole: a group that is not complete yet lies in its place.
        """
        return []

    def recover(self, staged: StagedWrite) -> None:
        """Remove what is left over; see `Storage`."""
        self.delete([staged.key])

    def recover_own(self, relpaths: Iterable[str]) -> None:
        """Leave what there is: what is staged does not say on which machine; see `Storage`."""

    def _require_bucket(self, key: str) -> None:
        """Raise `StorageError` where a listing finds no bucket: some servers forbid all writes to such a one."""
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
                f"cannot write {self.root}/{relpath}: {missing[0]} was taken away meanwhile, by another run that "
                "worked on the same sample and broke off; run again"
            )
