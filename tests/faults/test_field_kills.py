"""Additions and removals of fields that end before any change of the disk, or before any request."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether.data.schemas import FileMap
from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.upkeep import remove_fields
from noether.data.zarr_store.upkeep.repair import repair_store
from noether.data.zarr_store.upkeep.verify import verify_store
from support.ahmed import Arrays
from support.disk_changes import Disk, States, changes_seen, count_changes, killed_before, put_files
from support.effort import in_full_mode
from support.lanes import few_fast
from support.places import local_place, make_place
from support.request_kills import copy_to, killed_before_request
from support.storm import read_whole, stored_bytes

BASE = FileMap(surface_position="p.npy", surface_pressure="c.npy")
MORE = FileMap(surface_position="p.npy", surface_pressure="c.npy", surface_friction="f.npy", surface_area="a.npy")
ADDED = ("surface_area", "surface_friction")
IDS = ("part/run_1", "run_2")
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

STRIDE = 1 if in_full_mode() else 5
# Possible leftovers of a kill; the next command or a repair removes them.
PASSING = {"leftover", "entry_differs", "unfinished_addition", "unfinished_removal", "chunk_index_missing"}

Options = dict[str, Any] | None
Work = Callable[[Path | str, Options], None]


def sample_of(sample_id: str) -> Arrays:
    rng = np.random.default_rng(len(sample_id))
    n_points = 150 + len(sample_id)
    widths = {"surface_position": 3, "surface_pressure": 1, "surface_friction": 3, "surface_area": 1}
    return {field: rng.random((n_points, width)).astype(np.float32) for field, width in widths.items()}


def open_writer(root: Path | str, filemap: FileMap, options: Options = None) -> ZarrStoreWriter:
    return ZarrStoreWriter(root, filemap, "ahmed", chunk_points=32, shard_points=64, storage_options=options, threads=1)


def write(root: Path | str, filemap: FileMap) -> None:
    writer = open_writer(root, filemap)
    known = {spec for layout in writer.layouts.values() for spec in layout.arrays}
    for sample_id in IDS:
        writer.write_sample(sample_id, {field: one for field, one in sample_of(sample_id).items() if field in known})
    writer.save_manifest()
    write_chunk_index(root)


def add(root: Path | str, options: Options = None) -> None:
    """Add two fields to all samples, and compare the positions; saved after each sample."""
    writer = open_writer(root, MORE, options)
    for sample_id in IDS:
        given = sample_of(sample_id)
        writer.add_fields(sample_id, {field: given[field] for field in (*ADDED, "surface_position")})
        writer.save_manifest()


def remove(root: Path | str, options: Options = None) -> None:
    remove_fields(root, ADDED, storage_options=options)


def remove_again(root: Path | str, options: Options = None) -> None:
    """Remove the fields, unless the removal had ended before the kill."""
    manifest = StoreManifest.load(str(root), storage_options=options)
    if manifest.removing_fields or "surface_area" in manifest.domains["surface"].arrays:
        remove(root, options)


def repair(root: Path | str, options: Options = None) -> None:
    assert repair_store(root, storage_options=options).is_sound


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A store without the fields, and one to which they were added."""
    directory = tmp_path_factory.mktemp("fields")
    write(directory / "without", BASE)
    shutil.copytree(directory / "without", directory / "with")
    add(directory / "with")
    return {"without": directory / "without", "with": directory / "with"}


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the same changes each time: chunk indexes of URLs are fetched, and not cached."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")


def visible_bytes(root: Path) -> dict[str, bytes]:
    return {key: data for key, data in stored_bytes(local_place(root)).items() if "/." not in f"/{key}"}


def require_whole(root: Path | str, options: Options = None) -> None:
    """Check that all listed samples are unchanged, with the added fields or without them."""
    found = read_whole(root, options)
    assert set(found) == set(IDS)
    for sample_id, arrays in found.items():
        assert set(arrays) in ({"surface_position", "surface_pressure"}, set(sample_of(sample_id)))
        expected = EXPECTED[sample_id]
        for field, values in arrays.items():
            np.testing.assert_array_equal(values, expected[field], f"{sample_id} {field}")


def require_named_arrays(root: Path) -> None:
    """Check that each listed array has all its shards: other Zarr readers read a missing shard as fill values."""
    for sample_id in IDS:
        group = root / f"{sample_id}.zarr"
        nodes = json.loads((group / "zarr.json").read_bytes())["consolidated_metadata"]["metadata"]
        for path, node in nodes.items():
            if node["node_type"] == "array":
                n_shards = -(-node["shape"][0] // node["chunk_grid"]["configuration"]["chunk_shape"][0])
                missing = [number for number in range(n_shards) if not (group / path / f"c/{number}/0").is_file()]
                assert not missing, path


EXPECTED: dict[str, Arrays] = {}


@pytest.fixture(autouse=True, scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The files of a conversion with all fields at once."""
    store = tmp_path_factory.mktemp("at once") / "store"
    write(store, MORE)
    EXPECTED.update(read_whole(store))


CASES = [pytest.param(add, add, "without", id="add"), pytest.param(remove, remove_again, "with", id="remove")]


@pytest.mark.parametrize(("work", "again", "before"), CASES)
def test_at_every_moment_readers_find_the_old_or_the_new(
    work: Work, again: Work, before: str, stores: dict[str, Path], quick_path: Path
) -> None:
    store = Path(shutil.copytree(stores[before], quick_path / "store"))

    def look() -> None:
        require_whole(store)
        require_named_arrays(store)

    with changes_seen(look):
        work(store, None)
    look()


@pytest.mark.parametrize("kind", few_fast(["local", "staged"], others=pytest.mark.faults))
@pytest.mark.parametrize("repairs", few_fast([False, True], others=pytest.mark.faults), ids=["again", "repaired"])
@pytest.mark.parametrize(("work", "again", "before"), CASES)
def test_a_kill_before_any_change_leaves_a_valid_store(
    work: Work, again: Work, before: str, repairs: bool, kind: str, stores: dict[str, Path], quick_path: Path
) -> None:
    store, undisturbed = quick_path / "store", quick_path / "undisturbed"
    root = store if kind == "local" else f"local://{store}"
    shutil.copytree(stores[before], undisturbed)
    n_changes = count_changes(lambda: work(undisturbed if kind == "local" else f"local://{undisturbed}", None))
    done = visible_bytes(undisturbed)
    assert n_changes > 20
    for number in range(0, n_changes, STRIDE):
        shutil.rmtree(store, ignore_errors=True)
        shutil.copytree(stores[before], store)
        killed_before(number, lambda: work(root, None))
        require_whole(store)
        assert {one.kind for one in verify_store(store, level="index").having("damage")} <= PASSING
        if repairs:
            repair(root)
            require_whole(store)
        again(root, None)
        assert visible_bytes(store) == done, number
        # Staged output under a URL does not name its machine: only a repair removes it.
        left = {"leftover"} if kind == "staged" and not repairs else set()
        assert {one.kind for one in verify_store(store).having("damage")} <= left


@pytest.mark.parametrize(("work", "again", "before"), CASES)
def test_a_power_loss_at_any_moment_leaves_a_valid_store(
    work: Work, again: Work, before: str, stores: dict[str, Path], quick_path: Path
) -> None:
    root = quick_path / "disk"
    store, lost = root / "store", quick_path / "lost" / "store"
    shutil.copytree(stores[before], store)
    with closing(Disk(root)) as disk:
        states = States(disk, root, store, *(path for path in store.rglob("*") if path.is_dir()))
        with changes_seen(states.take, disk.sync):
            work(store, None)
        states.take()
    done = visible_bytes(store)
    for files in states.all()[:: 1 if in_full_mode() else 4]:
        put_files(quick_path / "lost", files)
        require_whole(lost)
        again(lost, None)
        assert visible_bytes(lost) == done


@pytest.mark.s3
@pytest.mark.faults
@pytest.mark.parametrize(("work", "again", "before"), CASES)
def test_a_kill_before_any_request_leaves_a_valid_remote_store(
    work: Work, again: Work, before: str, stores: dict[str, Path], request: pytest.FixtureRequest
) -> None:
    place = make_place("s3-obstore", request)
    copy_to(place, stores[before])
    with killed_before_request(-1) as sent:
        work(place.root, place.options)
    done, n_requests = place.files(), len(sent)
    assert n_requests > 8
    for number in range(n_requests):
        copy_to(place, stores[before])
        with killed_before_request(number):
            work(place.root, place.options)
        require_whole(place.root, place.options)
        report = verify_store(place.root, level="index", storage_options=place.options)
        assert {one.kind for one in report.having("damage")} <= PASSING
        again(place.root, place.options)
        assert place.files() == done
        assert verify_store(place.root, storage_options=place.options).findings == ()
