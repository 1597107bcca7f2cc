"""Writing a sample with zarr-python: shuffled and cast by NumPy, then assigned, one shard per field."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec

from benchmarks.data import DOMAIN, FIELDS, Arrays
from noether.data.zarr_store.sampling import SHUFFLE_ALGORITHM, permutation

__all__ = ["STORED_DTYPES", "array_path", "write_with_zarr"]

STORED_DTYPES = {field: np.dtype("f4" if field == "volume_position" else "f2") for field in FIELDS}


def array_path(field: str) -> str:
    """Return the path of a field's array in the group."""
    return f"{DOMAIN}/{field.removeprefix(f'{DOMAIN}_')}"


def write_with_zarr(path: Path, sample_id: str, arrays: Arrays, chunk_points: int, level: int = 5) -> None:
    """Write a sample as a group, with the permutation and the codecs of this library.

    Level 5 is the default of zarr-python's `BloscCodec`.
    """
    group = zarr.open_group(str(path), mode="w", zarr_format=3)
    rows = len(arrays["volume_position"])
    order = permutation(rows, algorithm=SHUFFLE_ALGORITHM, shuffle_seed=0, sample_id=sample_id, domain=DOMAIN)
    for field, values in arrays.items():
        dtype = STORED_DTYPES[field]
        chunks = (min(chunk_points, rows), values.shape[1])
        array = group.create_array(
            array_path(field),
            shape=values.shape,
            dtype=dtype,
            chunks=chunks,
            shards=(-(-rows // chunks[0]) * chunks[0], values.shape[1]),
            serializer=BytesCodec(endian="little"),
            compressors=[
                BloscCodec(cname="zstd", clevel=level, shuffle="shuffle", typesize=dtype.itemsize),
                Crc32cCodec(),
            ],
        )
        array[:] = values[order].astype(dtype)
