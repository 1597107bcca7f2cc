"""Kills and power losses while attributes are set: groups and manifest agree in the end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.convert import convert
from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.upkeep import set_attributes
from noether.data.zarr_store.upkeep.repair import repair_store
from noether.data.zarr_store.upkeep.verify import verify_store
from support.disk_changes import Disk, States, changes_seen, count_changes, killed_before, put_files
from support.lanes import few_fast
from support.places import local_place, make_place
from support.request_kills import copy_to, killed_before_request
from support.storm import stored_bytes
from support.trees import save_run

FILEMAP = FileMap(surface_position="surface_position_vtp.npy", surface_pressure="surface_pressure.npy")
IDS = ("part/run_1", "run_2")
GIVEN = {sample_id: {"mach": 0.3, "of": sample_id} for sample_id in IDS}
# The tests fork, and conversions have threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
# A root that disagrees with the manifest, and staged output of a killed writer.
PASSING = {"entry_differs", "leftover"}


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("attributes")
    for number, sample_id in enumerate(IDS, start=1):
        save_run(directory / "tree" / sample_id, f"run_{number}", n_points=200)
    source, store = TreeSource(directory / "tree", FILEMAP), directory / "store"
    convert(source, ZarrStoreWriter(store, FILEMAP, "ahmed", chunk_points=96, shard_points=96))
    return store


def set_all(root: Path | str, options: dict[str, Any] | None = None) -> None:
    set_attributes(root, GIVEN, storage_options=options)


def visible_bytes(root: Path) -> dict[str, bytes]:
    """Every file of a store except hidden files and the report."""
    return {key: data for key, data in stored_bytes(local_place(root)).items() if "/." not in f"/{key}"}


def require_former_or_new(root: Path | str, options: dict[str, Any] | None = None) -> None:
    """Each sample has all of its new attributes, or none."""
    reader = ZarrChunkReader(root, storage_options=options)
    for sample_id in IDS:
        assert reader.attributes(sample_id) in ({}, GIVEN[sample_id])
        reader.read_arrays(sample_id)
    report = verify_store(root, level="census", storage_options=options)
    assert {one.kind for one in report.having("damage")} <= PASSING


@pytest.mark.parametrize(
    "finish", few_fast([set_all, repair_store], others=pytest.mark.faults), ids=["the same again", "repair"]
)
def test_a_kill_before_any_change_leaves_a_valid_store(
    finish: Callable[[Path], object], before: Path, quick_path: Path
) -> None:
    store, undisturbed = quick_path / "store", quick_path / "undisturbed"
    shutil.copytree(before, undisturbed)
    n_changes = count_changes(lambda: set_all(undisturbed))
    expected = visible_bytes(undisturbed)
    assert n_changes >= 3 * len(IDS)
    for number in range(n_changes):
        shutil.rmtree(store, ignore_errors=True)
        shutil.copytree(before, store)
        killed_before(number, lambda: set_all(store))
        require_former_or_new(store)
        finish(store)
        assert verify_store(store).is_sound
        if finish is set_all:
            assert visible_bytes(store) == expected


def test_a_power_loss_at_any_moment_leaves_a_valid_store(before: Path, quick_path: Path) -> None:
    root = quick_path / "disk"
    store, lost = root / "store", quick_path / "lost" / "store"
    shutil.copytree(before, store)
    with closing(Disk(root)) as disk:
        states = States(disk, root, store, store / "part", *(store / f"{sample_id}.zarr" for sample_id in IDS))
        with changes_seen(states.take, disk.sync):
            set_all(store)
        states.take()
    expected = visible_bytes(store)
    for files in states.all():
        put_files(quick_path / "lost", files)
        require_former_or_new(lost)
        set_all(lost)
        assert visible_bytes(lost) == expected


@pytest.mark.s3
@pytest.mark.faults
def test_a_kill_before_any_request_leaves_a_valid_remote_store(before: Path, request: pytest.FixtureRequest) -> None:
    place = make_place("s3-obstore", request)
    copy_to(place, before)
    with killed_before_request(-1) as sent:
        set_all(place.root, place.options)
    expected, n_requests = place.files(), len(sent)
    assert n_requests == len(IDS) + 1  # the roots, and the manifest
    for number in range(n_requests):
        copy_to(place, before)
        with killed_before_request(number):
            set_all(place.root, place.options)
        require_former_or_new(place.root, place.options)
        set_all(place.root, place.options)
        assert place.files() == expected
