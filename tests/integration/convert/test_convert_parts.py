"""Conversions on several machines or executors: no sample is lost or repeated, and the bytes are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import LocalCluster
from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.convert import convert, select_samples
from noether.data.zarr_store.convert.executors import DaskExecutor
from noether.data.zarr_store.errors import ArgumentError, MissingDependencyError, WorkerError
from noether.data.zarr_store.sources import TreeSource
from support.bad_sources import HostileSource, RaisingSource
from support.lanes import few_fast
from support.sized_sources import NamedSource
from support.trees import TREE_FILEMAP, finish, save_runs, start, visible_files

IDS = ["part/run_1", "run_2", "run_3", "run_4", "run_5", "run_6"]
SETTINGS = ("--preset", "ahmedml", "--chunk-points", "64", "--workers", "0")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_runs(tmp_path_factory.mktemp("source") / "tree", IDS)


@pytest.fixture(scope="module")
def at_once(tree: Path) -> dict[str, bytes]:
    """The files of a store from one conversion in one process."""
    store = tree.with_name("at_once")
    convert(TreeSource(tree, TREE_FILEMAP), open_writer(store))
    return visible_files(store)


def open_writer(root: Path, **settings: Any) -> ZarrStoreWriter:
    return ZarrStoreWriter(root, TREE_FILEMAP, "ahmed", chunk_points=64, **settings)


def recorded(store: Path) -> list[str]:
    return list(StoreManifest.load(str(store)).samples)


@given(n_samples=st.integers(0, 200), count=st.integers(1, 40), limit=st.none() | st.integers(1, 250))
def test_parts_cover_every_sample_once(n_samples: int, count: int, limit: int | None) -> None:
    """The sizes of the parts differ by one at most."""
    source = NamedSource([f"run_{number:03}" for number in range(n_samples)])
    writer = ZarrStoreWriter("memory://nothing", source.filemap, "names")
    parts = [select_samples(source, writer, limit=limit, part=(number, count)) for number in range(1, count + 1)]
    assert sorted(sample_id for part in parts for sample_id in part) == source.sample_ids()[:limit]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("part", [(0, 3), (4, 3), (1, 0), (-1, 3), (1.5, 3)])
def test_an_invalid_part_is_refused(tmp_path: Path, tree: Path, part: Any) -> None:
    with pytest.raises(ArgumentError, match="part: expected a"):
        convert(TreeSource(tree, TREE_FILEMAP), open_writer(tmp_path / "store"), part=part)


@pytest.mark.slow
def test_sequential_parts_make_the_store_of_one_conversion(
    tmp_path: Path, tree: Path, at_once: dict[str, bytes]
) -> None:
    """The last part writes the chunk index."""
    store, indexed = tmp_path / "store", []
    for part in ((2, 3), (3, 3), (1, 3)):
        report = convert(TreeSource(tree, TREE_FILEMAP), open_writer(store), part=part)
        assert [result.outcome for result in report.results] == ["converted"] * 2
        indexed.append(report.is_indexed)
    assert indexed == [False, False, True]
    assert visible_files(store) == at_once


@pytest.mark.slow
def test_overlapping_parts_make_the_store_of_one_conversion(tmp_path: Path, tree: Path) -> None:
    """The conversions of the parts run at the same time."""
    store, alone = tmp_path / "store", tmp_path / "alone"
    parts = ("1/2", "2/2", "1/1", "2/3")
    ran = [finish(one) for one in [start("convert", tree, store, *SETTINGS, "--part", part) for part in parts]]
    assert {one.code for one in ran} == {0}, ran
    assert finish(start("merge", store)).code == 0
    assert finish(start("convert", tree, alone, *SETTINGS)).code == 0
    assert visible_files(store) == visible_files(alone)


@pytest.mark.parametrize(
    "kind", few_fast([ThreadPoolExecutor, partial(ProcessPoolExecutor, mp_context=get_context("spawn"))])
)
def test_any_executor_can_be_used(
    tmp_path: Path, tree: Path, at_once: dict[str, bytes], kind: Callable[[int], Executor]
) -> None:
    with kind(2) as executor:
        report = convert(TreeSource(tree, TREE_FILEMAP), open_writer(tmp_path / "store"), executor=executor)
        assert executor.submit(int).result() == 0  # the executor is not shut down
    assert len(report.having("converted")) == len(IDS)
    assert visible_files(tmp_path / "store") == at_once


@pytest.mark.slow
def test_three_workers_make_the_store_of_one_process(tmp_path: Path, tree: Path, at_once: dict[str, bytes]) -> None:
    convert(TreeSource(tree, TREE_FILEMAP), open_writer(tmp_path / "store"), workers=3)
    assert visible_files(tmp_path / "store") == at_once


def test_workers_with_an_executor_are_refused(tmp_path: Path, tree: Path) -> None:
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(ArgumentError, match="workers: expected 0 with an executor, got 2"),
    ):
        convert(TreeSource(tree, TREE_FILEMAP), open_writer(tmp_path / "store"), executor=executor, workers=2)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Two worker processes of Dask; a call that kills a worker is not retried."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
    ):
        yield cluster.scheduler_address


@pytest.mark.slow
def test_a_dask_cluster_makes_the_store_of_one_process(
    tmp_path: Path, tree: Path, cluster: str, at_once: dict[str, bytes]
) -> None:
    with DaskExecutor(cluster) as executor:
        report = convert(TreeSource(tree, TREE_FILEMAP), open_writer(tmp_path / "store"), executor=executor)
    assert len(report.having("converted")) == len(IDS)
    assert visible_files(tmp_path / "store") == at_once


@pytest.mark.slow
def test_the_command_converts_on_a_dask_cluster(tmp_path: Path, tree: Path, cluster: str) -> None:
    ran = finish(start("convert", tree, tmp_path / "store", "--preset", "ahmedml", "--dask", cluster))
    assert ran.code == 0, ran
    assert ran.stdout.splitlines()[-1].startswith("6 converted, 0 complete before, 0 failed")


@pytest.mark.slow
def test_a_missing_library_on_a_cluster_ends_the_conversion(tmp_path: Path, tree: Path, cluster: str) -> None:
    source = RaisingSource(tree, TREE_FILEMAP, {"run_4": MissingDependencyError("h5py", "reading .h5 files", "hdf5")})
    with DaskExecutor(cluster) as executor, pytest.raises(MissingDependencyError, match="needs h5py"):
        convert(source, open_writer(tmp_path / "store"), executor=executor)


@pytest.mark.faults
def test_a_sample_that_kills_cluster_workers_fails(
    tmp_path: Path, tree: Path, cluster: str, at_once: dict[str, bytes]
) -> None:
    """Another conversion on the same cluster continues."""
    store = tmp_path / "store"
    with DaskExecutor(cluster) as executor:
        report = convert(HostileSource(tree, TREE_FILEMAP, {"run_3": "killed"}), open_writer(store), executor=executor)
        reasons = {result.sample_id: result.reason for result in report.having("failed")}
        assert reasons["run_3"].startswith("sample 'run_3': KilledWorker: ")
        convert(TreeSource(tree, TREE_FILEMAP), open_writer(store), executor=executor)
    assert visible_files(store) == at_once


def test_an_unreachable_scheduler_is_named() -> None:
    """The error has the address of the scheduler."""
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "100ms"}),
        pytest.raises(WorkerError, match=r"the Dask scheduler tcp://127.0.0.1:9 cannot be reached"),
    ):
        DaskExecutor("tcp://127.0.0.1:9")


def test_without_distributed_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(MissingDependencyError, match=r"needs distributed.*pip install 'noether-zarr-store\[dask\]'"):
        DaskExecutor("tcp://127.0.0.1:9")
