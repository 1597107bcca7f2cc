"""Arrays that zarr-python reads: arrays with other codecs, or in a zarr Store of the caller."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from gzip import BadGzipFile
from time import perf_counter
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, RangeByteRequest, Store
from zarr.storage import WrapperStore

from noether.data.zarr_store.core import ROOT_KEY
from noether.data.zarr_store.errors import ArgumentError, CorruptDataError, StorageError
from noether.data.zarr_store.reading.io_meter import IoMeter
from noether.data.zarr_store.sampling import ReadPlan
from noether.data.zarr_store.stores import STORAGE_ERRORS

__all__ = ["StrictStore", "ZarrArray", "open_array", "open_group"]

# Errors of zarr-python and the codecs for damaged bytes, as opposed to errors of the storage.
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


# No storage holds larger objects: an index that points past this offset is damaged.
_MAX_OBJECT_BYTES = 1 << 50


class StrictStore(WrapperStore[Store]):
    """Raises `CorruptDataError` for chunks and shards that are missing or empty, and for impossible byte ranges.

    zarr-python reads a missing chunk as fill values. `ZarrStoreWriter` writes all chunks, zeros included, so in its
    stores a missing chunk is a lost chunk. A truncated shard can end in a chunk that is as long as the index and has
    a valid checksum. zarr-python takes such a chunk for the index, and its values for byte ranges.
    """

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read an object, or a byte range of it."""
        if (
            isinstance(byte_range, RangeByteRequest)
            and not 0 <= byte_range.start <= byte_range.end <= _MAX_OBJECT_BYTES
        ):
            raise CorruptDataError(
                f"the index of {key} contains an impossible byte range, {byte_range.start} to {byte_range.end}"
            )
        data = await self._store.get(key, prototype, byte_range)
        if not data and key.rpartition("/")[2] != ROOT_KEY:
            raise CorruptDataError(f"{key} is missing or empty")
        return data


def open_group(store: Store, *, missing_is_error: bool, where: str) -> zarr.Group:
    """Open the group of a sample.

    Parameters
    ----------
    store : zarr Store
        Store whose root is the group.
    missing_is_error : bool
        Whether a chunk that is not stored is an error; otherwise it has fill values.
    where : str
        Sample, with which error messages begin.

    Raises
    ------
    CorruptDataError
        There is no group, or its metadata cannot be read.
    StorageError
        The storage fails.
    """
    try:
        return zarr.open_group(StrictStore(store) if missing_is_error else store, mode="r", zarr_format=3)
    except FileNotFoundError as error:
        raise CorruptDataError(
            f"{where}: the manifest lists it, but there is no group at {store}; convert the sample again"
        ) from error
    except STORAGE_ERRORS as error:
        raise StorageError(f"{where}: cannot open its group: {error}") from error
    except DECODE_ERRORS as error:
        raise CorruptDataError(
            f"{where}: the metadata of its group cannot be read ({error}); convert the sample again"
        ) from error


def open_array(group: zarr.Group, path: str, shape: tuple[int, int], where: str, meter: IoMeter) -> ZarrArray:
    """Open the array at `path` of a group.

    Parameters
    ----------
    group : zarr.Group
        The sample's group.
    path : str
        Path of the array in the group, ``<domain>/<name>``.
    shape : (int, int)
        Shape according to the manifest.
    where : str
        Sample and field, with which error messages begin.
    meter : IoMeter
        Counter of the reads.

    Raises
    ------
    CorruptDataError
        There is no such array, or it has another shape.
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
            f"{where}: expected an array of shape {shape}, as in the manifest, got {found}; convert the sample again"
        )
    return ZarrArray(array, where, meter)


@dataclass(frozen=True, slots=True)
class WholeRead:
    """The read of a plan in one request, whose byte ranges zarr-python chooses."""

    plan: ReadPlan
    length: None = None


@dataclass(frozen=True, slots=True)
class ZarrArray:
    """One field of one sample that zarr-python reads, as a `ReadableArray`.

    Attributes
    ----------
    array : zarr.Array, shape (n_points, width)
        The field.
    where : str
        Sample and field, with which error messages begin.
    meter : IoMeter
        Counter of the decoding time; the store of the array counts the requests, bytes and waiting.
    """

    array: zarr.Array[Any]
    where: str
    meter: IoMeter = field(compare=False)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored dtype, in the byte order of the machine."""
        dtype: np.dtype[Any] = self.array.dtype.newbyteorder("=")
        return dtype

    def unread_indexes(self, _plan: ReadPlan) -> tuple[int, ...]:
        """Return no shard: zarr-python reads the indexes."""
        return ()

    def read_index(self, _shard: int) -> None:
        """No-op; see `unread_indexes`."""

    def requests(self, plan: ReadPlan) -> list[WholeRead]:
        """Return one request for all rows of the plan."""
        return [WholeRead(plan)]

    def read_near(self, _request: WholeRead, _out: NDArray[Any]) -> bool:
        """Return False: arrays that zarr-python reads are not cached; see `ReadableArray.read_near`."""
        return False

    def keep_near(self, _request: WholeRead) -> None:
        """Raise `ArgumentError`: arrays that zarr-python reads are not cached; see `ReadableArray.keep_near`."""
        raise ArgumentError(
            f"{self.where}: the field cannot be cached: only zarr-python reads its codecs; convert the sample again"
        )

    def read(self, request: WholeRead, out: NDArray[Any]) -> None:
        """Read the rows of a plan, each run of neighbouring chunks at once; see `ReadableArray.read`."""
        grid, filled = request.plan.grid, 0
        for run in request.plan.runs():
            rows = grid.rows(run[0].chunk, run[-1].chunk + 1)
            block = self._rows(rows)
            for part in run:
                first = part.chunk * grid.chunk_points - rows.start
                for start, stop in part.ranges:
                    out[filled : filled + stop - start] = block[first + start : first + stop]
                    filled += stop - start

    def _rows(self, rows: slice) -> NDArray[Any]:
        begun, waited = perf_counter(), self.meter.seconds_waiting
        try:
            return _read_rows(self.array, rows, self.where)
        finally:
            # The requests of one read run in parallel, so their total waiting can exceed the duration of the read.
            seconds = perf_counter() - begun - (self.meter.seconds_waiting - waited)
            self.meter.add(seconds_decoding=max(seconds, 0.0))


def _read_rows(array: zarr.Array[Any], rows: slice, where: str) -> NDArray[Any]:
    try:
        return np.asarray(array[rows])
    except (*DECODE_ERRORS, *STORAGE_ERRORS) as error:
        # gzip raises an OSError for damaged bytes.
        if isinstance(error, STORAGE_ERRORS) and not isinstance(error, BadGzipFile):
            raise StorageError(f"{where}: cannot be read: {error}") from error
        raise CorruptDataError(f"{where}: its bytes cannot be decoded ({error}); convert the sample again") from error
