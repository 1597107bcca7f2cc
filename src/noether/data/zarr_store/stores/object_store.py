"""Stores in object storage, through obstore: S3, Google Cloud Storage, Azure, HTTP."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError, UnknownConfigurationKeyError
from obstore.store import ObjectStore as Bucket
from obstore.store import from_url
from zarr.abc.store import Store
from zarr.storage import ObjectStore

from noether.data.zarr_store.errors import ArgumentError, StorageError
from noether.data.zarr_store.stores.base import Buffer, ObjectSize, StorageByObjects

__all__ = ["OBSTORE_PROTOCOLS", "ObstoreStorage"]

OBSTORE_PROTOCOLS = frozenset({"s3", "s3a", "gs", "az", "abfs", "abfss", "http", "https"})

# obstore's own default retries for three minutes before it says that a server cannot be reached.
_RETRY = {"max_retries": 6, "retry_timeout": timedelta(seconds=30)}
_UPDATE_TRIES = 50

# S3 allows 10,000 parts an object: 80 GB of these.
_PART_BYTES = 8 << 20
_PARTS_IN_FLIGHT = 3


class ObstoreStorage(StorageByObjects):
    """The objects below one URL; see `Storage`.

    Parameters
    ----------
    root : str
        ``s3://bucket/prefix`` and the like; taken literally, without percent-encoding.
    options : mapping
        Keywords of `obstore.store.from_url`: configuration keys such as ``endpoint``, ``access_key_id`` and
        ``region``, and ``client_options``, ``retry_config``. The usual environment variables count as well.
    """

    def __init__(self, root: str, options: Mapping[str, Any]) -> None:
        self.root = root
        self._options = dict(options)
        self._bucket = self._open(root)

    def read_if_there(self, key: str) -> bytes | None:
        """Read an object; see `Storage`."""
        with _reported(f"cannot read {self.root}/{key}"):
            try:
                return bytes(obstore.get(self._bucket, key).bytes())
            except FileNotFoundError:
                return None

    def read_range(self, key: str, start: int, length: int) -> Buffer:
        """Read a part of an object; see `Storage`."""
        with _reported(f"cannot read {self.root}/{key}"):
            return memoryview(obstore.get_range(self._bucket, key, start=start, length=length))

    def read_tail(self, key: str, length: int) -> tuple[Buffer, int] | None:
        """Read the end of an object; see `Storage`."""
        with _reported(f"cannot read {self.root}/{key}"):
            try:
                found = obstore.get(self._bucket, key, options={"range": {"suffix": length}})
                return memoryview(found.bytes()), found.meta["size"]
            except FileNotFoundError:
                return None

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
        mode: Any
        with _reported(f"cannot write {self.root}/{key}"):
            try:
                found = obstore.get(self._bucket, key)
                current, meta = bytes(found.bytes()), dict(found.meta)
                # A bucket without versioning gives no version, and obstore takes no None for one.
                mode = {name: meta[name] for name in ("e_tag", "version") if meta[name] is not None}
            except FileNotFoundError:
                current, mode = None, "create"
            try:
                obstore.put(self._bucket, key, change(current), mode=mode)
            except (AlreadyExistsError, PreconditionError):
                return False
            return True

    def objects(self, prefix: str = "") -> Iterator[ObjectSize]:
        """List objects; see `Storage`."""
        with _reported(f"cannot list {self.root}/{prefix}"):
            for batch in obstore.list(self._bucket, prefix or None):
                for meta in batch:
                    yield ObjectSize(meta["path"], meta["size"])

    def zarr_store(self, relpath: str, *, read_only: bool) -> Store:
        """Open a group; see `Storage`."""
        return ObjectStore(self._open(f"{self.root}/{relpath}"), read_only=read_only)

    def _put(self, key: str, parts: Iterable[bytes]) -> None:
        with _reported(f"cannot write {self.root}/{key}"):
            # Small objects in one request, large ones as a multipart upload of a bounded number of buffers.
            if isinstance(parts, list):
                obstore.put(self._bucket, key, b"".join(parts))
            else:
                obstore.put(self._bucket, key, iter(parts), chunk_size=_PART_BYTES, max_concurrency=_PARTS_IN_FLIGHT)

    def delete(self, keys: list[str]) -> None:
        """Delete objects; see `Storage`."""
        if keys:
            with _reported(f"cannot delete in {self.root}"):
                obstore.delete(self._bucket, keys)

    def _open(self, url: str) -> Bucket:
        options = {**self._options, "retry_config": _RETRY | self._options.get("retry_config", {})}
        if str(options.get("endpoint", "")).startswith("http://"):
            # Whoever names a plain http endpoint has said that http is allowed.
            options["client_options"] = {"allow_http": True, **options.get("client_options", {})}
        # Not urlsplit: a "?" in a sample id begins no query.
        scheme, _, location = url.partition("://")
        bucket, _, path = location.partition("/")
        try:
            return from_url(f"{scheme}://{bucket}/{quote(path)}", **options)
        except UnknownConfigurationKeyError as error:
            raise ArgumentError(
                f"storage_options: {str(error).splitlines()[0]} obstore reads {scheme}:// and takes keys such as "
                "'endpoint', 'access_key_id', 'secret_access_key', 'region'; to use the options of fsspec's file "
                "system (s3fs: 'key', 'secret', 'endpoint_url'), add 'driver': 'fsspec'"
            ) from error
        except BaseError as error:
            raise StorageError(f"cannot open {url}: {_first_line(error)}") from error


@contextmanager
def _reported(what: str) -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{what}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
