"""A dataset counts its reads and the reads of its workers, with every start method."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.datasets import ZarrStoreDataset
from noether.data.zarr_store.errors import CorruptDataError
from noether.data.zarr_store.reader import IoStatistics
from noether.data.zarr_store.reading import write_chunk_index
from support.damage import flip
from support.forks import in_fork
from support.local_reads import note_reads
from support.reading import write_runs

# Since Python 3.12, a fork of a process with threads warns. These tests check that it works.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

RUNS = ["run_1", "run_2", "run_3", "run_4"]
N_EPOCHS = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_runs(tmp_path_factory.mktemp("counted") / "store", *RUNS, chunk_points=256)
    write_chunk_index(root)
    return root


def cost_of_an_epoch(root: Path) -> tuple[int, int]:
    """Return the requests and bytes of whole reads of all samples."""
    costs = [ZarrChunkReader(root).cost(run) for run in RUNS]
    return sum(cost.total_requests or 0 for cost in costs), sum(cost.total_bytes or 0 for cost in costs)


def counted(found: IoStatistics) -> tuple[int, int]:
    return found.requests, found.n_bytes


@pytest.mark.parametrize(
    ("num_workers", "options"),
    [
        pytest.param(0, {}, id="no worker"),
        pytest.param(2, {}, id="two that stay"),
        pytest.param(2, {"persistent_workers": False}, id="two of each epoch's own"),
        pytest.param(1, {"multiprocessing_context": "spawn"}, id="spawned", marks=pytest.mark.slow),
        pytest.param(2, {"multiprocessing_context": "forkserver"}, id="of a fork server", marks=pytest.mark.slow),
    ],
)
def test_all_that_workers_read_is_counted(root: Path, num_workers: int, options: dict[str, Any]) -> None:
    dataset = ZarrStoreDataset(root)
    requests, n_bytes = cost_of_an_epoch(root)
    loader = dataset.loader(num_workers=num_workers, shuffle=True, **options)
    for epoch in range(N_EPOCHS):
        before = dataset.io_statistics()
        assert sum(len(batch["sample_id"]) for batch in loader) == len(RUNS)
        assert counted(dataset.io_statistics() - before) == (requests, n_bytes)
        assert counted(dataset.io_statistics()) == ((1 + epoch) * requests, (1 + epoch) * n_bytes)
    found = dataset.io_statistics()
    assert found.seconds_waiting > 0
    assert found.seconds_decoding > 0
    assert (found.metadata_requests, found.retries, found.cache_hits, found.cache_misses) == (0, 0, 0, 0)


def test_draws_count_what_the_files_were_asked_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = ZarrStoreDataset(root, num_points={"volume": 1000, "surface": 10})
    seen = note_reads(monkeypatch)
    for _ in dataset.loader(batch_size=2, shuffle=True):
        pass
    assert counted(dataset.io_statistics()) == (len(seen), sum(read.n_bytes for read in seen))
    assert len(seen) >= 10 * len(RUNS)


def test_two_loaders_of_a_dataset_at_the_same_time_lose_no_count(root: Path) -> None:
    dataset = ZarrStoreDataset(root)
    requests, n_bytes = cost_of_an_epoch(root)
    for _ in zip(dataset.loader(num_workers=1), dataset.loader(num_workers=1), strict=True):
        pass
    assert counted(dataset.io_statistics()) == (2 * requests, 2 * n_bytes)


def test_a_subset_and_a_copy_have_their_own_counts(root: Path) -> None:
    dataset = ZarrStoreDataset(root)
    subset = dataset.subset(RUNS[:1])
    _ = subset[0]
    alone = ZarrChunkReader(root).cost(RUNS[0])
    assert counted(subset.io_statistics()) == (alone.total_requests, alone.total_bytes)
    assert dataset.io_statistics() == IoStatistics()
    for other in (copy.deepcopy(subset), pickle.loads(pickle.dumps(subset))):
        assert other.io_statistics() == IoStatistics()
        _ = other[0]
        assert counted(other.io_statistics()) == (alone.total_requests, alone.total_bytes)
    assert counted(subset.io_statistics()) == (alone.total_requests, alone.total_bytes)


def test_a_forked_process_that_is_not_a_worker_counts(root: Path) -> None:
    dataset = ZarrStoreDataset(root)
    _ = dataset[0]
    before = counted(dataset.io_statistics())
    assert in_fork(lambda: len(dataset[0]["sample_id"])) == len(RUNS[0])
    assert counted(dataset.io_statistics()) == (2 * before[0], 2 * before[1])


def test_iter_sample_is_counted(root: Path) -> None:
    dataset = ZarrStoreDataset(root)
    for _ in dataset.iter_sample(RUNS[0], 4096):
        pass
    assert dataset.io_statistics().n_bytes == ZarrChunkReader(root).cost(RUNS[0]).total_bytes


def test_a_read_that_fails_is_counted(tmp_path: Path) -> None:
    root = write_runs(tmp_path / "store", RUNS[0], chunk_points=256)
    flip(f"{RUNS[0]}.zarr/volume/pressure/c/0/0", 30)(root)
    dataset = ZarrStoreDataset(root, fields=["volume_pressure"])
    with pytest.raises(CorruptDataError):
        _ = dataset[0]
    assert dataset.io_statistics().requests == 1
