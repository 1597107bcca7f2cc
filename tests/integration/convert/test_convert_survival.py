"""Conversions with crashing, hanging or killed workers, and interruptions: complete samples are kept."""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.convert import SampleResult, convert, running
from noether.data.zarr_store.convert.report import ReportFile
from noether.data.zarr_store.errors import ArgumentError, WorkerError
from noether.data.zarr_store.sources import TreeSource
from support.bad_sources import GatedSource, HostileSource, RaisingSource
from support.places import make_place
from support.trees import TREE_FILEMAP, save_runs, visible_files

IDS = [f"run_{number}" for number in range(1, 7)]
WAIT_SECONDS = 60.0
# Traces of a running sample: its staged group, and temporary files.
LEFTOVERS = (".*.zarr.*", "noether-zarr-*")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return save_runs(tmp_path / "tree", IDS)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    return tmp_path / "store"


def open_writer(root: Path | str, **settings: Any) -> ZarrStoreWriter:
    return ZarrStoreWriter(root, TREE_FILEMAP, "ahmed", chunk_points=64, **settings)


def recorded(store: Path) -> list[str]:
    return list(StoreManifest.load(str(store)).samples)


def groups(store: Path) -> list[str]:
    return sorted(path.parent.stem for path in store.glob("*.zarr/zarr.json"))


def leftovers(store: Path) -> list[Path]:
    return [path for pattern in LEFTOVERS for path in store.parent.rglob(pattern)]


@pytest.mark.faults
def test_samples_that_end_their_process_fail_with_the_reason(tree: Path, store: Path) -> None:
    """All other samples are converted."""
    acts = {"run_1": "killed", "run_2": "crashed", "run_4": "exited", "run_5": "short_of_memory"}
    report = convert(HostileSource(tree, TREE_FILEMAP, acts), open_writer(store), workers=2)
    reasons = {result.sample_id: result.reason for result in report.having("failed")}
    assert reasons.keys() == acts.keys()
    assert reasons["run_1"].startswith("sample 'run_1': the worker process was killed by SIGKILL")
    assert reasons["run_2"].startswith("sample 'run_2': the worker process was killed by SIGSEGV")
    assert reasons["run_4"] == "sample 'run_4': the worker process exited with code 7"
    assert reasons["run_5"].startswith("sample 'run_5': MemoryError")
    assert recorded(store) == groups(store) == ["run_3", "run_6"]
    assert leftovers(store) == []


def test_the_report_has_the_reason_and_the_traceback_of_a_crash(tree: Path, store: Path) -> None:
    convert(HostileSource(tree, TREE_FILEMAP, {"run_2": "crashed"}), open_writer(store), workers=1, limit=2)
    record = ReportFile.load(str(store)).samples["run_2"]
    assert (record.outcome, "SIGSEGV" in record.reason) == ("failed", True)
    assert "in crashed" in record.trace
    assert "bad_sources.py" in record.trace


@pytest.mark.faults
def test_a_sample_that_hangs_fails_at_its_timeout_and_all_others_are_converted(tree: Path, store: Path) -> None:
    source = HostileSource(tree, TREE_FILEMAP, {"run_1": "hung"})
    report = convert(source, open_writer(store), workers=2, timeout=6)
    [failed] = report.having("failed")
    assert failed.reason == "sample 'run_1': it was stopped after the timeout of 6 s"
    assert failed.seconds >= 6
    assert recorded(store) == groups(store) == IDS[1:]


@pytest.mark.faults
def test_a_killed_writer_leaves_nothing_of_a_group(tree: Path, store: Path) -> None:
    source = HostileSource(tree, TREE_FILEMAP, {"run_1": "killed_while_writing"})
    report = convert(source, open_writer(store), workers=1)
    assert ["SIGXFSZ" in result.reason for result in report.having("failed")] == [True]
    assert recorded(store) == groups(store) == IDS[1:]
    assert leftovers(store) == []


@pytest.mark.faults
def test_a_conversion_after_a_kill_ends_in_the_same_bytes(tree: Path, store: Path) -> None:
    """The store equals a store that was converted without a kill."""
    acts = {"run_2": "killed_while_writing", "run_3": "killed"}
    convert(HostileSource(tree, TREE_FILEMAP, acts), open_writer(store), workers=2)
    convert(TreeSource(tree, TREE_FILEMAP), open_writer(store))
    convert(TreeSource(tree, TREE_FILEMAP), open_writer(store.with_name("at_once")))
    assert visible_files(store) == visible_files(store.with_name("at_once"))


@pytest.mark.parametrize("kind", ["local", pytest.param("s3-obstore", marks=pytest.mark.s3)])
def test_a_kill_between_two_saves_loses_no_complete_sample(
    tree: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """The next conversion records these samples without loading them again."""
    place = make_place(kind, request)
    # The storage is opened before the fork, so the child knows that its parent uses obstore.
    writer = open_writer(place.root, storage_options=place.options)
    hostile = HostileSource(tree, TREE_FILEMAP, {"run_4": "killed"})
    process = multiprocessing.get_context("fork").Process(target=convert, args=(hostile, writer))
    process.start()
    process.join(WAIT_SECONDS)
    hangs = process.is_alive()
    process.kill()
    process.join()
    assert (hangs, process.exitcode) == (False, -signal.SIGKILL)
    assert list(StoreManifest.load(str(place.root), storage_options=place.options).samples) == []
    source = RaisingSource(tree, TREE_FILEMAP, {one: AssertionError("it is complete") for one in IDS[:3]})
    report = convert(source, open_writer(place.root, storage_options=place.options))
    assert [result.sample_id for result in report.having("skipped")] == IDS[:3]
    assert [result.sample_id for result in report.having("converted")] == IDS[3:]
    assert list(StoreManifest.load(str(place.root), storage_options=place.options).samples) == IDS
    assert set(ReportFile.load(str(place.root), storage_options=place.options).samples) == set(IDS)


@pytest.fixture
def gates(store: Path) -> dict[str, Path]:
    """Named pipes that two samples read; a worker is running once a pipe can be opened for writing."""
    gates = {sample_id: store.with_name(sample_id) for sample_id in ("run_2", "run_3")}
    for gate in gates.values():
        os.mkfifo(gate)
    return gates


@pytest.mark.faults
def test_an_interruption_waits_briefly_for_running_samples(
    tree: Path, store: Path, gates: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The conversion starts no further samples."""
    monkeypatch.setattr(running, "_GRACE_SECONDS", WAIT_SECONDS)

    def interrupt(result: SampleResult) -> None:
        for gate in gates.values():
            gate.write_bytes(b"")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(GatedSource(tree, TREE_FILEMAP, gates), open_writer(store), workers=2, on_result=interrupt)
    assert recorded(store) == groups(store)
    assert set(recorded(store)) == set(ReportFile.load(str(store)).samples)
    assert {"run_1", "run_2", "run_3"} <= set(recorded(store))
    assert "run_6" not in recorded(store)


@pytest.mark.faults
def test_an_interruption_stops_samples_that_would_take_longer(tree: Path, store: Path, gates: dict[str, Path]) -> None:
    """These samples have not failed."""
    with ExitStack() as held:

        def interrupt(result: SampleResult) -> None:
            for gate in gates.values():
                held.enter_context(gate.open("wb"))
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            convert(GatedSource(tree, TREE_FILEMAP, gates), open_writer(store), workers=2, on_result=interrupt)
    assert recorded(store) == groups(store) == list(ReportFile.load(str(store)).samples) == ["run_1"]
    assert multiprocessing.active_children() == []
    assert leftovers(store) == []


def test_a_timeout_without_worker_processes_is_refused(tree: Path, store: Path) -> None:
    with pytest.raises(
        ArgumentError, match="timeout: expected worker processes, because only these can be stopped, got workers=0"
    ):
        convert(TreeSource(tree, TREE_FILEMAP), open_writer(store), timeout=5)


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_must_be_positive(tree: Path, store: Path, timeout: float) -> None:
    with pytest.raises(ArgumentError, match=f"timeout: expected a number of seconds above 0, got {timeout}"):
        convert(TreeSource(tree, TREE_FILEMAP), open_writer(store), workers=1, timeout=timeout)


def test_workers_that_cannot_start_end_the_conversion(tree: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error concerns no sample."""
    source, writer = TreeSource(tree, TREE_FILEMAP), open_writer(store)
    monkeypatch.setenv("TMPDIR", "/nowhere")
    with pytest.raises(WorkerError, match="the directory for the temporary files of a worker cannot be created"):
        convert(source, writer, workers=2)
    assert not store.exists()
