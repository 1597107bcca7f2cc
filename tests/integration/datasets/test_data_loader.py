"""The dataset behind `torch.utils.data.DataLoader`: the same items however they are fetched, and no process left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler

from noether.data.zarr_store.datasets import Draw, Falloff, Item, ZarrStoreDataset, collate_samples
from noether.data.zarr_store.errors import CorruptDataError
from support.ahmed import RUNS
from support.effort import in_full_mode
from support.reading import write_runs
from support.s3_server import S3Server

pytestmark = [
    # Since Python 3.12, a fork of a process with threads warns. These tests check that it works.
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # more workers than cores
]

WAIT_SECONDS = 60
WANTED: dict[str, Any] = {
    "num_points": {"surface": 100, "volume": 500},
    "fields": ["surface_pressure", "volume_position", "volume_velocity"],
    "draws": {
        "query": Draw("volume", 300, ["volume_position"], disjoint=True),
        "near": Draw("volume", 80, ["volume_pressure"], weight=Falloff("volume_sdf", 0.02), with_inverse=True),
    },
    "seed": 11,
}
EPOCHS = (0, 3, 1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("loader") / "store", *RUNS, chunk_points=256)


@pytest.fixture(scope="module")
def dataset(root: Path) -> ZarrStoreDataset:
    """A dataset that was read from, so that forked processes inherit its open files."""
    dataset = ZarrStoreDataset(root, **WANTED)
    dataset[0]
    return dataset


@pytest.fixture(scope="module")
def expected(root: Path) -> dict[int, dict[str, Item]]:
    """Return the items of each epoch by sample, read one by one."""
    dataset = ZarrStoreDataset(root, **WANTED)
    items = {}
    for epoch in EPOCHS:
        dataset.set_epoch(epoch)
        items[epoch] = {run: dataset[number] for number, run in enumerate(RUNS)}
    return items


def items_of(batch: Item) -> dict[str, Item]:
    """Take a batch apart."""
    names = [name for name, value in batch.items() if isinstance(value, torch.Tensor)]
    return {run: {name: batch[name][i] for name in names} for i, run in enumerate(batch["sample_id"])}


def require_equal(found: dict[str, Item], expected: dict[str, Item]) -> None:
    for run, item in found.items():
        assert item.keys() == expected[run].keys() - {"sample_id", "attributes"}
        for name, values in item.items():
            assert torch.equal(values, expected[run][name]), (run, name)


# One of each, and all together where there is time.
FETCHED = [
    pytest.param(0, None, False, 1, id="no worker"),
    pytest.param(0, None, False, 3, id="no worker, batches"),
    pytest.param(1, "fork", True, 1, id="one forked worker"),
    pytest.param(1, "fork", False, 2, id="a forked worker of each epoch's own"),
    pytest.param(4, "fork", True, 2, id="four forked workers"),
    pytest.param(2, "forkserver", True, 3, id="workers of a fork server", marks=pytest.mark.slow),
    pytest.param(2, "spawn", True, 6, id="spawned workers", marks=pytest.mark.slow),
]
if in_full_mode():
    FETCHED += [
        pytest.param(4, method, persistent, batch_size, marks=pytest.mark.slow)
        for method in ("fork", "forkserver", "spawn")
        for persistent, batch_size in [(True, 1), *([(False, 3)] if method == "fork" else [])]
    ]


@pytest.mark.parametrize(("workers", "method", "persistent", "batch_size"), FETCHED)
def test_the_items_of_an_epoch_are_the_same_for(
    dataset: ZarrStoreDataset,
    expected: dict[int, dict[str, Item]],
    workers: int,
    method: str | None,
    persistent: bool,
    batch_size: int,
) -> None:
    loader: DataLoader[Item] = DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=True,
        collate_fn=collate_samples,
        num_workers=workers,
        multiprocessing_context=method,
        persistent_workers=persistent,
        timeout=WAIT_SECONDS if workers else 0,
    )
    for epoch in EPOCHS:
        dataset.set_epoch(epoch)
        found: dict[str, Item] = {}
        for batch in loader:
            assert len(batch["sample_id"]) == batch_size
            found |= items_of(batch)
        assert found.keys() == set(RUNS)
        require_equal(found, expected[epoch])


@pytest.mark.parametrize("world_size", [1, 2, 4, 7])
def test_the_ranks_of_a_distributed_sampler_share_the_dataset_and_see_the_same_items(
    dataset: ZarrStoreDataset, expected: dict[int, dict[str, Item]], world_size: int
) -> None:
    together: dict[str, Item] = {}
    for rank in range(world_size):
        dataset.set_epoch(3)
        sampler: DistributedSampler[Item] = DistributedSampler(dataset, world_size, rank, shuffle=True)
        sampler.set_epoch(3)
        for batch in DataLoader(dataset, batch_size=2, sampler=sampler, collate_fn=collate_samples):
            items = items_of(batch)
            require_equal(items, expected[3])
            together |= items
    assert together.keys() == set(RUNS)


def test_batches_of_samples_of_different_sizes_and_dtypes_come_whole_from_a_worker(root: Path) -> None:
    dataset = ZarrStoreDataset(
        root,
        fields=["volume_position", "volume_pressure", "surface_area"],
        transform=lambda item: item | {"rank": item["surface_area"].argsort(), "area": item["surface_area"].double()},
    )
    alone, sent = (
        DataLoader(
            dataset,
            batch_size=3,
            collate_fn=collate_samples,
            num_workers=workers,
            multiprocessing_context=method,
            timeout=WAIT_SECONDS if workers else 0,
        )
        for workers, method in ((0, None), (1, "fork"))
    )
    for batch, expected in zip(sent, alone, strict=True):
        assert batch.keys() == expected.keys()
        for name in ("volume_position", "volume_pressure", "surface_area", "rank", "area"):
            assert batch[name].dtype == expected[name].dtype
            assert torch.equal(batch[name], expected[name])
            assert torch.equal(batch["offsets"][name], expected["offsets"][name])


def test_an_error_in_a_worker_is_raised(tmp_path: Path) -> None:
    root = write_runs(tmp_path / "store", *RUNS[:3], chunk_points=256)
    dataset = ZarrStoreDataset(root, fields=["volume_pressure"], num_points={"volume": 100})
    dataset[1]
    for shard in (root / "run_3.zarr" / "volume" / "pressure").rglob("c/*/*"):
        shard.write_bytes(b"")
    loader = DataLoader(dataset, batch_size=1, num_workers=2, multiprocessing_context="fork", timeout=WAIT_SECONDS)
    with pytest.raises(CorruptDataError, match="sample 'run_3', field volume_pressure"):
        list(loader)


@pytest.mark.s3
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"] if in_full_mode() else ["fork"])
def test_workers_read_a_store_in_object_storage_that_their_parent_has_read_from(
    s3_server: S3Server, s3_root: str, method: str
) -> None:
    write_runs(s3_root, *RUNS[:2], chunk_points=256, storage_options=s3_server.obstore_options)
    dataset = ZarrStoreDataset(s3_root, **WANTED, storage_options=s3_server.obstore_options)
    alone = {dataset.sample_ids[i]: dataset[i] for i in range(2)}
    loader = DataLoader(
        dataset,
        batch_size=1,
        collate_fn=collate_samples,
        num_workers=2,
        multiprocessing_context=method,
        timeout=WAIT_SECONDS,
    )
    found: dict[str, Item] = {}
    for batch in loader:
        found |= items_of(batch)
    assert found.keys() == alone.keys()
    require_equal(found, alone)
