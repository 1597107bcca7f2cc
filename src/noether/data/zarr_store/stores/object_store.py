"""Storage in object storage, through obstore: S3, Google Cloud Storage, Azure, HTTP."""

from __future__ import annotations

import hashlib
import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    GenericError,
    PermissionDeniedError,
    PreconditionError,
    UnknownConfigurationKeyError,
)
from zarr.abc.store import Store
from zarr.storage import ObjectStore

from noether.data.zarr_store.errors import ArgumentError, StorageError, StoreError, TooLargeError
from noether.data.zarr_store.stores.base import NO_BUCKET, Buffer, StorageByObjects, StoredObject
from noether.data.zarr_store.stores.bucket import PART_BYTES, Bucket, ObstoreBucket, claim_obstore, open_store
from noether.data.zarr_store.stores.bucket_store import BucketStore
from noether.data.zarr_store.stores.denials import reason_of_denial
from noether.data.zarr_store.stores.forked_bucket import ForkedBucket
from noether.data.zarr_store.stores.forks import keep_in_forks
from noether.data.zarr_store.stores.locks import locked
from noether.data.zarr_store.stores.retry import PatientBucket, Retries, is_not_implemented
from noether.data.zarr_store.stores.weaknesses import warn_once

__all__ = ["OBSTORE_PROTOCOLS", "ObstoreStorage"]

OBSTORE_PROTOCOLS = frozenset({"s3", "s3a", "gs", "az", "abfs", "abfss", "http", "https"})

_UPDATE_TRIES = 50

_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|specified (bucket|container) does not exist")

# Roots whose server has no conditional puts, as far as this process knows.
_without_conditions: set[str] = set()
_NO_CONDITIONS = (
    "this storage has no conditional writes. Let only one machine write to the store at a time: two can lose each "
    "other's samples; noether-zarr merge recovers them."
)

Opened = TypeVar("Opened")


class ObstoreStorage(StorageByObjects):
    """The objects below one URL; see `Storage`.

    Parameters
    ----------
    root : str
        URL such as ``s3://bucket/prefix``, taken literally, without percent-encoding.
    options : mapping
        Keyword arguments of `obstore.store.from_url`: configuration keys such as ``endpoint``, ``access_key_id`` and
        ``region``, and ``client_options``, ``retry_config``. The usual environment variables apply too. A request that
        fails for a transient reason is sent again, within the bounds of ``retry_config``.

    Notes
    -----
    If a server does not implement conditional puts, or ``conditional_put`` is ``"disabled"``, a lock protects updates
    by the processes of one machine. Updates by several machines can lose each other's changes. A `StorageWarning` says
    so once.
    """

    def __init__(self, root: str, options: Mapping[str, Any]) -> None:
        self.root = root
        self._options = dict(options)
        self._retries = Retries.of(options)
        self._opened, self._pid = self._open_bucket(), os.getpid()

    def _read(self, key: str, max_bytes: int | None = None) -> bytes | None:
        with self._reported(f"cannot read {self.root}/{key}"):
            try:
                return bytes(self._bucket.get(key, max_bytes=max_bytes)[0])
            except FileNotFoundError:
                return None
            except OverflowError as error:
                raise TooLargeError(f"{self.root}/{key}: {error}; restore it from a copy") from error

    def read_range(self, key: str, start: int, length: int) -> Buffer:
        """Read a byte range of an object; see `Storage`."""
        with self._reported(f"cannot read {self.root}/{key}"):
            return self._bucket.get(key, (start, start + length))[0]

    def read_tail(self, key: str, length: int) -> tuple[Buffer, int] | None:
        """Read the end of an object; see `Storage`."""
        with self._reported(f"cannot read {self.root}/{key}"):
            try:
                data, meta = self._bucket.get(key, {"suffix": length})
            except FileNotFoundError:
                return None
            return data, meta["size"]

    def update(self, key: str, change: Callable[[bytes | None], bytes]) -> None:
        """Replace an object by a conditional put, and retry if another writer came first; see `Storage`."""
        for attempt in range(_UPDATE_TRIES):
            if self._update_once(key, change):
                return
            # Another writer was faster. Wait for a random time, which grows with each attempt.
            time.sleep(random.uniform(0.0, min(0.02 * 2**attempt, 2.0)))
        raise StorageError(
            f"cannot write {self.root}/{key}: other writers were faster {_UPDATE_TRIES} times in a row; try again"
        )

    def _update_once(self, key: str, change: Callable[[bytes | None], bytes]) -> bool:
        with self._reported(f"cannot write {self.root}/{key}"):
            return self._retries.call(lambda: self._replace(key, change))

    def _replace(self, key: str, change: Callable[[bytes | None], bytes]) -> bool:
        if self.root in _without_conditions:
            return self._replace_alone(key, change)
        mode: Any
        try:
            data, meta = self._bucket.get(key)
            # A bucket without versioning returns None as version, which obstore does not accept.
            mode = {name: meta[name] for name in ("e_tag", "version") if meta[name] is not None}
            current = bytes(data)
        except FileNotFoundError:
            current, mode = None, "create"
        new = change(current)
        try:
            self._bucket.put(key, new, mode)
        except (AlreadyExistsError, PreconditionError):
            # This put can itself have replaced the object, if its answer was lost and it was sent again.
            return self._holds(key, new)
        except (PermissionDeniedError, FileNotFoundError):
            self._require_bucket(key)
            raise
        except (GenericError, NotImplementedError) as error:
            if is_not_implemented(error):
                warn_once(f"{self.root}: {_NO_CONDITIONS}")
                _without_conditions.add(self.root)
                return False
            if not self._holds(key, new):
                raise
        return True

    def _replace_alone(self, key: str, change: Callable[[bytes | None], bytes]) -> bool:
        """Replace an object without a conditional put, under a lock that only processes of this machine respect."""
        with locked(_lock_of_machine(self.root)):
            current = self._read(key)
            new = change(current)
            # The change can have taken long, so the object is read again. A change by another machine after this read
            # is not noticed.
            if self._read(key) != current:
                return False
            self._put(key, [new])
        return True

    def _holds(self, key: str, data: bytes) -> bool:
        try:
            return self._bucket.get(key)[0] == data
        except FileNotFoundError:
            return False

    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        """List objects; see `Storage`."""
        with self._reported(f"cannot list {self.root}/{prefix}"):
            found = self._bucket.objects(prefix)
        for meta in found:
            yield StoredObject(meta["path"], meta["size"], _version(meta))

    def zarr_store(self, relpath: str, *, read_only: bool) -> Store:
        """Open a group as a zarr Store; see `Storage`."""
        url = f"{self.root}/{relpath}"
        if claim_obstore():
            return ObjectStore(self._open(open_store, url), read_only=read_only)
        return BucketStore(self._open(ForkedBucket, url), read_only=read_only)

    def _put(self, key: str, parts: Iterable[bytes]) -> None:
        with self._reported(f"cannot write {self.root}/{key}"):
            if isinstance(parts, list):
                self._bucket.put(key, b"".join(parts))
                return
            # A small object is written in one request, which can be sent again, and a large one as a multipart upload
            # with a bounded number of buffers.
            rest, head = iter(parts), bytearray()
            for part in rest:
                head += part
                if len(head) > PART_BYTES:
                    self._bucket.upload(key, chain([bytes(head)], rest))
                    return
            self._bucket.put(key, bytes(head))

    def delete(self, keys: list[str]) -> None:
        """Delete objects; see `Storage`."""
        if keys:
            with self._reported(f"cannot delete in {self.root}"):
                self._bucket.delete(keys)

    @property
    def n_retries(self) -> int:
        """Number of requests that this process has sent again so far, without parts of uploads; see `Storage`."""
        return self._opened.n_retries if self._pid == os.getpid() else 0

    @property
    def _bucket(self) -> Bucket:
        # A forked process must open its own bucket.
        if self._pid != os.getpid():
            self._opened, self._pid = self._open_bucket(), os.getpid()
        return self._opened

    def _open_bucket(self) -> PatientBucket:
        opened_by: Callable[[str, Mapping[str, Any]], Bucket] = ObstoreBucket if claim_obstore() else ForkedBucket

        def open_repeating() -> Bucket:
            # The options have been checked before, so only the first request can fail.
            bucket = opened_by(self.root, self._options)
            keep_in_forks(bucket)
            return bucket

        not_at_all = {**self._options.get("retry_config", {}), "max_retries": 0}
        once = self._open(opened_by, self.root, {**self._options, "retry_config": not_at_all})
        return PatientBucket(once, open_repeating, self._retries)

    def _open(
        self, opened_by: Callable[[str, Mapping[str, Any]], Opened], url: str, options: Mapping[str, Any] | None = None
    ) -> Opened:
        try:
            opened = opened_by(url, self._options if options is None else options)
        except UnknownConfigurationKeyError as error:
            scheme = url.partition("://")[0]
            raise ArgumentError(
                f"storage_options: {str(error).splitlines()[0]} obstore reads {scheme}:// and takes keys such as "
                "'endpoint', 'access_key_id', 'secret_access_key', 'region'; to use the options of fsspec's file "
                "system (s3fs: 'key', 'secret', 'endpoint_url'), add 'driver': 'fsspec'"
            ) from error
        except StoreError:
            raise
        except (BaseError, OSError, ValueError) as error:  # a ValueError for a malformed URL
            raise StorageError(f"cannot open {url}: {_first_line(error)}") from error
        keep_in_forks(opened)
        return opened

    @contextmanager
    def _reported(self, what: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            if isinstance(error, StorageError):
                raise
            if _NO_BUCKET.search(str(error)):
                raise StorageError(f"{what}: {NO_BUCKET}") from error
            # The notes have the number of tries, if above one, and the host name that did not resolve.
            reason = reason_of_denial(error, self._options) or _first_line(error)
            raise StorageError("; ".join([f"{what}: {reason}", *getattr(error, "__notes__", [])])) from error


def _lock_of_machine(root: str) -> Path:
    """Return the file whose lock protects the objects of a root; each user of a machine has separate files."""
    user = os.getuid() if hasattr(os, "getuid") else ""
    return Path(tempfile.gettempdir(), f"noether-zarr-{user}-{hashlib.sha256(root.encode()).hexdigest()[:16]}")


def _version(meta: Mapping[str, Any]) -> str:
    return str(meta["e_tag"] or meta["last_modified"].isoformat()).strip('"')


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
