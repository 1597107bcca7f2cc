"""A dataset with damaged samples names them, or continues without them, and never returns wrong values."""

from __future__ import annotations

import logging
import pickle
import shutil
from multiprocessing import resource_sharer
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from noether.data.zarr_store.datasets import Item, ZarrStoreDataset, collate_samples
from noether.data.zarr_store.errors import ArgumentError, CorruptDataError, StorageError
from support.ahmed import load_run
from support.damage import Damage, all_of, cut, flip, remove
from support.effort import in_full_mode
from support.reading import write_samples
from support.repository import ROOT

# Since Python 3.12, a fork of a process with threads warns. These tests check that it works.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

IDS = [f"run_{number}" for number in range(10)]
FIELDS = ["volume_position", "volume_velocity"]
WANTED: dict[str, Any] = {"num_points": {"volume": 40}, "fields": FIELDS}
WAIT_SECONDS = 60
LOGGER = "noether.data.zarr_store.datasets.skipping"


def shard(number: int) -> str:
    return f"run_{number}.zarr/volume/velocity/c/0/0"


def damage(root: Path, *numbers: int) -> None:
    """Change a byte of the chunks of some samples."""
    all_of(*(flip(shard(number), 30) for number in numbers))(root)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples = {
        sample_id: {name: values[100 * number :][:100] for name, values in load_run("run_1").items()}
        for number, sample_id in enumerate(IDS)
    }
    return write_samples(tmp_path_factory.mktemp("skips") / "store", samples, chunk_points=100)


@pytest.fixture
def root(intact: Path, tmp_path: Path) -> Path:
    """A copy of the store to damage."""
    return Path(shutil.copytree(intact, tmp_path / "store"))


@pytest.fixture
def sound(intact: Path) -> list[Item]:
    """The items of epoch 3 of the undamaged store."""
    dataset = ZarrStoreDataset(intact, **WANTED)
    dataset.set_epoch(3)
    return [dataset[i] for i in range(len(dataset))]


def opened(root: Path, **settings: Any) -> ZarrStoreDataset:
    dataset = ZarrStoreDataset(root, **WANTED, **settings)
    dataset.set_epoch(3)
    return dataset


def batches_of(dataset: ZarrStoreDataset, workers: int) -> list[Item]:
    loader = DataLoader(
        dataset,
        batch_size=4,
        collate_fn=collate_samples,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
        timeout=WAIT_SECONDS if workers else 0,
    )
    return list(loader)


def ids_of(batches: list[Item]) -> list[str]:
    return [sample_id for batch in batches for sample_id in batch["sample_id"]]


def require_equal(batches: list[Item], items: list[Item]) -> None:
    for field in FIELDS:
        found = torch.cat([batch[field] for batch in batches])
        assert torch.equal(found, torch.stack([item[field] for item in items])), field


# PyTorch takes 10 s to end two workers after an error.
@pytest.mark.parametrize("workers", [0, 2] if in_full_mode() else [0])
def test_a_damaged_sample_names_itself_and_its_field(root: Path, workers: int) -> None:
    damage(root, 2)
    with pytest.raises(CorruptDataError, match=r"sample 'run_2', field volume_velocity: chunk 0, in shard 0, is damag"):
        batches_of(opened(root), workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_next_sound_sample_stands_in_for_damaged_ones(root: Path, sound: list[Item], workers: int) -> None:
    """Damaged samples are counted in every process that reads them."""
    damage(root, 2, 3, 6)
    dataset = opened(root, on_error="skip")
    batches = batches_of(dataset, workers)
    stand_ins = [0, 1, 4, 4, 4, 5, 7, 7, 8, 9]
    assert ids_of(batches) == [IDS[number] for number in stand_ins]
    assert [len(batch["volume_velocity"]) for batch in batches] == [4, 4, 2]
    require_equal(batches, [sound[number] for number in stand_ins])
    assert dataset.skipped_ids == ("run_2", "run_3", "run_6")
    assert dataset.n_skipped == 3


@pytest.mark.parametrize(
    "broken",
    [flip(shard(9), 30), flip(shard(9), -1), cut(shard(9), 200), remove(shard(9)), remove("run_9.zarr")],
    ids=["chunk", "index", "cut", "lost shard", "lost group"],
)
def test_the_first_sample_stands_in_for_a_damaged_last_one(root: Path, sound: list[Item], broken: Damage) -> None:
    broken(root)
    item = opened(root, on_error="skip")[-1]
    assert item["sample_id"] == "run_0"
    for field in FIELDS:
        assert torch.equal(item[field], sound[0][field])


def test_a_sample_is_logged_once_and_every_item_is_counted(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    damage(root, 2)
    dataset = opened(root, on_error="skip")
    with caplog.at_level(logging.WARNING, LOGGER):
        for epoch in range(3):
            dataset.set_epoch(epoch)
            batches_of(dataset, 0)
    [record] = caplog.records
    assert "sample 'run_2' cannot be read, and is skipped: sample 'run_2', field volume_velocity" in record.message
    assert (dataset.skipped_ids, dataset.n_skipped) == (("run_2",), 3)


def test_skips_of_a_spawned_worker_are_counted(root: Path) -> None:
    damage(root, 2)
    dataset = opened(root, on_error="skip")
    try:
        # As it is sent to one.
        sent: ZarrStoreDataset = pickle.loads(bytes(ForkingPickler.dumps(dataset)))
    finally:
        resource_sharer.stop(timeout=10)
    assert sent[2]["sample_id"] == "run_3"
    assert (dataset.skipped_ids, dataset.n_skipped) == (("run_2",), 1)


def test_a_sample_that_was_repaired_is_no_longer_skipped(intact: Path, root: Path, sound: list[Item]) -> None:
    damage(root, 2)
    dataset = opened(root, on_error="skip")
    assert dataset[2]["sample_id"] == "run_3"
    shutil.copy(intact / shard(2), root / shard(2))
    item = dataset[2]
    assert item["sample_id"] == "run_2"
    assert torch.equal(item["volume_velocity"], sound[2]["volume_velocity"])


def test_nothing_is_skipped_without_damage(root: Path, sound: list[Item]) -> None:
    dataset = opened(root, on_error="skip")
    require_equal(batches_of(dataset, 0), sound)
    assert (dataset.skipped_ids, dataset.n_skipped) == ((), 0)


def test_eight_unreadable_samples_in_a_row_raise_the_error(root: Path) -> None:
    damage(root, *range(1, 9))
    dataset = opened(root, on_error="skip")
    assert dataset[2]["sample_id"] == "run_9"
    with pytest.raises(CorruptDataError, match="sample 'run_8'") as raised:
        dataset[1]
    assert raised.value.__notes__ == ["on_error='skip': none of 8 samples in a row could be read"]


def test_a_dataset_without_readable_samples_raises_the_error(root: Path) -> None:
    damage(root, 1, 2)
    with pytest.raises(CorruptDataError, match="sample 'run_1'"):
        opened(root, sample_ids=["run_1", "run_2"], on_error="skip")[1]


@pytest.mark.parametrize("kind", [CorruptDataError, StorageError, ValueError])
def test_errors_of_a_transform_are_never_skipped(root: Path, kind: type[Exception]) -> None:
    def fail(item: Item) -> Item:
        raise kind("of the transform")

    with pytest.raises(kind, match="of the transform"):
        opened(root, on_error="skip", transform=fail)[0]


def test_an_unknown_choice_is_refused(root: Path) -> None:
    with pytest.raises(ArgumentError, match="on_error: expected one of raise, skip, got 'ignore'"):
        opened(root, on_error="ignore")


def test_the_documented_loop_counts_what_it_skips(root: Path) -> None:
    damage(root, 4)
    text = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
    code = text.partition("\n## Network failures\n")[2].split("```python\n")[2].partition("```")[0]
    found = {"DataLoader": DataLoader, "ZarrStoreDataset": ZarrStoreDataset, "collate_samples": collate_samples}
    exec(code.replace("noether-demo/store", str(root)).replace("num_workers=2", "num_workers=0"), found)
    dataset: Any = found["dataset"]
    assert (dataset.n_skipped, dataset.skipped_ids) == (1, ("run_4",))
