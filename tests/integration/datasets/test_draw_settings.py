"""Settings of draws: named domains, a curriculum, randomness for transforms, and refusal of ignored settings."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.datasets import (
    Draw,
    DrawIndex,
    Item,
    RaggedBatch,
    ZarrStoreDataset,
    collate_samples,
    item_generator,
)
from noether.data.zarr_store.errors import ArgumentError, UnknownNameError
from support.ahmed import RUNS, load_run
from support.reading import N_POINTS, write_runs

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

WANTED: dict[str, Any] = {"num_points": {"volume": 300}, "fields": ["volume_position"], "seed": 7}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("settings") / "store", *RUNS, chunk_points=256)


@pytest.mark.parametrize("num_points", [{"surface": 128}, lambda epoch: {"surface": 128 + epoch}])
def test_a_domain_missing_in_num_points_is_refused_with_the_fix(root: Path, num_points: Any) -> None:
    message = r"got none for volume; pass num_points={'surface': 128, 'volume': None} to read all points, or fields="
    with pytest.raises(ArgumentError, match=message):
        ZarrStoreDataset(root, num_points=num_points)


@pytest.mark.parametrize(
    ("wanted", "counts"),
    [
        ({"num_points": None}, N_POINTS),
        ({"num_points": {"surface": 128, "volume": None}}, N_POINTS | {"surface": 128}),
        ({"num_points": {"surface": 128}, "fields": ["surface_position"]}, {"surface": 128}),
    ],
)
def test_domains_in_num_points_are_drawn_and_others_read_whole(
    root: Path, wanted: dict[str, Any], counts: dict[str, int]
) -> None:
    item = ZarrStoreDataset(root, **wanted)[0]
    assert {domain: len(item[f"{domain}_position"]) for domain in counts} == counts


def test_named_draws_need_no_number_of_points_beside_their_own(root: Path) -> None:
    draws = {"query": Draw("surface", 50)}
    item = ZarrStoreDataset(root, **WANTED, draws=draws)[0]
    assert (len(item["query_position"]), len(item["volume_position"])) == (50, 300)


def growing(epoch: int) -> dict[str, int | None]:
    return {"volume": 100 * (epoch + 1)}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_curriculum_draws_what_it_says_of_each_epoch(root: Path, workers: int) -> None:
    dataset = ZarrStoreDataset(root, **WANTED | {"num_points": growing})
    loader = dataset.loader(3, num_workers=workers, multiprocessing_context="fork" if workers else None)
    for epoch in range(3):
        same = ZarrStoreDataset(root, **WANTED | {"num_points": growing(epoch)})
        for batch in loader:
            assert batch["volume_position"].shape == (3, 100 * (epoch + 1), 3)
            expected = [same[DrawIndex(RUNS.index(run), epoch)]["volume_position"] for run in batch["sample_id"]]
            assert torch.equal(batch["volume_position"], torch.stack(expected))


@pytest.mark.parametrize("workers", [0, 2])
def test_positions_in_float64_reach_training_with_every_bit(tmp_path: Path, workers: int) -> None:
    root = write_runs(tmp_path / "store", *RUNS[:2], chunk_points=256, coords_dtype="float64")
    draws = {"query": Draw("volume", 40, ["volume_position"])}
    wanted: dict[str, Any] = {"num_points": {"volume": None}, "fields": ["volume_position", "volume_pressure"]}
    dataset = ZarrStoreDataset(root, **wanted, draws=draws, dtype={"volume_position": "float64"}, if_short="all")
    [batch] = dataset.loader(2, num_workers=workers, multiprocessing_context="fork" if workers else None)
    assert (batch["query_position"].dtype, batch["volume_pressure"].dtype) == (torch.float64, torch.float32)
    first = batch["volume_position"][: batch["offsets"]["volume_position"][1]]
    source = load_run(RUNS[0])["volume_position"].astype(np.float64)
    assert {row.tobytes() for row in first.numpy()} == {row.tobytes() for row in source}


@pytest.mark.parametrize(
    ("dtype", "error", "message"),
    [
        ("float64", ArgumentError, "expected a mapping such as {'volume_position': 'float64'}, got 'float64'"),
        ({"volume_position": "int32"}, ArgumentError, r"dtype\['volume_position'\]"),
        ({"volume_positions": "float64"}, UnknownNameError, "field 'volume_positions' is not in the store"),
    ],
)
def test_a_wrong_dtype_is_refused_when_the_dataset_is_made(
    root: Path, dtype: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ZarrStoreDataset(root, **WANTED, dtype=dtype)


def test_a_whole_sample_comes_in_batches_that_are_items(root: Path) -> None:
    dataset = ZarrStoreDataset(root, **WANTED, transform=partial(jittered, "jitter"))
    fields = ["volume_position", "volume_pressure"]
    batches = list(dataset.iter_sample("run_2", 5000, fields))
    expected = ZarrChunkReader(root).read_sample("run_2", fields=fields)
    for field in fields:
        assert torch.equal(torch.cat([item[field] for _, item in batches]), expected[field])
    assert [batch.rows.start for batch, _ in batches] == list(range(0, len(expected["volume_position"]), 5000))
    for _, item in batches:
        assert (item["sample_id"], item["attributes"]) == ("run_2", {"name": "run_2"})
        assert item["jitter"].shape == item["volume_position"].shape


def test_a_curriculum_goes_with_no_sweep(root: Path) -> None:
    with pytest.raises(
        ArgumentError, match="schedule='sweep' draws the same number of points in each epoch, got a func"
    ):
        ZarrStoreDataset(root, **WANTED | {"num_points": growing}, schedule="sweep")


def test_a_curriculum_beyond_a_sample_is_refused_in_its_epoch(root: Path) -> None:
    dataset = ZarrStoreDataset(root, **WANTED | {"num_points": growing}, if_short="error")
    with pytest.raises(ArgumentError, match=r"sample 'run_1', domain 'volume'.*needs 100,000 points"):
        dataset[DrawIndex(0, 999)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("num_points", "num_points: the parameters of a dataset cannot change; make"),
        ("transform", "transform: the parameters of a dataset cannot change; make"),
        ("fixed", "fixed: the parameters of a dataset cannot change; make"),
        ("epoch", r"call set_epoch\(epoch\)"),
    ],
)
def test_assigning_a_parameter_is_an_error(root: Path, name: str, message: str) -> None:
    dataset = ZarrStoreDataset(root, **WANTED)
    with pytest.raises(AttributeError, match=message):
        setattr(dataset, name, 3)
    dataset.note = "of my own"  # other attributes may be set
    assert pickle.loads(pickle.dumps(dataset)).note == "of my own"


def jittered(name: str, item: Item) -> Item:
    """Add randomness under two names."""
    shape = item["volume_position"].shape
    return item | {
        name: torch.randn(shape, generator=item_generator(name)),
        "again": torch.randn(shape, generator=item_generator(name)),
        "other": torch.randn(shape, generator=item_generator("other")),
    }


def noises(root: Path, workers: int, seed: int | None = 7) -> dict[tuple[int, int, str], torch.Tensor]:
    dataset = ZarrStoreDataset(root, **WANTED | {"seed": seed}, transform=partial(jittered, "jitter"))
    context = "fork" if workers else None
    loader = dataset.loader(
        2, weights=[1.0] * len(RUNS), num_samples=8, num_workers=workers, multiprocessing_context=context
    )
    return {
        (epoch, 2 * number + place, name): batch[name][place]
        for epoch in range(2)
        for number, batch in enumerate(loader)
        for place in range(2)
        for name in ("jitter", "again", "other")
    }


def test_item_generator_depends_on_the_item(root: Path) -> None:
    alone = noises(root, 0)
    assert len({noise.numpy().tobytes() for noise in alone.values()}) == len(alone) == 2 * 8 * 3
    helped = noises(root, 2)
    assert alone.keys() == helped.keys()
    assert all(torch.equal(alone[key], helped[key]) for key in alone)


def test_without_a_seed_the_randomness_is_fresh(root: Path) -> None:
    torch.manual_seed(0)
    first = noises(root, 0, seed=None)
    torch.manual_seed(0)
    second = noises(root, 0, seed=None)
    assert not any(torch.equal(first[key], second[key]) for key in first)


def test_item_generator_is_refused_outside_a_transform() -> None:
    with pytest.raises(ArgumentError, match=r"item_generator\('jitter'\): there is no item; call it in the transform"):
        item_generator("jitter")


@pytest.fixture
def ragged(root: Path) -> Any:
    dataset = ZarrStoreDataset(root, fields=["volume_position", "surface_area"])
    return collate_samples([dataset[0], dataset[1]])


def as_it_is(batch: Any) -> Any:
    return RaggedBatch(batch)


def as_pairs(batch: Any) -> Any:
    return type(batch)(*batch.items())


def as_an_ordered_dict(batch: Any) -> Any:
    return type(batch)(OrderedDict(batch))


def as_a_pickle(batch: Any) -> Any:
    return pickle.loads(pickle.dumps(batch))


@pytest.mark.parametrize("make", [as_it_is, as_pairs, as_an_ordered_dict, as_a_pickle])
def test_a_ragged_batch_survives_being_moved(ragged: Any, make: Callable[[Any], Any]) -> None:
    again = make(ragged)
    assert type(again) is RaggedBatch
    assert again.keys() == ragged.keys()
    assert torch.equal(again["volume_position"], ragged["volume_position"])


def concatenated(batch: Any) -> Any:
    return type(batch)(
        {name: torch.cat([batch[name]] * 2) for name in ("volume_position",)}
        | {
            "offsets": {
                name: torch.cat([parts] * 2) for name, parts in batch["offsets"].items() if name == "volume_position"
            }
        }
    )


def sliced(batch: Any) -> Any:
    return type(batch)(dict(batch) | {"volume_position": batch["volume_position"][:100]})


def without_points(batch: Any) -> Any:
    return type(batch)({"offsets": batch["offsets"]})


@pytest.mark.parametrize("make", [concatenated, sliced, without_points])
def test_a_ragged_batch_that_was_taken_apart_is_refused(ragged: Any, make: Callable[[Any], Any]) -> None:
    with pytest.raises(ArgumentError, match=r"offsets do not fit its points.*dispatch_batches=False"):
        make(ragged)
