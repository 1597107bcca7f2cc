"""Writing the shuffled sample in the formats of all contenders."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.data import DOMAIN, FIELDS, FILEMAP, SAMPLE, Arrays, source_arrays
from benchmarks.zarr_writing import STORED_DTYPES
from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.sampling import SHUFFLE_ALGORITHM, permutation

__all__ = ["Prepared", "prepare", "write_store"]


@dataclass(frozen=True)
class Prepared:
    """The sample in each format. All formats except `torch_files` have the points in the order of the store.

    Attributes
    ----------
    n_points, chunk_points : int
        Number of points of the sample and of a chunk.
    store_root : Path
        Root of the store, written by `ZarrStoreWriter`; all readers of Zarr read it.
    hdf5 : Path
        HDF5 file with one chunked dataset per field, compressed like the store.
    npy_files, torch_files : mapping of str to Path
        Files of one array each, by field.
    shuffled : dict of str to ndarray
        Stored values by field, which every contender must return.
    """

    n_points: int
    chunk_points: int
    store_root: Path
    hdf5: Path
    npy_files: Mapping[str, Path]
    torch_files: Mapping[str, Path]
    shuffled: Arrays

    @property
    def group(self) -> Path:
        """The sample's Zarr group."""
        return self.store_root / f"{SAMPLE}.zarr"

    def expected(self, rows: slice | NDArray[np.int64]) -> Arrays:
        """Return stored rows as every contender must: in float32, scalar fields without their second axis."""
        return {
            field: (values[rows][:, 0] if values.shape[1] == 1 else values[rows]).astype(np.float32)
            for field, values in self.shuffled.items()
        }


def prepare(work_dir: Path, n_points: int, chunk_points: int, level: int = 5) -> Prepared:
    """Write the sample in all formats; `level` is that of our store. Files of peers are kept for the next benchmark."""
    source = source_arrays(work_dir, n_points)
    directory = source["volume_position"].filename  # type: ignore[attr-defined]  # a memory map has one
    formats = Path(directory).parent / "formats"
    formats.mkdir(exist_ok=True)
    npy_files = _npy_files(formats, source)
    shuffled = {field: np.load(file, mmap_mode="r") for field, file in npy_files.items()}
    store_root = work_dir / (f"store-{n_points}-{chunk_points}" + ("" if level == 5 else f"-level-{level}"))
    write_store(store_root, source, chunk_points, level=level)
    return Prepared(
        n_points,
        chunk_points,
        store_root,
        _hdf5_file(formats / f"chunks-{chunk_points}.h5", shuffled, chunk_points),
        npy_files,
        _torch_files(formats, source),
        shuffled,
    )


def write_store(
    root: Path | str,
    arrays: Mapping[str, Any],
    chunk_points: int,
    storage_options: Mapping[str, Any] | None = None,
    level: int = 5,
) -> None:
    """Write the sample with the code under test, every time, since that code is measured."""
    if isinstance(root, Path):
        shutil.rmtree(root, ignore_errors=True)
    writer = ZarrStoreWriter(
        root,
        FILEMAP,
        "benchmark",
        chunk_points=chunk_points,
        compression_level=level,
        storage_options=storage_options,
    )
    writer.write_sample(SAMPLE, {field: np.asarray(values) for field, values in arrays.items()})
    writer.save_manifest()


def _npy_files(directory: Path, source: Arrays) -> dict[str, Path]:
    """Write one ``.npy`` file per field, shuffled and cast as the store's documentation describes."""
    files = {field: directory / f"{field}.npy" for field in FIELDS}
    if not (directory / "npy-complete").exists():
        n_points = len(source["volume_position"])
        order = permutation(n_points, algorithm=SHUFFLE_ALGORITHM, shuffle_seed=0, sample_id=SAMPLE, domain=DOMAIN)
        for field, file in files.items():
            np.save(file, np.asarray(source[field])[order].astype(STORED_DTYPES[field]))
        (directory / "npy-complete").touch()
    return files


def _torch_files(directory: Path, source: Arrays) -> dict[str, Path]:
    """Write one ``.pt`` file per field, in source order: in memory, all rows of a tensor cost the same."""
    files = {field: directory / f"{field}.pt" for field in FIELDS}
    if not (directory / "pt-complete").exists():
        for field, file in files.items():
            torch.save(torch.from_numpy(source[field].astype(STORED_DTYPES[field])), file)
        (directory / "pt-complete").touch()
    return files


def _hdf5_file(path: Path, shuffled: Arrays, chunk_points: int) -> Path:
    if not path.exists():
        staged = path.with_suffix(".part")
        with h5py.File(staged, "w") as file:
            for field, values in shuffled.items():
                file.create_dataset(
                    field,
                    data=values,
                    chunks=(min(chunk_points, len(values)), values.shape[1]),
                    compression=hdf5plugin.Blosc(cname="zstd", clevel=5, shuffle=hdf5plugin.Blosc.SHUFFLE),
                )
        staged.rename(path)
    return path
