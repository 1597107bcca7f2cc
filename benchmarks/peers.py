"""The contenders on local disk. Each reads rows of the same sample as its documentation recommends.

Every factory opens its files once, as a training loop does, and returns a function from stored rows to float32 fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import h5py
import hdf5plugin  # noqa: F401 - its import registers the blosc filter
import numpy as np
import tensorstore
import torch
import zarr
from numpy.typing import NDArray

from benchmarks.data import DOMAIN, FIELDS, SAMPLE, Arrays
from benchmarks.formats import Prepared
from benchmarks.zarr_writing import array_path
from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.codec import ChunkCodec, ShardIndex, index_size
from noether.data.zarr_store.layout import ArrayLayout
from noether.data.zarr_store.manifest import StoreManifest
from noether.data.zarr_store.reading import plan_reads
from noether.data.zarr_store.sampling import ChunkPart, Range

__all__ = [
    "ReadRows",
    "ReadSlice",
    "decoding_alone",
    "h5py_slices",
    "npy_slices",
    "ours",
    "tensorstore_slices",
    "torch_rows",
    "zarr_fancy",
    "zarr_slices",
    "zarrs_slices",
]

ReadSlice = Callable[[slice], Arrays]
ReadRows = Callable[[NDArray[np.int64]], Arrays]

_ZARRS_PIPELINE = "zarrs.ZarrsCodecPipeline"


def ours(prepared: Prepared, num_points: int | None, read_concurrency: int = 1) -> Callable[[int], Arrays]:
    """Return a function that reads a draw with this library. Its argument is the seed."""
    reader = ZarrChunkReader(prepared.store_root, read_concurrency=read_concurrency)
    wanted = {DOMAIN: num_points}
    return lambda seed: reader.read_arrays(SAMPLE, wanted, generator=seed)


def decoding_alone(prepared: Prepared, num_points: int, n_draws: int) -> Callable[[int], Arrays]:
    """Decode the chunks of the draws of `ours` from memory into existing arrays, which is the minimum for any reader.

    Only the drawn rows are written. Every call fills the same arrays.
    """
    manifest = StoreManifest.load(str(prepared.store_root))
    entry = manifest.sample(SAMPLE)
    outs = {field: np.zeros((num_points, values.shape[1]), np.float32) for field, values in prepared.shuffled.items()}
    shards = {field: _Shard.load(prepared, manifest.domains[DOMAIN].arrays[field], manifest.checksum) for field in outs}

    def fetch(seed: int) -> Iterator[_Stored]:
        (planned,) = plan_reads(manifest, SAMPLE, entry, None, {DOMAIN: num_points}, (seed,), "consecutive")
        for field, shard in shards.items():
            first_row = 0
            for parts in planned.plan.runs():
                yield shard.take(parts, outs[field], first_row)
                first_row += sum(part.n_points for part in parts)

    draws = [list(fetch(seed)) for seed in range(n_draws)]
    result = {field: as_result(out) for field, out in outs.items()}

    def decode(seed: int) -> Arrays:
        for codec, data, bounds, rows, out, first_row in draws[seed]:
            codec.decode_run(data, bounds, out, rows=rows, first_row=first_row)
        return result

    return decode


class _Stored(NamedTuple):
    """Neighbouring chunks in memory, and the target of their rows: the arguments of `ChunkCodec.decode_run`."""

    codec: ChunkCodec
    data: bytes
    bounds: list[int]
    rows: list[tuple[Range, ...]]
    out: NDArray[Any]
    first_row: int


class _Shard(NamedTuple):
    """The only shard of a field, in memory."""

    codec: ChunkCodec
    data: bytes
    places: ShardIndex

    @classmethod
    def load(cls, prepared: Prepared, layout: ArrayLayout, checksum: bool) -> _Shard:
        """Read the whole shard."""
        n_chunks = -(-prepared.n_points // prepared.chunk_points)
        data = (prepared.group / layout.array_name / "c" / "0" / "0").read_bytes()
        codec = ChunkCodec(np.dtype(layout.dtype).newbyteorder("<"), prepared.chunk_points, layout.dim, checksum)
        return cls(codec, data, ShardIndex.decode(data[-index_size(n_chunks) :], n_chunks, len(data)))

    def take(self, parts: Sequence[ChunkPart], out: NDArray[Any], first_row: int) -> _Stored:
        """Return the chunks of one range of rows."""
        found = self.places.bounds_of(parts[0].chunk, len(parts))
        if found is None:
            raise ValueError(f"chunks from {parts[0].chunk} on are not contiguous")
        start, bounds = found
        rows = [part.ranges for part in parts]
        return _Stored(self.codec, self.data[start : start + bounds[-1]], bounds, rows, out, first_row)


def zarr_slices(prepared: Prepared) -> ReadSlice:
    """Read with zarr-python: ``array[start:stop]``."""
    arrays = _open_arrays(prepared)
    return lambda rows: {field: as_result(array[rows]) for field, array in arrays.items()}


def zarr_fancy(prepared: Prepared) -> ReadRows:
    """Read with zarr-python: ``array.oindex[rows]``."""
    arrays = _open_arrays(prepared)
    return lambda rows: {field: as_result(array.oindex[rows]) for field, array in arrays.items()}


def zarrs_slices(prepared: Prepared) -> ReadSlice:
    """Read with zarr-python over the Rust codec pipeline of zarrs."""
    # An array keeps the codec pipeline that was configured when it was opened.
    with zarr.config.set({"codec_pipeline.path": _ZARRS_PIPELINE}):
        arrays = _open_arrays(prepared)
    for field, array in arrays.items():
        if type(array.async_array.codec_pipeline).__name__ != _ZARRS_PIPELINE.rpartition(".")[2]:
            raise RuntimeError(f"{field} was opened without zarrs")
    return lambda rows: {field: as_result(array[rows]) for field, array in arrays.items()}


def tensorstore_slices(prepared: Prepared, cache_bytes: int = 0) -> ReadSlice:
    """Read with tensorstore: all fields concurrently, as futures.

    Parameters
    ----------
    cache_bytes : int
        Size of its cache of shard indices and decoded chunks; 0 is its default.
    """
    context = tensorstore.Context({"cache_pool": {"total_bytes_limit": cache_bytes}})
    arrays = {
        field: tensorstore.open(
            {
                "driver": "zarr3",
                "kvstore": {"driver": "file", "path": f"{prepared.group}/{array_path(field)}/"},
                # With a cache, do not check again whether files have changed.
                "recheck_cached_data": "open",
            },
            context=context,
            open=True,
            read=True,
        ).result()
        for field in FIELDS
    }

    def read(rows: slice) -> Arrays:
        futures = {field: array[rows].read() for field, array in arrays.items()}
        return {field: as_result(future.result()) for field, future in futures.items()}

    return read


def h5py_slices(prepared: Prepared) -> ReadSlice:
    """Read with h5py: ``dataset[start:stop]``."""
    # HDF5 caches decoded chunks, by now several megabytes per dataset. Repeated reads of one small sample would measure
    # the cache, which does not help a loop over many samples. Reads of whole chunks lose nothing without it.
    file = h5py.File(prepared.hdf5, "r", rdcc_nbytes=0)
    datasets = {field: file[field] for field in FIELDS}
    return lambda rows: {field: as_result(dataset[rows]) for field, dataset in datasets.items()}


def npy_slices(prepared: Prepared) -> ReadSlice:
    """Copy rows from uncompressed, memory-mapped files, which is the minimum for any reader."""
    maps = {field: np.load(file, mmap_mode="r") for field, file in prepared.npy_files.items()}
    return lambda rows: {field: as_result(np.array(mapped[rows], np.float32)) for field, mapped in maps.items()}


def torch_rows(prepared: Prepared, *, mmap: bool) -> Callable[[NDArray[np.int64] | slice], Arrays]:
    """Load the ``.pt`` files, whole or memory-mapped, and index the tensors."""

    def read(rows: NDArray[np.int64] | slice) -> Arrays:
        loaded = {field: torch.load(file, weights_only=True, mmap=mmap) for field, file in prepared.torch_files.items()}
        # Copy float32 too, as float() copies float16, so that no result is a view of a file.
        index: Any = rows if isinstance(rows, slice) else torch.from_numpy(rows)
        return {
            field: as_result(tensor[index].to(torch.float32, copy=True).numpy()) for field, tensor in loaded.items()
        }

    return read


def as_result(values: Any) -> NDArray[Any]:
    """Cast to float32 and drop the second axis of a scalar field, as `ZarrChunkReader` does."""
    array = np.asarray(values, np.float32)
    return array[:, 0] if array.shape[1] == 1 else array


def _open_arrays(prepared: Prepared) -> dict[str, zarr.Array[Any]]:
    group = zarr.open_group(str(prepared.group), mode="r", zarr_format=3)
    arrays = {}
    for field in FIELDS:
        array = group[array_path(field)]
        if not isinstance(array, zarr.Array):
            raise TypeError(f"{array_path(field)} is not an array")
        arrays[field] = array
    return arrays
