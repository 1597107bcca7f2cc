"""Kills and restarts of the S3 server during a conversion and during an epoch of training."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.convert import convert
from noether.data.zarr_store.convert.report import REPORT_NAME, SampleResult
from noether.data.zarr_store.datasets import Item, ZarrStoreDataset, collate_samples
from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.stores import open_storage
from support.effort import in_full_mode
from support.s3_server import MortalS3, serve_mortal_s3
from support.trees import TREE_FILEMAP, Files, save_runs, visible_files

pytestmark = [
    pytest.mark.faults,
    pytest.mark.s3,
    # From Python 3.12 on, forking beside threads warns; that it works is what is tested.
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]

IDS = ("run_1", "run_2", "run_3", "run_4")
WAIT_SECONDS = 120
# A server takes seconds to start; this one may take a minute.
RETRY = {
    "max_retries": 200,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(milliseconds=50), "max_backoff": timedelta(milliseconds=300)},
}


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MortalS3]:
    with serve_mortal_s3(tmp_path_factory.mktemp("mortal")) as mortal:
        yield mortal


@pytest.fixture
def options(mortal: MortalS3) -> dict[str, Any]:
    return {**mortal.server.obstore_options, "retry_config": RETRY}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> TreeSource:
    return TreeSource(save_runs(tmp_path_factory.mktemp("restarts") / "tree", IDS), TREE_FILEMAP)


class Restarts:
    """Restarts of a server in the background."""

    def __init__(self, mortal: MortalS3, threads: ThreadPoolExecutor) -> None:
        self._mortal = mortal
        self._threads = threads
        self._started: list[Future[None]] = []

    def restart(self) -> None:
        """Kill the server now, and start it while the caller continues."""
        self._mortal.kill()
        self._started.append(self._threads.submit(self._mortal.start))

    def restart_after(self, seconds: float, ended: Event) -> None:
        """Kill and start the server at some moment, unless the work has ended before."""

        def restart() -> None:
            if not ended.wait(seconds):
                self._mortal.kill()
                self._mortal.start()

        self._started.append(self._threads.submit(restart))

    def wait(self) -> int:
        """Wait until all have started."""
        for one in self._started:
            one.result(WAIT_SECONDS)
        return len(self._started)


@contextmanager
def restarts_of(mortal: MortalS3) -> Iterator[Restarts]:
    with ThreadPoolExecutor(1) as threads:
        yield Restarts(mortal, threads)


def files_at(root: str, options: dict[str, Any]) -> Files:
    storage = open_storage(root, options)
    keys = sorted(item.key for item in storage.objects())
    return {key: storage.read_if_there(key) or b"" for key in keys if key != REPORT_NAME}


def writer_at(root: str | Path, tree: TreeSource, options: dict[str, Any] | None) -> ZarrStoreWriter:
    return ZarrStoreWriter(root, tree.filemap, "ahmed", chunk_points=32, shard_points=64, storage_options=options)


@pytest.fixture(scope="module")
def undisturbed(tree: TreeSource, tmp_path_factory: pytest.TempPathFactory) -> Files:
    store = tmp_path_factory.mktemp("undisturbed") / "store"
    convert(tree, writer_at(store, tree, None))
    return visible_files(store)


def test_a_conversion_continues_after_a_server_restart(
    mortal: MortalS3, options: dict[str, Any], tree: TreeSource, undisturbed: Files, tmp_path: Path
) -> None:
    root = f"s3://{mortal.server.bucket}/{tmp_path.name}"
    with restarts_of(mortal) as restarts:

        def restart(result: SampleResult) -> None:
            if result.sample_id == "run_2":
                restarts.restart()

        report = convert(tree, writer_at(root, tree, options), on_result=restart)
        assert restarts.wait() == 1
    assert [result.outcome for result in report.results] == ["converted"] * len(IDS)
    assert files_at(root, options) == undisturbed


@pytest.mark.parametrize("seed", range(5 if in_full_mode() else 1))
def test_the_next_conversion_finishes_after_a_server_kill(
    seed: int, mortal: MortalS3, options: dict[str, Any], tree: TreeSource, undisturbed: Files, tmp_path: Path
) -> None:
    """The server is killed at a random moment."""
    root, ended = f"s3://{mortal.server.bucket}/{tmp_path.name}", Event()
    with restarts_of(mortal) as restarts:
        restarts.restart_after(Random(seed).uniform(0.05, 0.8), ended)
        convert(tree, writer_at(root, tree, options))
        ended.set()
        restarts.wait()
    # The killed server may have lost its latest objects, which must then be written again.
    convert(tree, writer_at(root, tree, options))
    assert files_at(root, options) == undisturbed


@pytest.mark.parametrize("workers", [0, 2] if in_full_mode() else [2])
def test_an_epoch_continues_after_a_server_restart(
    workers: int, mortal: MortalS3, options: dict[str, Any], tree: TreeSource, tmp_path: Path
) -> None:
    root = f"s3://{mortal.server.bucket}/{tmp_path.name}"
    convert(tree, writer_at(root, tree, options))
    fields = ["volume_position", "volume_velocity"]
    dataset = ZarrStoreDataset(root, num_points={"volume": 40}, fields=fields, storage_options=options)
    expected = [dataset[i] for i in range(len(dataset))]
    loader = DataLoader(
        dataset,
        batch_size=1,
        num_workers=workers,
        prefetch_factor=1 if workers else None,
        collate_fn=collate_samples,
        timeout=WAIT_SECONDS if workers else 0,
        multiprocessing_context="fork" if workers else None,
    )
    batches: list[Item] = []
    with restarts_of(mortal) as restarts:
        for batch in loader:
            batches.append(batch)
            if len(batches) == 1:
                restarts.restart()
        assert restarts.wait() == 1
    for batch, item in zip(batches, expected, strict=True):
        assert batch["sample_id"] == [item["sample_id"]]
        for field in fields:
            assert torch.equal(batch[field][0], item[field])
