"""The rows of a read plan, fetched and decoded by zarr-python."""

from __future__ import annotations

import os
import zlib
from collections import OrderedDict
from collections.abc import Callable
from gzip import BadGzipFile
from threading import Lock
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, RangeByteRequest, Store
from zarr.storage import WrapperStore

from noether.data.zarr_store.errors import CorruptDataError, StorageError
from noether.data.zarr_store.names import ROOT_KEY
from noether.data.zarr_store.sampling import ReadPlan
from noether.data.zarr_store.stores import STORAGE_ERRORS

__all__ = ["DECODE_ERRORS", "CompleteStore", "OpenGroups", "read_field"]

# What zarr-python and the codecs raise where the bytes are at fault, and not the storage.
DECODE_ERRORS = (ValueError, RuntimeError, TypeError, KeyError, AttributeError, EOFError, zlib.error)

# Each open sample holds the metadata of its arrays, a few kilobytes.
_MAX_OPEN_SAMPLES = 512

# More than any storage holds in one object, and than blosc makes of one chunk: an index that says more is none.
_MAX_OBJECT_BYTES = 1 << 50
_MAX_CHUNK_BYTES = 1 << 32


class OpenGroups:
    """The groups used last. They belong to the process that opened them: a fork or a copy of it opens its own."""

    def __init__(self) -> None:
        self._reset()

    def get(self, sample_id: str, open_it: Callable[[], zarr.Group]) -> zarr.Group:
        """Give the open group of a sample, opened by `open_it` where it is not."""
        if self._pid != os.getpid():
            self._reset()
        with self._lock:
            if sample_id in self._groups:
                self._groups.move_to_end(sample_id)
                return self._groups[sample_id]
        group = open_it()
        with self._lock:
            self._groups[sample_id] = group
            while len(self._groups) > _MAX_OPEN_SAMPLES:
                self._groups.popitem(last=False)
        return group

    def __reduce__(self) -> tuple[type[OpenGroups], tuple[()]]:
        return OpenGroups, ()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = Lock()
        self._groups: OrderedDict[str, zarr.Group] = OrderedDict()


class CompleteStore(WrapperStore[Store]):
    """Refuses to read a chunk or shard that is not there, or empty, or bytes where none can be.

    Zarr takes a missing one for fill values. `ZarrStoreWriter` writes all of them, zeros included, so that in its
    stores a missing one is a lost one. A shard that was cut where a chunk as long as the index ends has that chunk,
    its checksum right, in the index's place.
    """

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read an object or a range of one."""
        if isinstance(byte_range, RangeByteRequest):
            start, end = byte_range.start, byte_range.end
            if not 0 <= start <= end <= min(start + _MAX_CHUNK_BYTES, _MAX_OBJECT_BYTES):
                raise CorruptDataError(f"the index of {key} names bytes {start} to {end}")
        data = await self._store.get(key, prototype, byte_range)
        if not data and key.rpartition("/")[2] != ROOT_KEY:
            raise CorruptDataError(f"{key} is missing or empty")
        return data


def read_field(
    group: zarr.Group,
    path: str,
    plan: ReadPlan,
    width: int,
    dtype: np.dtype[Any] | None,
    where: str,
) -> NDArray[Any]:
    """Read the rows of a plan, each run of neighbouring chunks at once.

    Parameters
    ----------
    group : zarr.Group
        The sample's group.
    path : str
        The array in it, ``<domain>/<name>``.
    plan : ReadPlan
        What to read.
    width : int
        Components per point.
    dtype : numpy.dtype or None
        Dtype of the result; None keeps the stored one.
    where : str
        Names sample and field, to begin an error with.

    Returns
    -------
    ndarray, shape (plan.n_points, width)

    Raises
    ------
    CorruptDataError
        The array is not there, not of the shape that the manifest says, or cannot be decoded.
    StorageError
        The storage fails.
    """
    array = _open_array(group, path, (plan.grid.n_points, width), where)
    out = np.empty((plan.n_points, width), array.dtype.newbyteorder("=") if dtype is None else dtype)
    filled = 0
    for run in plan.runs():
        rows = plan.grid.rows(run[0].chunk, run[-1].chunk + 1)
        block = _read_rows(array, rows, where)
        for part in run:
            first = part.chunk * plan.grid.chunk_points - rows.start
            for start, stop in part.ranges:
                out[filled : filled + stop - start] = block[first + start : first + stop]
                filled += stop - start
    return out


def _open_array(group: zarr.Group, path: str, shape: tuple[int, int], where: str) -> zarr.Array[Any]:
    try:
        array = group[path]
    except KeyError as error:
        raise CorruptDataError(f"{where}: the group has no array {path}; convert the sample again") from error
    except STORAGE_ERRORS as error:
        raise StorageError(f"{where}: cannot be opened: {error}") from error
    except DECODE_ERRORS as error:
        raise CorruptDataError(f"{where}: its metadata cannot be read ({error}); convert the sample again") from error
    found = f"an array of shape {array.shape}" if isinstance(array, zarr.Array) else "a group"
    if not isinstance(array, zarr.Array) or array.shape != shape:
        raise CorruptDataError(
            f"{where}: the manifest says an array of shape {shape}, there is {found}; convert the sample again"
        )
    return array


def _read_rows(array: zarr.Array[Any], rows: slice, where: str) -> NDArray[Any]:
    try:
        return np.asarray(array[rows])
    except (*DECODE_ERRORS, *STORAGE_ERRORS) as error:
        # gzip calls broken bytes an OSError.
        if isinstance(error, STORAGE_ERRORS) and not isinstance(error, BadGzipFile):
            raise StorageError(f"{where}: cannot be read: {error}") from error
        raise CorruptDataError(f"{where}: its bytes cannot be decoded ({error}); convert the sample again") from error
