"""A store of format version 1 that was written once and never changes, with the values that readers must return.

It is in `tests/data/archived_v1`, and was made by ``cd tests && python -m support.archive``. The expected values are
those of the bundled simulations, in the order of the formula in `docs/format.md`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.schemas import FileMap
from noether.data.zarr_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.reading import write_chunk_index
from support.ahmed import Arrays, load_run

ARCHIVE = Path(__file__).parents[1] / "data" / "archived_v1"
STORE = ARCHIVE / "store"
STORE_WHOLE_BLOCKS = ARCHIVE / "store_whole_blocks"
"""The same store by an earlier writer, with which blosc compressed each block as a whole."""
STORE_ARRAY_PATHS = ARCHIVE / "store_array_paths"
"""The same store by a later writer, with paths of arrays in the manifest and level 5."""
STORE_HASH_ORDER = ARCHIVE / "store_hash_order"
"""The same store by a later writer, with the shuffle ``hash-v1``."""
INDEX_WITH_IDS = ARCHIVE / "index_with_ids"
"""Chunk index and manifest of that store by a later release, with sample ids in the index."""
CONTENT_CHECKSUMS = ARCHIVE / "content_checksums"
"""Manifest and group roots of that store by a later release, with checksums of the content."""
FILEMAP = FileMap(
    surface_position="surface_position_vtp.npy",
    surface_pressure="surface_pressure.npy",
    volume_position="volume_cell_position.npy",
    volume_pressure="volume_cell_totalpcoeff.npy",
    volume_velocity="volume_cell_velocity.npy",
)
_FIELDS = frozenset(FILEMAP.model_dump(exclude_none=True))
SETTINGS: dict[str, Any] = {"shuffle_seed": 7, "chunk_points": 256, "shard_points": 1024}
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "part/run_1": {"design_parameters": [0.25, -3.5], "solver": "OpenFOAM v1912"},
    "run_2": {},
}
SPLITS = {"train": ["part/run_1"], "test": ["run_2"]}
_POINTS = {"part/run_1": {"surface": 700, "volume": 2600}, "run_2": {"surface": 100}}
EPOCH_SAMPLE = "part/run_1"
_RUNS = {"part/run_1": "run_1", "run_2": "run_2"}

DRAWS: list[dict[str, Any]] = [
    {"sample_id": sample_id, "num_points": points, "seed": seed, "chunk_order": order}
    for sample_id, points in (("part/run_1", {"surface": 100, "volume": 600}), ("run_2", {"surface": 30}))
    for seed in (0, 1)
    for order in ("consecutive", "scattered")
]
EPOCHS: list[dict[str, Any]] = [
    {"seed": 5, "epoch": 3, "schedule": schedule, "num_points": {"surface": 100, "volume": 600}}
    for schedule in ("independent", "sweep")
]


@dataclass(frozen=True)
class Expected:
    """Values that readers must return: source values after the cast, and their order in the store."""

    sources: dict[str, Arrays]
    orders: dict[str, dict[str, NDArray[np.int64]]]
    made_with: dict[str, str]

    def stored(self, sample_id: str) -> Arrays:
        """Return the values of a sample in stored order."""
        orders = self.orders[sample_id]
        return {field: values[orders[domain_of(field)]] for field, values in self.sources[sample_id].items()}


def domain_of(field: str) -> str:
    return field.partition("_")[0]


def load_expected(store: Path = STORE) -> Expected:
    """Return the values that readers of a store must return."""
    facts = json.loads((ARCHIVE / "expected.json").read_text())
    sources: dict[str, Arrays] = {sample_id: {} for sample_id in ATTRIBUTES}
    orders: dict[str, dict[str, NDArray[np.int64]]] = {sample_id: {} for sample_id in ATTRIBUTES}
    with np.load(ARCHIVE / "expected.npz") as arrays:
        for key, array in arrays.items():
            sample_id, _, name = key.rpartition("/")
            if name.endswith("_order"):
                orders[sample_id][domain_of(name)] = array
            else:
                sources[sample_id][name] = array
    if store == STORE_HASH_ORDER:
        orders = {
            sample_id: {domain: hash_order_by_hand(sample_id, domain, n_points) for domain, n_points in points.items()}
            for sample_id, points in _POINTS.items()
        }
    return Expected(sources, orders, facts["made_with"])


def source_fields(sample_id: str) -> Arrays:
    """Return the first points of a bundled simulation."""
    points, run = _POINTS[sample_id], load_run(_RUNS[sample_id])
    return {name: run[name][: points[domain_of(name)]] for name in sorted(_FIELDS) if domain_of(name) in points}


def write_store(root: Path) -> Path:
    """Write the store that was archived."""
    writer = ZarrStoreWriter(root, FILEMAP, "ahmed", **SETTINGS)
    for sample_id, attributes in ATTRIBUTES.items():
        writer.write_sample(sample_id, source_fields(sample_id), attributes=attributes)
    writer.save_manifest()
    StoreManifest.update(str(root), lambda manifest: manifest.model_copy(update={"splits": SPLITS}))
    write_chunk_index(root)
    for lock in root.glob(".*.lock"):
        lock.unlink()
    return root


def rows_of(sample: Arrays, stored: Arrays) -> dict[str, list[int]]:
    """Return the stored rows of a draw by domain, found from its positions."""
    rows = {}
    for domain in sorted(set(map(domain_of, sample))):
        index = {row.tobytes(): i for i, row in enumerate(stored[f"{domain}_position"])}
        rows[domain] = [index[row.tobytes()] for row in sample[f"{domain}_position"]]
    return rows


def draw(root: Path, asked: dict[str, Any]) -> Arrays:
    """Return one of `DRAWS`."""
    reader = ZarrChunkReader(root, chunk_order=asked["chunk_order"])
    return reader.read_arrays(asked["sample_id"], asked["num_points"], asked["seed"], dtype=None)


def dataset_item(root: Path, asked: dict[str, Any]) -> Arrays:
    """Return the first item of a dataset in one of `EPOCHS`."""
    from noether.data.zarr_store.datasets import ZarrStoreDataset  # `./scripts/test-matrix` runs without PyTorch

    settings = {key: asked[key] for key in ("seed", "schedule", "num_points")}
    dataset = ZarrStoreDataset(root, sample_ids=[EPOCH_SAMPLE], **settings)
    dataset.set_epoch(asked["epoch"])
    return {field: values.numpy() for field, values in dataset[0].items() if field in _FIELDS}


def _permutation(sample_id: str, domain: str, n_points: int) -> NDArray[np.int64]:
    key = np.frombuffer(hashlib.sha256(f"{SETTINGS['shuffle_seed']}:{sample_id}:{domain}".encode()).digest(), "<u4")
    return np.random.RandomState(key).permutation(n_points)


def hash_order_by_hand(sample_id: str, domain: str, n_points: int) -> NDArray[np.int64]:
    """Return the permutation by the text of the format, computed with Python's integers."""
    key = hashlib.sha256(f"{SETTINGS['shuffle_seed']}:{sample_id}:{domain}".encode()).digest()
    first, second = (int.from_bytes(key[at : at + 8], "little") for at in (0, 8))

    def mix(hashed: int) -> int:
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            hashed = (hashed ^ hashed >> 33) * factor % 2**64
        return hashed ^ hashed >> 33

    return np.array(sorted(range(n_points), key=lambda row: mix(mix((row + first) % 2**64) ^ second)), np.int64)


def _make_archive() -> None:
    if ARCHIVE.exists():
        raise SystemExit(f"{ARCHIVE} is there already, and it stays as it is: another one needs a name of its own")
    write_store(STORE)
    arrays: Arrays = {}
    for sample_id, points in _POINTS.items():
        for domain, n_points in points.items():
            arrays[f"{sample_id}/{domain}_order"] = _permutation(sample_id, domain, n_points)
        for field, values in source_fields(sample_id).items():
            arrays[f"{sample_id}/{field}"] = values.astype("float32" if field.endswith("_position") else "float16")
    np.savez_compressed(ARCHIVE / "expected.npz", allow_pickle=False, **arrays)
    versions = {library: version(library) for library in ("zarr", "numcodecs", "numpy")}
    (ARCHIVE / "expected.json").write_text(json.dumps({"made_with": versions}) + "\n")


if __name__ == "__main__":
    _make_archive()
