"""Stores of the bundled runs to read from, and the source rows of a draw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrStoreWriter
from support.ahmed import AHMED_FILEMAP, Arrays, load_run

Root = TypeVar("Root", Path, str)

FIELDS = {
    domain: [f"{domain}_{name}" for name in names]
    for domain, names in {
        "surface": ["position", "pressure", "friction", "normals", "area"],
        "volume": ["position", "pressure", "velocity", "vorticity", "sdf"],
    }.items()
}
N_POINTS = {"surface": 2041, "volume": 18219}
"""Number of points of run_1, the sample that most tests read."""


def write_samples(root: Root, samples: Mapping[str, Arrays], filemap: FileMap = AHMED_FILEMAP, **settings: Any) -> Root:
    """Write samples and the manifest into the store at `root`; return `root`."""
    writer = ZarrStoreWriter(root, filemap, "ahmed", **settings)
    for sample_id, arrays in samples.items():
        writer.write_sample(sample_id, arrays, attributes={"name": sample_id})
    writer.save_manifest()
    return root


def write_runs(root: Root, *runs: str, **settings: Any) -> Root:
    """Write bundled runs into the store at `root`; return `root`."""
    return write_samples(root, {run: load_run(run) for run in runs}, **settings)


def source_rows(drawn: NDArray[Any], source: NDArray[Any]) -> NDArray[np.int64]:
    """Return the source row of each drawn position, bit for bit; raise `KeyError` if the source lacks it."""
    index = {row.tobytes(): i for i, row in enumerate(source)}
    return np.array([index[row.tobytes()] for row in drawn], dtype=np.int64)


def as_stored(values: NDArray[Any], dtype: str = "float16") -> NDArray[np.float32]:
    """Cast source values as the writer does, and back as the reader does."""
    return values.astype(dtype).astype(np.float32)
