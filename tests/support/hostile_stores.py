"""A small store, and functions that forge its documents and use it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from noether.data.schemas import FileMap
from noether.data.zarr_store import StoreManifest, ZarrChunkReader
from noether.data.zarr_store.errors import StoreError
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.stores import make_store
from noether.data.zarr_store.upkeep.summary import summarize
from support.reading import write_samples

__all__ = ["ACTIONS", "FILEMAP", "SAMPLE", "Document", "edit_json", "fresh_copy", "make_small_store", "outcome_of"]

Document = dict[str, Any]

FILEMAP = FileMap(surface_position="p.npy", surface_pressure="q.npy")
SAMPLE = {
    "surface_position": np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32),
    "surface_pressure": np.random.default_rng(1).normal(size=50).astype(np.float32),
}


def make_small_store(root: Path) -> Path:
    """Write two samples of 50 points in chunks of 8."""
    return write_samples(root, {"s1": SAMPLE, "s2": SAMPLE}, FILEMAP, chunk_points=8)


def fresh_copy(intact: Path, root: Path) -> Path:
    """Return a copy of a store at `root`, which replaces a former copy."""
    shutil.rmtree(root, ignore_errors=True)
    return Path(shutil.copytree(intact, root))


def edit_json(path: Path, change: Callable[[Document], object]) -> None:
    """Change a JSON document in place."""
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


# The actions of a user with a store from an untrusted source.
ACTIONS: Mapping[str, Callable[[Path], object]] = {
    "read it whole": lambda root: ZarrChunkReader(root).read_arrays("s1"),
    "draw from it": lambda root: ZarrChunkReader(root).read_arrays("s1", {"surface": 10}, 0),
    "draw scattered chunks": lambda root: ZarrChunkReader(root, chunk_order="scattered").read_arrays(
        "s1", {"surface": 10}, 0
    ),
    "go over it": lambda root: list(islice(ZarrChunkReader(root).iter_sample("s1", 10), 10)),
    "restore its order": lambda root: ZarrChunkReader(root).read_arrays("s1", order="original"),
    "ask for its permutation": lambda root: ZarrChunkReader(root).permutation("s1", "surface"),
    "ask what a read costs": lambda root: ZarrChunkReader(root).cost("s1"),
    "read it through a store of one's own": lambda root: ZarrChunkReader(root, store_factory=make_store).read_arrays(
        "s1"
    ),
    "sum it up": summarize,
    "index it": write_chunk_index,
    "read its group alone": lambda root: StoreManifest.of_group((root / "s1.zarr/zarr.json").read_bytes(), "s1"),
}


def outcome_of(action: Callable[[Path], object], root: Path) -> StoreError | None:
    """Return the `StoreError` that an action raises; None if it succeeds. Other errors are raised and fail the test."""
    try:
        action(root)
    except StoreError as error:
        return error
    return None
