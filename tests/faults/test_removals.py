"""Removals that end before any of their changes, and removals concurrent with writers, readers and each other."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether.data.schemas import FileMap
from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.convert import convert, recorder
from noether.data.zarr_store.errors import UnknownNameError
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.upkeep import remove_samples
from noether.data.zarr_store.upkeep.repair import repair_store
from noether.data.zarr_store.upkeep.verify import verify_store
from support.ahmed import Arrays
from support.disk_changes import Disk, States, changes_seen, count_changes, killed_before, put_files
from support.effort import in_full_mode
from support.lanes import few_fast
from support.places import Place, local_place, make_place
from support.request_kills import copy_to, killed_before_request
from support.storm import read_whole, stored_bytes
from support.trees import save_run

FILEMAP = FileMap(surface_position="surface_position_vtp.npy", surface_pressure="surface_pressure.npy")
IDS = ("part/run_1", "run_2", "run_3")
GONE, STAY = ("part/run_1", "run_2"), ("run_3",)
# The tests fork, and conversions have threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

# All of some fifty slow moments, or every third.
STRIDE = 1 if in_full_mode() else 3
# Possible leftovers of a kill that do not damage a sample.
PASSING = {"unfinished_removal", "leftover", "chunk_index_missing"}

Act = Callable[[Path | str], object]


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tree, and its store with splits."""
    directory = tmp_path_factory.mktemp("removals")
    for number, sample_id in enumerate(IDS, start=1):
        save_run(directory / "tree" / sample_id, f"run_{number}", n_points=200)
    store = directory / "store"
    convert(TreeSource(directory / "tree", FILEMAP), open_writer(store))
    splits = {"splits": {"train": list(IDS[:2]), "test": list(IDS[2:])}}
    StoreManifest.update(str(store), lambda manifest: manifest.model_copy(update=splits))
    return directory / "tree", store


@pytest.fixture
def before(converted: tuple[Path, Path]) -> Path:
    return converted[1]


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the same changes each time: chunk indexes of URLs are fetched, and not cached."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")


def open_writer(store: Path | str, options: dict[str, Any] | None = None) -> ZarrStoreWriter:
    return ZarrStoreWriter(store, FILEMAP, "ahmed", chunk_points=96, shard_points=96, storage_options=options)


def remove_two(root: Path | str, options: dict[str, Any] | None = None) -> None:
    remove_samples(root, GONE, storage_options=options)


def remove_again(root: Path | str, options: dict[str, Any] | None = None) -> None:
    """Remove the samples, unless the removal had ended before the kill."""
    manifest = StoreManifest.load(str(root), storage_options=options)
    if manifest.removing or GONE[0] in manifest.samples:
        remove_two(root, options)


def visible_bytes(root: Path) -> dict[str, bytes]:
    """Every file of a store except hidden files and the report."""
    return {key: data for key, data in stored_bytes(local_place(root)).items() if "/." not in f"/{key}"}


def require_whole(found: dict[str, Arrays], expected: dict[str, Arrays]) -> None:
    assert set(STAY) <= found.keys() <= expected.keys()
    for sample_id, arrays in found.items():
        for field, values in arrays.items():
            np.testing.assert_array_equal(values, expected[sample_id][field], f"{sample_id} {field}")


def test_listed_samples_can_be_read_at_every_moment(before: Path, quick_path: Path) -> None:
    store, expected = Path(shutil.copytree(before, quick_path / "store")), read_whole(before)
    n_listed: list[int] = []

    def look() -> None:
        found = read_whole(store)
        require_whole(found, expected)
        n_listed.append(len(found))

    with changes_seen(look):
        remove_two(store)
    look()
    # All samples at first, and from one moment on no removed sample.
    assert n_listed == sorted(n_listed, reverse=True)
    assert set(n_listed) == {len(IDS), len(STAY)}


@pytest.mark.parametrize("kind", few_fast(["staged", "local"], others=pytest.mark.faults))
@pytest.mark.parametrize(
    "finish", few_fast([remove_again, repair_store], others=pytest.mark.faults), ids=["the same again", "repair"]
)
def test_a_kill_before_any_change_leaves_a_valid_store(finish: Act, kind: str, before: Path, quick_path: Path) -> None:
    """On a local disk, and in a storage that deletes objects one by one."""
    store, undisturbed, expected = quick_path / "store", quick_path / "undisturbed", read_whole(before)
    root = store if kind == "local" else f"local://{store}"
    shutil.copytree(before, undisturbed)
    n_changes = count_changes(lambda: remove_two(undisturbed if kind == "local" else f"local://{undisturbed}"))
    removed = visible_bytes(undisturbed)
    assert n_changes > 2 * 7 + 6  # objects of two samples, and the documents
    for number in range(0, n_changes, STRIDE if finish is repair_store or kind == "staged" else 1):
        shutil.rmtree(store, ignore_errors=True)
        shutil.copytree(before, store)
        killed_before(number, lambda: remove_two(root))
        require_whole(read_whole(store), expected)
        assert {one.kind for one in verify_store(store, level="census").having("damage")} <= PASSING
        listed = set(StoreManifest.load(str(store)).samples)
        finish(root)
        # Staged output under a URL does not name its machine: only a repair removes it.
        left = {"leftover"} if kind == "staged" and finish is remove_again else set()
        assert {one.kind for one in verify_store(store).having("damage")} <= left
        if finish is remove_again or listed == set(STAY):
            assert samples_and_groups(visible_bytes(store)) == samples_and_groups(removed)
        if finish is remove_again:
            assert visible_bytes(store) == removed


def samples_and_groups(files: dict[str, bytes]) -> set[str]:
    """The keys of a store without the chunk index, which a repair need not write."""
    return {key for key in files if not key.startswith("sample_index")}


def test_a_power_loss_at_any_moment_leaves_a_valid_store(before: Path, quick_path: Path) -> None:
    root = quick_path / "disk"
    store, lost = root / "store", quick_path / "lost" / "store"
    shutil.copytree(before, store)
    expected = read_whole(before)
    with closing(Disk(root)) as disk:
        states = States(disk, root, store, store / "part", *(path for path in store.rglob("*") if path.is_dir()))
        with changes_seen(states.take, disk.sync):
            remove_two(store)
        states.take()
    removed = visible_bytes(store)
    for files in states.all():
        put_files(quick_path / "lost", files)
        require_whole(read_whole(lost), expected)
        remove_again(lost)
        assert visible_bytes(lost) == removed


@pytest.mark.s3
@pytest.mark.faults
def test_a_kill_before_any_request_leaves_a_valid_remote_store(before: Path, request: pytest.FixtureRequest) -> None:
    place, expected = make_place("s3-obstore", request), read_whole(before)
    copy_to(place, before)
    with killed_before_request(-1) as sent:
        remove_two(place.root, place.options)
    removed, n_requests = keys_and_manifest(place), len(sent)
    assert n_requests >= 2 + 2 * 2 + 1  # manifest, twice; roots, other objects; report
    for number in range(n_requests):
        copy_to(place, before)
        with killed_before_request(number):
            remove_two(place.root, place.options)
        require_whole(read_whole(place.root, place.options), expected)
        report = verify_store(place.root, level="census", storage_options=place.options)
        assert {one.kind for one in report.having("damage")} <= PASSING
        remove_again(place.root, place.options)
        assert keys_and_manifest(place) == removed
        assert verify_store(place.root, storage_options=place.options).findings == ()


def keys_and_manifest(place: Place) -> dict[str, bytes]:
    return {key: data for key, data in place.files().items() if key != "conversion.json"}


@pytest.fixture(params=["local", pytest.param("s3-obstore", marks=pytest.mark.s3)])
def place(request: pytest.FixtureRequest) -> Place:
    return make_place(request.param, request)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(["a0", "a1", "b0"], ["a2", "b1", "b2"], id="others"),
        pytest.param(["a0", "a1", "b0"], ["a1", "b0", "b1"], id="the same"),
    ],
)
def test_concurrent_removals_lose_nothing(place: Place, first: list[str], second: list[str]) -> None:
    all_ids = [f"{kind}{number}" for kind in "ab" for number in range(4)]
    writer = open_writer(place.root, place.options)
    for sample_id in all_ids:
        writer.write_sample(sample_id, tiny_sample())
    writer.save_manifest()
    write_chunk_index(place.root, storage_options=place.options)
    together = threading.Barrier(2)

    def remove(sample_ids: list[str]) -> list[str]:
        together.wait()
        try:
            remove_samples(place.root, sample_ids, storage_options=place.options)
        except UnknownNameError:
            # The other removal had finished before this one started, so this one removes nothing.
            assert set(first) & set(second)
            return []
        return sample_ids

    with ThreadPoolExecutor(2) as pool:
        removed = list(pool.map(remove, [first, second]))
    assert removed != [[], []]
    manifest = StoreManifest.load(str(place.root), storage_options=place.options)
    assert set(manifest.samples) == set(all_ids).difference(*removed)
    assert manifest.removing == {}
    assert verify_store(place.root, storage_options=place.options).is_sound


def tiny_sample() -> Arrays:
    positions = np.random.default_rng(0).random((20, 3)).astype(np.float32)
    return {"surface_position": positions, "surface_pressure": positions[:, 0]}


def test_saves_during_a_removal_lose_nothing(place: Place) -> None:
    """Each sample of one writer is removed as soon as it is listed; the samples of another writer stay."""
    rounds = 8
    first = open_writer(place.root, place.options)
    first.write_sample("stays", tiny_sample())
    first.save_manifest()

    def write(kind: str) -> None:
        writer = open_writer(place.root, place.options)
        for number in range(rounds):
            writer.write_sample(f"{kind}{number}", tiny_sample())
            writer.save_manifest()

    def remove() -> None:
        for number in range(rounds):
            while f"goes{number}" not in StoreManifest.load(str(place.root), storage_options=place.options).samples:
                pass
            remove_samples(place.root, [f"goes{number}"], storage_options=place.options)

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(write, "goes"), pool.submit(write, "comes"), pool.submit(remove)]:
            done.result()
    manifest = StoreManifest.load(str(place.root), storage_options=place.options)
    assert list(manifest.samples) == [*(f"comes{number}" for number in range(rounds)), "stays"]
    assert verify_store(place.root, storage_options=place.options).is_sound


@pytest.mark.filterwarnings("ignore:.*samples are not recorded:UserWarning")
@pytest.mark.parametrize("seconds", [0.0, 60.0], ids=["saved at each sample", "saved in the end"])
def test_a_conversion_does_not_restore_a_removed_sample(
    converted: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    tree, before = converted
    store = Path(shutil.copytree(before, tmp_path / "store"))
    monkeypatch.setattr(recorder, "_SAVE_SECONDS", seconds)
    monkeypatch.setattr(recorder, "_SAVES_APART", 0.0)
    done: list[str] = []

    def remove_first(result: object) -> None:
        done.append("")
        if len(done) == 2:
            remove_two(store)

    convert(TreeSource(tree, FILEMAP), open_writer(store), mode="overwrite", on_result=remove_first)
    assert len(done) == len(IDS)
    assert list(StoreManifest.load(str(store)).samples) == list(STAY)
    assert verify_store(store).is_sound


@pytest.mark.faults
def test_staged_output_of_a_killed_writer_does_not_come_back(before: Path, quick_path: Path) -> None:
    """A kill at any moment of its write, then the removal, then another conversion of other samples."""
    store, arrays = quick_path / "store", tiny_sample()

    def write() -> None:
        open_writer(store).write_group("run_2", arrays)

    shutil.copytree(before, store)
    n_changes = count_changes(write)
    for number in range(0, n_changes, STRIDE):
        shutil.rmtree(store)
        shutil.copytree(before, store)
        killed_before(number, write)
        remove_samples(store, ["run_2"])
        open_writer(store).recover_staged(IDS)
        repair_store(store)
        assert "run_2" not in StoreManifest.load(str(store)).samples
        assert not (store / "run_2.zarr").exists()
