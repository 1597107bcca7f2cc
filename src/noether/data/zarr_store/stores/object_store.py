"""Stores in object storage, through obstore: S3, Google Cloud Storage, Azure, HTTP."""

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

# Roots below which a server does not know conditional puts, as far as this process knows.
_without_conditions: set[str] = set()
_NO_CONDITIONS = (
    "this storage has no conditional writes. Only one machine may write to the store at a time: two could lose each "
    "other's samples, which noether-zarr merge finds again."
)

Opened = TypeVar("Opened")


class ObstoreStorage(StorageByObjects):
    """The objects below one URL; see `Storage`.

    Parameters
    ----------
    root : str
        ``s3://bucket/prefix`` and the like; taken literally, without percent-encoding.
    options : mapping
        Keywords of `obstore.store.from_url`: configuration keys such as ``endpoint``, ``access_key_id`` and
        ``region``, and ``client_options``, ``retry_config``. The usual environment variables count as well. Requests
        that a network or a server fails for a moment are sent again, within the bounds of ``retry_config``.

    Notes
    -----
    Where a server does not implement conditional puts, or ``conditional_put`` is ``"disabled"``, updates by processes
    of one machine keep each other out, and those by several machines can lose one another's changes. A
    `StorageWarning` says so once.
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
                raise TooLargeError(f"{self.root}/{key}: {error}") from error

    def read_range(self, key: str, start: int, length: int) -> Buffer:
        """Read a part of an object; see `Storage`."""
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
        """Replace an object by conditional puts, again until no other came between; see `Storage`."""
        for attempt in range(_UPDATE_TRIES):
            if self._update_once(key, change):
                return
            # Others were faster: step aside for a while, longer each time and never in step with them.
            time.sleep(random.uniform(0.0, min(0.02 * 2**attempt, 2.0)))
        raise StorageError(
            f"cannot write {self.root}/{key}: other writers replaced it {_UPDATE_TRIES} times meanwhile; try again"
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
            # A bucket without versioning gives no version, and obstore takes no None for one.
            mode = {name: meta[name] for name in ("e_tag", "version") if meta[name] is not None}
            current = bytes(data)
        except FileNotFoundError:
            current, mode = None, "create"
        new = change(current)
        try:
            self._bucket.put(key, new, mode)
        except (AlreadyExistsError, PreconditionError):
            # Maybe by this very put, if its answer was lost and it was sent again.
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
        """Replace an object where puts have no conditions: only processes of this machine wait for one another."""
        with locked(_lock_of_machine(self.root)):
            current = self._read(key)
            new = change(current)
            # The change may have taken long. Between these two requests, another machine would not be noticed.
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
        """Open a group; see `Storage`."""
        url = f"{self.root}/{relpath}"
        if claim_obstore():
            return ObjectStore(self._open(open_store, url), read_only=read_only)
        return BucketStore(self._open(ForkedBucket, url), read_only=read_only)

    def _put(self, key: str, parts: Iterable[bytes]) -> None:
        with self._reported(f"cannot write {self.root}/{key}"):
            if isinstance(parts, list):
                self._bucket.put(key, b"".join(parts))
                return
            # Small objects in one request, which can be sent again, large ones as a multipart upload of a bounded
            # number of buffers.
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
    def _bucket(self) -> Bucket:
        # A process that was forked since has to open one of its own.
        if self._pid != os.getpid():
            self._opened, self._pid = self._open_bucket(), os.getpid()
        return self._opened

    def _open_bucket(self) -> Bucket:
        opened_by: Callable[[str, Mapping[str, Any]], Bucket] = ObstoreBucket if claim_obstore() else ForkedBucket

        def open_repeating() -> Bucket:
            # The options have been checked by then, so the request that comes first is what fails.
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
        except (BaseError, OSError, ValueError) as error:  # a ValueError where a URL is none
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
            # How often it was tried, where that was more than once, and why a host was not found.
            reason = reason_of_denial(error, self._options) or _first_line(error)
            raise StorageError("; ".join([f"{what}: {reason}", *getattr(error, "__notes__", [])])) from error


def _lock_of_machine(root: str) -> Path:
    """Return a file that is locked in the place of an object; users of one machine have locks of their own."""
    user = os.getuid() if hasattr(os, "getuid") else ""
    return Path(tempfile.gettempdir(), f"noether-zarr-{user}-{hashlib.sha256(root.encode()).hexdigest()[:16]}")


def _version(meta: Mapping[str, Any]) -> str:
    return str(meta["e_tag"] or meta["last_modified"].isoformat()).strip('"')


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
