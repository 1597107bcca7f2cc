"""Stores after crashes and with wrong clocks: readers work or raise clear errors, and the next command repairs them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from noether.data.zarr_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.convert import ConversionReport, convert, report
from noether.data.zarr_store.convert.report import ReportFile
from noether.data.zarr_store.errors import StoreError
from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.stores import staging
from noether.data.zarr_store.upkeep.verify import verify_store
from support.lanes import few_fast
from support.trees import TREE_FILEMAP, identities, save_runs, visible_files

IDS = ["part/run_1", "part/run_2", "run_3"]
FIELD = "surface_pressure"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return save_runs(tmp_path / "tree", IDS)


@pytest.fixture
def store(tree: Path, tmp_path: Path) -> Path:
    run(tree, tmp_path / "store")
    return tmp_path / "store"


def run(tree: Path, store: Path) -> ConversionReport:
    return convert(TreeSource(tree, TREE_FILEMAP), ZarrStoreWriter(store, TREE_FILEMAP, "ahmed", chunk_points=64))


def ids(found: ConversionReport) -> dict[str, list[str]]:
    return {
        outcome: [result.sample_id for result in found.having(outcome)]
        for outcome in ("converted", "skipped", "failed")
        if found.having(outcome)
    }


@pytest.fixture
def dead() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_group_that_was_moved_aside_is_restored(
    tree: Path, store: Path, dead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next conversion restores the group."""
    before, group = visible_files(store), store / "part" / "run_1.zarr"
    former = {path: path.stat().st_ino for path in group.rglob("*")}
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: dead)
        group.rename(group.with_name(staging.staged_name(group.name) + staging.FORMER_SUFFIX))
    with pytest.raises(StoreError, match="part/run_1"):
        ZarrChunkReader(store).read_arrays("part/run_1")
    assert set(ZarrChunkReader(store).read_arrays("run_3", fields=[FIELD])) == {FIELD}
    assert ids(run(tree, store)) == {"skipped": IDS}
    assert visible_files(store) == before
    assert {path: path.stat().st_ino for path in group.rglob("*")} == former


def test_samples_can_be_read_without_the_named_chunk_index(tree: Path, store: Path) -> None:
    """The next conversion writes the index."""
    before, expected = visible_files(store), ZarrChunkReader(store).read_arrays("run_3")
    name = StoreManifest.load(str(store)).index_name
    assert name is not None
    (store / name).unlink()
    found = ZarrChunkReader(store).read_arrays("run_3")
    assert all(np.array_equal(found[field], values) for field, values in expected.items())
    run(tree, store)
    assert visible_files(store) == before


def test_an_unnamed_chunk_index_is_ignored(tree: Path, store: Path) -> None:
    """The manifest of the next conversion names the index."""
    before = visible_files(store)
    StoreManifest.update(str(store), lambda manifest: manifest.model_copy(update={"sample_index": None}))
    assert len(ZarrChunkReader(store).read_arrays("run_3", {"surface": 10}, 0)[FIELD]) == 10
    run(tree, store)
    assert visible_files(store) == before


@pytest.mark.parametrize(
    "seconds",
    few_fast([-(10**9), 0, 10**11], others=pytest.mark.faults),
    ids=["before 1970", "of 1970", "in the future"],
)
def test_files_with_any_time_stamp_are_converted_once(tree: Path, tmp_path: Path, seconds: int) -> None:
    for file in tree.rglob("*.npy"):
        os.utime(file, (seconds, seconds))
    assert ids(run(tree, tmp_path / "store")) == {"converted": IDS}
    before = identities(tmp_path / "store")
    assert ids(run(tree, tmp_path / "store")) == {"skipped": IDS}
    assert identities(tmp_path / "store") == before


def test_a_changed_file_with_an_older_time_is_detected(tree: Path, store: Path) -> None:
    """A newer file is not the only sign of a change."""
    file = tree / "run_3" / "surface_pressure.npy"
    np.save(file, np.full_like(np.load(file), 7))
    os.utime(file, (1, 1))
    assert ids(run(tree, store)) == {"converted": ["run_3"], "skipped": IDS[:2]}
    assert set(ZarrChunkReader(store).read_arrays("run_3", fields=[FIELD])[FIELD].flat) == {7}


@pytest.fixture
def _clock_going_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every reading of the clock is an hour earlier than the last, years ago."""

    def hours() -> Iterator[float]:
        now = 1e9
        while True:
            now -= 3600
            yield now

    clock = hours()
    monkeypatch.setattr(time, "time", lambda: next(clock))
    monkeypatch.setattr(report, "_now", lambda: time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(next(clock))))


@pytest.mark.usefixtures("_clock_going_backwards")
def test_a_clock_that_runs_backwards_changes_no_byte(tree: Path, tmp_path: Path) -> None:
    """The last invocation counts, with any time stamp."""
    broken = tree / "run_3" / "surface_pressure.npy"
    data = broken.read_bytes()
    broken.write_text("broken")
    store = tmp_path / "store"
    assert ids(run(tree, store)) == {"converted": IDS[:2], "failed": ["run_3"]}
    broken.write_bytes(data)
    assert ids(run(tree, store)) == {"skipped": IDS[:2], "converted": ["run_3"]}
    found = ReportFile.load(str(store))
    assert found.failed() == set()
    assert [one.started > one.ended > "2001" for one in found.runs] == [True, True]
    assert found.runs[0].started > found.runs[1].started
    assert verify_store(store).having("damage") == []
    run(tree, tmp_path / "at_once")
    assert visible_files(store) == visible_files(tmp_path / "at_once")
