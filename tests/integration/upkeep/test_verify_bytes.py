"""Every changed byte of a store is found, in the object that was changed."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from noether.data.schemas import FileMap
from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.codec.shard_index import index_size
from noether.data.zarr_store.convert import SampleResult
from noether.data.zarr_store.convert.report import ReportFile, RunRecord
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.upkeep.verify import Level, verify_store
from support.ahmed import load_run
from support.damage import changed, chunk_index_of
from support.effort import in_full_mode
from support.reading import write_runs

CHUNK_POINTS = 8
PER_SHARD = 2


def write_tiny(root: Path, *, checksum: bool) -> Path:
    """A store with an object of every kind: 21 points in 3 chunks and 2 shards."""
    writer = ZarrStoreWriter(
        root,
        FileMap(volume_position="x.npy"),
        "tiny",
        chunk_points=CHUNK_POINTS,
        shard_points=PER_SHARD * CHUNK_POINTS,
        checksum=checksum,
    )
    positions = load_run("run_1")["volume_position"][:21]
    writer.write_sample("run_1", {"volume_position": positions}, attributes={"angle": [25.0, 7]})
    writer.save_manifest()
    more = {"splits": {"train": ["run_1"]}, "unit_system": "SI"}
    StoreManifest.update(str(root), lambda manifest: manifest.model_copy(update=more))
    write_chunk_index(root)
    ReportFile.add(str(root), RunRecord(settings={"limit": 1}), [SampleResult("run_1", "converted", seconds=0.5)])
    return root


def objects_of(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def damaged_objects(root: Path, level: Level = "data") -> set[str | None]:
    return {one.object for one in verify_store(root, level=level, workers=1).having("damage")}


def change_every_byte(root: Path, keys: Iterable[str], level: Level) -> dict[str, list[int]]:
    """Change each byte of some objects once, one byte per object at a time; return the changes that were not found."""
    intact, rng = objects_of(root), random.Random(0)
    missed: dict[str, list[int]] = {}
    keys = list(keys)
    for at in range(max(len(intact[key]) for key in keys)):
        there = [key for key in keys if at < len(intact[key])]
        for key in there:
            (root / key).write_bytes(changed(intact[key], at, rng))
        found = damaged_objects(root, level)
        for key in there:
            if key not in found:
                missed.setdefault(key, []).append(at)
            (root / key).write_bytes(intact[key])
    return missed


@pytest.mark.slow
def test_every_changed_byte_is_found_with_checksums(tmp_path: Path) -> None:
    """Each byte of each object is changed once."""
    root = write_tiny(tmp_path / "store", checksum=True)
    report = verify_store(root, workers=1)
    assert (report.findings, report.limits) == ((), ())
    keys = objects_of(root).keys()
    # Arrays below a broken root are not checked, and a chunk index does not fit another manifest.
    first = {"run_1.zarr/zarr.json", chunk_index_of(root), "conversion.json"}
    assert len(keys) == 8
    assert change_every_byte(root, first, "census") == {}
    assert change_every_byte(root, keys - first, "data") == {}


@pytest.mark.slow
def test_without_checksums_only_chunk_changes_can_be_missed(tmp_path: Path) -> None:
    """The report names this limit."""
    root = write_tiny(tmp_path / "store", checksum=False)
    report = verify_store(root, workers=1)
    assert report.findings == ()
    [limit] = report.limits
    assert limit.startswith("run_1.zarr/volume/position: the chunks carry no checksum")
    shards = [key for key in objects_of(root) if "/c/" in key]
    missed = change_every_byte(root, shards, "data")
    assert missed.keys() == set(shards)
    for key, places in missed.items():
        assert max(places) < (root / key).stat().st_size - index_size(PER_SHARD)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_runs(tmp_path_factory.mktemp("real") / "store", "run_1", "run_2", chunk_points=512)
    write_chunk_index(root)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(25 if in_full_mode() else 3))
def test_changes_at_random_places_of_a_real_store_are_all_found(real: Path, tmp_path: Path, seed: int) -> None:
    root, rng = Path(shutil.copytree(real, tmp_path / "store")), random.Random(seed)
    shards = {key: data for key, data in objects_of(root).items() if "/c/" in key}
    nodes = {key: data for key, data in objects_of(root).items() if key.count("/") > 1 and key.endswith("zarr.json")}
    assert (len(shards), len(nodes)) == (20, 24)
    for key, data in (shards | nodes).items():
        (root / key).write_bytes(changed(data, rng.randrange(len(data)), rng))
    assert damaged_objects(root) == shards.keys() | nodes.keys()


@pytest.mark.parametrize("seed", range(25 if in_full_mode() else 5))
def test_a_random_change_of_any_object_is_found(real: Path, tmp_path: Path, seed: int) -> None:
    root, rng = Path(shutil.copytree(real, tmp_path / "store")), random.Random(seed)
    intact = objects_of(root)
    kinds = {key.rpartition("/")[2] if "/c/" not in key else "shard": key for key in intact}
    assert kinds.keys() == {"manifest.json", "zarr.json", "shard", chunk_index_of(root)}
    for key in rng.sample(sorted(intact), 3):
        (root / key).write_bytes(changed(intact[key], rng.randrange(len(intact[key])), rng))
        assert key in damaged_objects(root), key
        (root / key).write_bytes(intact[key])


def test_a_replaced_chunk_is_found(real: Path, tmp_path: Path) -> None:
    # Each chunk is intact: only the index of the shard determines its place.
    """Another valid chunk is in its place."""
    root = Path(shutil.copytree(real, tmp_path / "store"))
    one, other = (root / f"{run}.zarr/volume/velocity/c/0/0" for run in ("run_1", "run_2"))
    one_data, other_data = one.read_bytes(), other.read_bytes()
    one.write_bytes(other_data)
    other.write_bytes(one_data)
    keys = {path.relative_to(root).as_posix() for path in (one, other)}
    assert damaged_objects(root) == keys
