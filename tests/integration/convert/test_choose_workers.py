"""``--workers auto``: the number of processes that cores, samples, memory and temporary files allow."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.convert import WorkerCount, choose_workers, convert, plan_conversion, planning
from noether.data.zarr_store.convert.looking import Descriptions, TimeLimits, describe_samples
from noether.data.zarr_store.convert.worker_count import Machine
from noether.data.zarr_store.errors import ArgumentError, SourceError
from noether.data.zarr_store.sources import FieldDescription, SampleSource, SourceSample
from support.bad_sources import HostileSource, HostileUndescribed
from support.sized_sources import NamedSource, SizedSource
from support.trees import TREE_FILEMAP, call, save_runs

GB = 10**9
NO_SIZES = "the sizes of samples are unknown (--workers N sets another number): "
PRESET = ("--preset", "ahmedml")


class CountingSource(SizedSource):
    """Counts the descriptions, and reports all samples as unchanged."""

    def __init__(self, points: dict[str, int]) -> None:
        super().__init__(points)
        self.described: list[str] = []
        self.fingerprinted: list[str] = []

    def load(self, sample_id: str) -> SourceSample:
        raise AssertionError(f"{sample_id} was loaded")

    def describe(self, sample_id: str) -> dict[str, FieldDescription]:
        self.described.append(sample_id)
        return super().describe(sample_id)

    def fingerprint(self, sample_id: str) -> str:
        self.fingerprinted.append(sample_id)
        return "unchanged"


class BrokenSource(NamedSource):
    """Raises a specified error at every description and load."""

    def __init__(self, error: Exception) -> None:
        super().__init__(["run_1", "run_2"])
        self.error = error

    def load(self, sample_id: str) -> SourceSample:  # noqa: ARG002 - every sample fails
        raise self.error


class BrokenHeads(SizedSource):
    """Raises an error with the sample id."""

    def describe(self, sample_id: str) -> dict[str, FieldDescription]:
        if self.points[sample_id] < 0:
            raise SourceError(f"{sample_id} is broken")
        return super().describe(sample_id)


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with enough of all other resources."""
    monkeypatch.setattr(Machine, "now", lambda: Machine(4, 10**15, 10**15, "/scratch"))


def chosen(source: SampleSource, root: Path, **settings: Any) -> WorkerCount:
    return choose_workers(source, ZarrStoreWriter(root, source.filemap, "n"), source.sample_ids(), **settings)


@pytest.mark.usefixtures("described_in_threads", "four_cores")
@pytest.mark.parametrize(("n_samples", "expected"), [(9, 4), (3, 3), (1, 1)])
def test_cores_and_samples_limit_the_number(n_samples: int, expected: int, tmp_path: Path) -> None:
    assert chosen(SizedSource(dict.fromkeys("abcdefghi"[:n_samples], 10)), tmp_path).n_workers == expected


@pytest.mark.usefixtures("described_in_threads")
def test_the_memory_of_the_largest_sample_limits_the_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SizedSource({"a": 10, "b": 10**9, "c": 10, "d": 10})
    monkeypatch.setattr(Machine, "now", lambda: Machine(4, 70 * GB, 10**15, "/scratch"))
    made = chosen(source, tmp_path)
    assert made.n_workers == 2
    # 16 bytes per point for values, 8 for the permutation, and about a gigabyte for the process of this test.
    assert re.match(r"3 with 2[4-6]\.", made.reason)
    assert made.reason.endswith("GB of memory each would not fit in the available 70.0 GB")
    writer = ZarrStoreWriter(tmp_path, source.filemap, "n")
    plan = plan_conversion(source, writer, source.sample_ids(), workers="auto")
    assert (plan.workers.n_workers, [text for text in plan.warnings if "memory" in text]) == (2, [])


@pytest.mark.usefixtures("described_in_threads", "four_cores")
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (BrokenSource(SourceError("sample 'run_1': broken")), "sample 'run_1': broken"),
        (BrokenSource(ZeroDivisionError("by zero")), "sample 'run_1': ZeroDivisionError: by zero"),
        (BrokenHeads({"run_1": -1, "run_2": -1}), "sample 'run_1': run_1 is broken"),
    ],
    ids=["no sample", "a library", "heads"],
)
def test_unknown_sizes_make_one_worker(source: SampleSource, reason: str, tmp_path: Path) -> None:
    assert chosen(source, tmp_path) == WorkerCount(1, NO_SIZES + reason)


@pytest.mark.usefixtures("described_in_threads", "four_cores")
def test_a_broken_sample_is_ignored(tmp_path: Path) -> None:
    assert chosen(BrokenHeads({"run_1": -1, "run_2": 9, "run_3": 9}), tmp_path).n_workers == 3


@pytest.mark.slow
@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize(("act", "reason"), [("crashed", "SIGSEGV"), ("hung", "after the timeout of 2 s")])
def test_a_crash_on_every_sample_makes_one_worker(act: str, reason: str, tmp_path: Path) -> None:
    source = HostileSource(save_runs(tmp_path / "tree"), TREE_FILEMAP, {"run_1": act, "run_2": act})
    made = chosen(source, tmp_path / "store", timeout=2)
    assert made.n_workers == 1
    assert made.reason.startswith(f"{NO_SIZES}sample 'run_1': ")
    assert reason in made.reason


@pytest.mark.slow
@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize("act", ["crashed", "hung"])
def test_a_sample_that_hangs_or_crashes_is_ignored(act: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other samples were described before."""
    monkeypatch.setattr(planning, "_TIME_LIMITS", TimeLimits(60, 2, 60))
    source = HostileSource(save_runs(tmp_path / "tree", ["a", "b", "c"]), TREE_FILEMAP, {"b": act})
    assert chosen(source, tmp_path / "store") == WorkerCount(3, "one for each sample to convert")


@pytest.mark.slow
@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize("kind", [HostileSource, HostileUndescribed])
def test_a_conversion_does_not_wait_for_a_sample_that_hangs(
    kind: type[HostileSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "_TIME_LIMITS", TimeLimits(8 if kind is HostileSource else 60, 1, 1))
    source = kind(save_runs(tmp_path / "tree"), TREE_FILEMAP, {"run_1": "hung"})
    assert chosen(source, tmp_path / "store") == WorkerCount(1, f"{NO_SIZES}no sample was described in time")


@pytest.mark.usefixtures("described_in_threads", "four_cores")
def test_a_single_sample_is_not_described(tmp_path: Path) -> None:
    """There is one worker, even if the sample is large."""
    source = CountingSource({"run_1": 10**12})
    assert chosen(source, tmp_path) == WorkerCount(1, "one for each sample to convert")
    assert source.described == []


@pytest.mark.usefixtures("described_in_threads", "four_cores")
def test_descriptions_take_a_limited_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples whose state is still unknown count as samples to convert."""
    sized = SizedSource({f"run_{number}": 9 for number in range(20)})
    convert(sized, ZarrStoreWriter(tmp_path, sized.filemap, "n"))
    source = CountingSource(sized.points)
    assert chosen(source, tmp_path) == WorkerCount(1, "there is no sample to convert")
    assert (len(source.fingerprinted), source.described) == (20, [])
    assert chosen(source, tmp_path, mode="overwrite").n_workers == 4
    assert (len(source.fingerprinted), len(source.described)) == (20, 20)
    monkeypatch.setattr(planning, "_TIME_LIMITS", TimeLimits(60, -1, 60))
    assert chosen(source, tmp_path).n_workers == 4
    assert len(source.fingerprinted) == 20


def workers_of(store: Path) -> list[int]:
    """The number of workers of each conversion."""
    return [run["settings"]["workers"] for run in json.loads((store / "conversion.json").read_text())["runs"]]


@pytest.mark.slow
@pytest.mark.usefixtures("four_cores")
def test_the_command_prints_the_number_of_workers(tmp_path: Path) -> None:
    tree, store = save_runs(tmp_path / "tree"), tmp_path / "store"
    ran = call("convert", tree, store, *PRESET)
    assert (ran.code, ran.stdout.count("worker:"), ran.stdout.count("workers:")) == (0, 0, 1)
    assert "2 workers: one for each sample to convert" in ran.stdout.splitlines()
    assert "2 converted, 0 complete before, 0 failed" in ran.stdout
    ran = call("convert", tree, store, *PRESET, "--workers", "auto")
    assert "1 worker: there is no sample to convert" in ran.stdout.splitlines()
    assert (ran.code, "0 converted, 2 complete before, 0 failed" in ran.stdout) == (0, True)
    assert workers_of(store) == [2, 1]


@pytest.mark.usefixtures("described_in_threads", "four_cores")
def test_a_dry_run_describes_samples_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[list[str]] = []

    def counting_describe(source: SampleSource, sample_ids: list[str], **settings: Any) -> Descriptions:
        looked.append(sample_ids)
        return describe_samples(source, sample_ids, **settings)

    monkeypatch.setattr(planning, "describe_samples", counting_describe)
    ran = call("convert", save_runs(tmp_path / "tree"), tmp_path / "store", *PRESET, "--dry-run")
    assert "2 workers: one for each sample to convert" in ran.stdout.splitlines()
    assert looked == [["run_1", "run_2"]]


@pytest.mark.parametrize("workers", [0, pytest.param(3, marks=pytest.mark.slow)])
def test_a_specified_number_of_workers_is_used(workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No sample is described, and nothing is printed."""
    monkeypatch.setattr("noether.data.zarr_store.cli.convert.choose_workers", None)
    ran = call("convert", save_runs(tmp_path / "tree"), tmp_path / "store", *PRESET, "--workers", workers)
    assert (ran.code, "worker:" in ran.stdout, "workers:" in ran.stdout) == (0, False, False)
    assert workers_of(tmp_path / "store") == [workers]


def test_a_negative_number_of_workers_is_refused(tmp_path: Path) -> None:
    source = SizedSource({"run_1": 9})
    with pytest.raises(ArgumentError, match="workers: expected a whole number of at least 0, got -1"):
        plan_conversion(source, ZarrStoreWriter(tmp_path, source.filemap, "n"), ["run_1"], workers=-1)


@pytest.mark.parametrize("text", ["1.5", "many", "AUTO", ""])
def test_an_invalid_number_of_workers_is_refused(text: str, tmp_path: Path) -> None:
    ran = call("convert", save_runs(tmp_path / "tree"), tmp_path / "store", *PRESET, f"--workers={text}")
    assert (ran.code, ran.stderr) == (2, f"error: --workers: expected a whole number or auto, got {text!r}\n")
