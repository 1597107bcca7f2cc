"""Arrays that zarr-python reads: with codecs that `shard` does not know, or through a caller's own store."""

from __future__ import annotations

import zlib
from gzip import BadGzipFile
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, RangeByteRequest, Store
from zarr.storage import WrapperStore

from noether.data.zarr_store.core import ROOT_KEY
from noether.data.zarr_store.errors import CorruptDataError, StorageError
from noether.data.zarr_store.sampling import ReadPlan
from noether.data.zarr_store.stores import STORAGE_ERRORS

__all__ = ["StrictStore", "open_array", "open_group", "read_rows_of_plan"]

# What zarr-python and the codecs raise where the bytes are at fault, and not the storage.
DECODE_ERRORS = (
    ValueError,
    RuntimeError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    EOFError,
    zlib.error,
)


# More than any storage holds in one object: an index that points past it is no index.
_MAX_OBJECT_BYTES = 1 << 50


class StrictStore(WrapperStore[Store]):
    """Refuses to read a chunk or shard that is not there, or empty, or bytes where none can be.

    Zarr takes a missing one for fill values. `ZarrStoreWriter` writes all of them, zeros included, so that in its
    stores a missing one is a lost one. A shard that was cut where a chunk as long as the index ends has that chunk,
    its checksum right, in the index's place.
    """

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read an object or a range of one."""
        if (
            isinstance(byte_range, RangeByteRequest)
            and not 0 <= byte_range.start <= byte_range.end <= _MAX_OBJECT_BYTES
        ):
            raise CorruptDataError(f"the index of {key} names bytes {byte_range.start} to {byte_range.end}")
        data = await self._store.get(key, prototype, byte_range)
        if not data and key.rpartition("/")[2] != ROOT_KEY:
            raise CorruptDataError(f"{key} is missing or empty")
        return data


def open_group(store: Store, *, complete: bool, where: str) -> zarr.Group:
    """Open the group of a sample.

    Parameters
    ----------
    store : zarr Store
        Its root is the group.
    complete : bool
        Whether a chunk that is not stored is a lost one.
    where : str
        Names the sample, to begin an error with.

    Raises
    ------
    CorruptDataError
        There is no group, or its metadata cannot be read.
    StorageError
        The storage fails.
    """
    try:
        return zarr.open_group(StrictStore(store) if complete else store, mode="r", zarr_format=3)
    except FileNotFoundError as error:
        raise CorruptDataError(
            f"{where}: the manifest lists it, but there is no group at {store}; convert the sample again"
        ) from error
    except STORAGE_ERRORS as error:
        raise StorageError(f"{where}: cannot open its group: {error}") from error
    except DECODE_ERRORS as error:
        raise CorruptDataError(
            f"{where}: the metadata of its group cannot be read ({error}); convert it again"
        ) from error


def open_array(group: zarr.Group, path: str, shape: tuple[int, int], where: str) -> zarr.Array[Any]:
    """Give the array at `path` of a group.

    Parameters
    ----------
    group : zarr.Group
        The sample's group.
    path : str
        The array in it, ``<domain>/<name>``.
    shape : (int, int)
        What the manifest says.
    where : str
        Names sample and field, to begin an error with.

    Raises
    ------
    CorruptDataError
        There is none, or one of another shape.
    """
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


def read_rows_of_plan(array: zarr.Array[Any], plan: ReadPlan, out: NDArray[Any], where: str) -> None:
    """Read the rows of a plan into `out`, each run of neighbouring chunks at once.

    Parameters
    ----------
    array : zarr.Array, shape (plan.grid.n_points, width)
        What to read.
    plan : ReadPlan
        Its rows.
    out : ndarray, shape (plan.n_points, width)
        The result, of any floating dtype.
    where : str
        Names sample and field, to begin an error with.

    Raises
    ------
    CorruptDataError
        The array cannot be decoded.
    StorageError
        The storage fails.
    """
    filled = 0
    for run in plan.runs():
        rows = plan.grid.rows(run[0].chunk, run[-1].chunk + 1)
        block = _read_rows(array, rows, where)
        for part in run:
            first = part.chunk * plan.grid.chunk_points - rows.start
            for start, stop in part.ranges:
                out[filled : filled + stop - start] = block[first + start : first + stop]
                filled += stop - start


def _read_rows(array: zarr.Array[Any], rows: slice, where: str) -> NDArray[Any]:
    try:
        return np.asarray(array[rows])
    except (*DECODE_ERRORS, *STORAGE_ERRORS) as error:
        # gzip calls broken bytes an OSError.
        if isinstance(error, STORAGE_ERRORS) and not isinstance(error, BadGzipFile):
            raise StorageError(f"{where}: cannot be read: {error}") from error
        raise CorruptDataError(f"{where}: its bytes cannot be decoded ({error}); convert the sample again") from error
