"""Epochs: every pass has new points, or warns; two trainings share nothing."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset, WeightedRandomSampler, random_split
from torchdata.stateful_dataloader import StatefulDataLoader

from noether.data.zarr_store.datasets import (
    DrawIndex,
    EpochSampler,
    Item,
    StoreLoader,
    ZarrStoreDataset,
    collate_samples,
)
from noether.data.zarr_store.errors import ArgumentError, UnknownNameError
from support.ahmed import RUNS
from support.reading import write_runs
from support.training_process import train

pytestmark = [
    # Since Python 3.12, a fork of a process with threads warns. These tests check that it works.
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # more workers than cores
]

WANTED: dict[str, Any] = {"num_points": {"volume": 300}, "fields": ["volume_position"], "seed": 7}
AGAIN = r"repeats its points of epoch \d+, because no other epoch was set"

Points = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("epochs") / "store", *RUNS, chunk_points=256)


@pytest.fixture
def dataset(root: Path) -> ZarrStoreDataset:
    return ZarrStoreDataset(root, **WANTED)


def points_of(batches: Any) -> list[tuple[str, torch.Tensor]]:
    """Return the samples of batches in their order, each with its points."""
    return [pair for batch in batches for pair in zip(batch["sample_id"], batch["volume_position"], strict=True)]


def drawn(root: Path, epoch: int, **other: Any) -> Points:
    """Return the points of each sample in an epoch, read one by one."""
    dataset = ZarrStoreDataset(root, **WANTED | other)
    items = [dataset[DrawIndex(number, epoch)] for number in range(len(dataset))]
    return {item["sample_id"]: item["volume_position"] for item in items}


def require_points(found: list[tuple[str, torch.Tensor]], expected: Points) -> None:
    assert sorted(sample_id for sample_id, _ in found) == sorted(expected)
    for sample_id, points in found:
        assert torch.equal(points, expected[sample_id]), sample_id


def require_same(found: list[tuple[str, torch.Tensor]], expected: list[tuple[str, torch.Tensor]]) -> None:
    assert [sample_id for sample_id, _ in found] == [sample_id for sample_id, _ in expected]
    assert all(torch.equal(one, other) for (_, one), (_, other) in zip(found, expected, strict=True))


def differ(one: Points, other: Points) -> bool:
    return all(not torch.equal(one[sample_id], other[sample_id]) for sample_id in one)


@pytest.mark.parametrize(
    ("workers", "method", "persistent"),
    [
        pytest.param(0, None, False, id="no worker"),
        pytest.param(2, "fork", True, id="forked workers that stay"),
        pytest.param(3, "fork", False, id="forked workers of each epoch's own"),
        pytest.param(2, "spawn", True, id="spawned workers that stay", marks=pytest.mark.slow),
        pytest.param(1, "forkserver", False, id="a worker of a fork server", marks=pytest.mark.slow),
    ],
)
def test_a_plain_loop_gets_the_epochs_of_the_seed(
    root: Path, dataset: ZarrStoreDataset, workers: int, method: str | None, persistent: bool
) -> None:
    options: dict[str, Any] = {"multiprocessing_context": method, "persistent_workers": persistent} if workers else {}
    loaders: list[Any] = [
        dataset.loader(2, shuffle=True, num_workers=workers, **options),
        DataLoader(
            dataset, 4, sampler=EpochSampler(dataset), collate_fn=collate_samples, num_workers=workers, **options
        ),
    ]
    expected = [drawn(root, epoch) for epoch in range(3)]
    assert differ(expected[0], expected[1])
    assert differ(expected[1], expected[2])
    for loader in loaders:
        for epoch in range(3):
            require_points(points_of(loader), expected[epoch])


def test_the_order_depends_on_epoch_and_seed(dataset: ZarrStoreDataset) -> None:
    first, second = (dataset.loader(1, shuffle=True) for _ in range(2))
    orders = [[sample_id for sample_id, _ in points_of(first)] for _ in range(4)]
    assert len({tuple(order) for order in orders}) > 1
    assert orders == [[sample_id for sample_id, _ in points_of(second)] for _ in range(4)]


def test_a_plain_loader_warns_at_its_second_pass_and_names_the_remedy(dataset: ZarrStoreDataset) -> None:
    loader = DataLoader(dataset, 2, shuffle=True, collate_fn=collate_samples)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(loader)
    with pytest.warns(UserWarning, match=f"{AGAIN}.*dataset.loader.*EpochSampler.*set_epoch.*fixed=True"):
        list(loader)
    with warnings.catch_warnings():  # once is enough
        warnings.simplefilter("error")
        list(loader)


@pytest.mark.parametrize("persistent", [True, False])
def test_workers_draw_the_same(dataset: ZarrStoreDataset, persistent: bool) -> None:
    loader = DataLoader(
        dataset, 3, num_workers=2, multiprocessing_context="fork", persistent_workers=persistent, collate_fn=list
    )
    list(loader)
    with pytest.raises(UserWarning, match=AGAIN):  # an error in a worker, since warnings are errors in tests
        list(loader)


def test_set_epoch_avoids_the_warning(root: Path, dataset: ZarrStoreDataset) -> None:
    loader = DataLoader(dataset, 2, collate_fn=collate_samples, num_workers=2, multiprocessing_context="fork")
    for epoch in (0, 2, 0):
        dataset.set_epoch(epoch)
        require_points(points_of(loader), drawn(root, epoch))


@pytest.mark.parametrize(
    "wanted", [{"num_points": None}, {"num_points": {"volume": None}}, {"seed": None}, {"fixed": True}]
)
def test_no_warning_without_repeatable_draws(root: Path, wanted: dict[str, Any]) -> None:
    dataset = ZarrStoreDataset(root, **WANTED | wanted)
    loader = DataLoader(dataset, 2, collate_fn=list)
    for _ in range(3):
        list(loader)


def test_single_items_may_repeat_without_a_warning(dataset: ZarrStoreDataset) -> None:
    assert torch.equal(dataset[1]["volume_position"], dataset[1]["volume_position"])
    list(DataLoader(dataset, 2, collate_fn=list))


def subset(dataset: ZarrStoreDataset) -> Any:
    return Subset(dataset, [4, 1, 2])


def random_subset(dataset: ZarrStoreDataset) -> Any:
    return random_split(dataset, [4, 2])[0]


@pytest.mark.parametrize("part", [subset, random_subset])
def test_subsets_of_pytorch_warn_also_with_a_sampler_of_ours(dataset: ZarrStoreDataset, part: Any) -> None:
    of_dataset = part(dataset)
    loader: DataLoader[Any] = DataLoader(of_dataset, 2, sampler=EpochSampler(of_dataset, seed=0), collate_fn=list)
    list(loader)
    with pytest.warns(UserWarning, match=f"{AGAIN}.*dataset.subset"):
        list(loader)


@pytest.mark.parametrize("workers", [0, 2])
def test_joined_datasets_get_new_points_with_a_sampler_of_ours(
    root: Path, dataset: ZarrStoreDataset, workers: int
) -> None:
    joined: ConcatDataset[Item] = ConcatDataset([dataset.subset(["run_2"]), dataset.subset(["run_1", "run_3"])])
    loader = DataLoader(
        joined,
        2,
        sampler=EpochSampler(joined, shuffle=True, seed=3),
        collate_fn=collate_samples,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
    )
    for epoch in range(3):
        expected = drawn(root, epoch)
        require_points(points_of(loader), {run: expected[run] for run in ("run_1", "run_2", "run_3")})


def test_joined_datasets_warn_with_another_sampler(dataset: ZarrStoreDataset) -> None:
    loader: DataLoader[Any] = DataLoader(ConcatDataset([dataset, dataset.subset(["run_1"])]), 2, collate_fn=list)
    list(loader)
    with pytest.warns(UserWarning, match=AGAIN):
        list(loader)


def test_a_subset_has_the_draws_of_the_dataset(root: Path, dataset: ZarrStoreDataset) -> None:
    part = dataset.subset(["run_3", "run_1"])
    assert part.sample_ids == ("run_3", "run_1")
    assert len(dataset) == len(RUNS)
    for epoch in range(2):
        expected = drawn(root, epoch)
        found = (
            points_of(part.loader(2))
            if epoch == 0
            else [
                (item["sample_id"], item["volume_position"])
                for item in part.__getitems__([DrawIndex(0, 1), DrawIndex(1, 1)])
            ]
        )
        require_points(found, {run: expected[run] for run in ("run_1", "run_3")})


@pytest.mark.parametrize(
    ("sample_ids", "error", "message"),
    [
        ("run_1", ArgumentError, r"write \['run_1'\]"),
        (["run_1", "run_12"], UnknownNameError, "no sample 'run_12'"),
        (["run_1", "run_1"], ArgumentError, "each of them once"),
        ([], ArgumentError, "at least one sample"),
    ],
)
def test_a_wrong_subset_is_refused(
    dataset: ZarrStoreDataset, sample_ids: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        dataset.subset(sample_ids)


@pytest.mark.parametrize("taken", [0, 1, 2, 3])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_state_goes_on_exactly_where_it_was_taken(dataset: ZarrStoreDataset, taken: int, workers: int) -> None:
    """An epoch has three batches: the states are of its beginning, its middle, and its end."""
    options: dict[str, Any] = {"num_workers": workers, "multiprocessing_context": "fork"} if workers else {}
    undisturbed = dataset.loader(2, shuffle=True, **options)
    expected = [points_of(undisturbed) for _ in range(4)]

    first = dataset.loader(2, shuffle=True, **options)
    list(first)
    batches: Iterator[Any] = iter(first)
    before = points_of([next(batches) for _ in range(taken)])
    state = pickle.loads(pickle.dumps(first.state_dict()))
    require_same(before, expected[1][: 2 * taken])
    del batches

    resumed = dataset.loader(2, shuffle=True, **options)
    resumed.load_state_dict(state)
    require_same(points_of(resumed), expected[1][2 * taken :] if taken < 3 else expected[2])
    require_same(points_of(resumed), expected[2 if taken < 3 else 3])


def test_a_framework_that_sets_the_epoch_of_a_loaded_state_keeps_its_place(dataset: ZarrStoreDataset) -> None:
    loader, resumed = dataset.loader(2, shuffle=True), dataset.loader(2, shuffle=True)
    expected = points_of(loader)
    batches: Iterator[Any] = iter(loader)
    rest = next(batches) and points_of(batches)
    resumed.load_state_dict({"epoch": 1, "samples": 2, "seed": 7, "of": 6})
    for epoch in (0, 1):
        resumed.set_epoch(epoch)
    require_same(points_of(resumed), rest)
    resumed.load_state_dict({"epoch": 1, "samples": 2, "seed": 7, "of": 6})
    resumed.set_epoch(4)
    assert len(points_of(resumed)) == len(expected)


def test_a_state_after_an_epoch_begins_the_next_epoch(dataset: ZarrStoreDataset) -> None:
    loader, resumed = dataset.loader(4, shuffle=True, drop_last=True), dataset.loader(4, shuffle=True, drop_last=True)
    list(loader)
    assert len(loader) == 1
    resumed.load_state_dict(loader.state_dict())
    assert resumed.epoch == 1
    require_same(points_of(resumed), points_of(loader))


def test_a_pass_that_ends_early_counts_as_an_epoch(root: Path, dataset: ZarrStoreDataset) -> None:
    loader = dataset.loader(2)
    next(iter(loader))
    require_points(points_of(loader), drawn(root, 1))
    assert loader.epoch == 1


def test_an_iterator_that_is_not_used_is_not_a_pass(root: Path, dataset: ZarrStoreDataset) -> None:
    loader = dataset.loader(2)
    iter(loader)
    iter(loader.sampler)
    require_points(points_of(loader), drawn(root, 0))


def test_an_epoch_can_be_chosen_and_is_counted_from(root: Path, dataset: ZarrStoreDataset) -> None:
    loader = dataset.loader(2)
    loader.set_epoch(5)
    assert loader.epoch == 5
    for epoch in (5, 6):
        require_points(points_of(loader), drawn(root, epoch))


def test_an_epoch_that_is_set_within_a_pass_is_the_next_one(root: Path, dataset: ZarrStoreDataset) -> None:
    loader = dataset.loader(2)
    for number, _ in enumerate(loader):
        if number == 0:
            loader.set_epoch(5)
    assert loader.state_dict() == {"epoch": 5, "samples": 0, "seed": 7, "of": 6}
    require_points(points_of(loader), drawn(root, 5))


def test_a_loader_warns_if_its_dataset_has_another_epoch(dataset: ZarrStoreDataset) -> None:
    loader = dataset.loader(2)
    dataset.set_epoch(3)
    with pytest.warns(
        UserWarning, match=r"set_epoch\(3\) was called on the dataset, but its sampler, .* begins epoch 0;"
    ):
        list(loader)
    dataset.set_epoch(1)
    list(loader)


def test_an_epoch_that_is_set_and_begun_twice_is_warned_of_once(dataset: ZarrStoreDataset) -> None:
    """Accelerate causes this: it does not count a pass that ends with break."""
    loader = dataset.loader(2)
    next(iter(loader))
    loader.set_epoch(0)
    with pytest.warns(UserWarning, match="epoch 0 begins again.*fixed=True"):
        list(loader)
    loader.set_epoch(0)
    list(loader)


@pytest.mark.parametrize("wanted", [{"fixed": True}, {"seed": None}, {"num_points": None}])
def test_an_epoch_without_effect_may_begin_twice(root: Path, wanted: dict[str, Any]) -> None:
    loader = ZarrStoreDataset(root, **WANTED | wanted).loader(2)
    for _ in range(2):
        loader.set_epoch(0)
        list(loader)


def test_a_pass_that_a_loaded_state_had_is_warned_of(dataset: ZarrStoreDataset) -> None:
    loader, resumed = dataset.loader(2), dataset.loader(2)
    list(loader)
    resumed.load_state_dict(loader.state_dict())
    resumed.set_epoch(0)
    with pytest.warns(UserWarning, match=r"epoch 0 begins, but a state of epoch 1 was loaded.*set_epoch\(1\)"):
        list(resumed)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"epoch": 1}, "expected a mapping with the keys epoch, samples, seed, of"),
        (
            {"epoch": 1, "samples": 2, "seed": 8, "of": 6},
            "with seed 7, got seed 8, which would continue with other draws",
        ),
        ({"epoch": 1, "samples": 2, "seed": 7, "of": 5}, "with number of samples 6, got number of samples 5, "),
        ({"epoch": -1, "samples": 2, "seed": 7, "of": 6}, "epoch"),
    ],
)
def test_a_state_of_something_else_is_refused(dataset: ZarrStoreDataset, state: dict[str, int], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        dataset.loader(2).load_state_dict(state)


@pytest.mark.parametrize("world_size", [2, 4, 7])
def test_ranks_share_the_samples_of_every_epoch(root: Path, dataset: ZarrStoreDataset, world_size: int) -> None:
    loaders = [dataset.loader(2, shuffle=True, rank=rank, world_size=world_size) for rank in range(world_size)]
    for epoch in range(2):
        by_rank = [points_of(loader) for loader in loaders]
        assert {len(found) for found in by_rank} == {-(-len(RUNS) // world_size)}
        expected = drawn(root, epoch)
        first: Points = {}
        for sample_id, points in (found[place] for place in range(len(by_rank[0])) for found in by_rank):
            first.setdefault(sample_id, points)
        require_points(list(first.items()), expected)


def test_a_framework_gets_all_samples_of_a_loader_in_use(
    dataset: ZarrStoreDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accelerate makes its own loader from the batch sampler, and distributes the batches."""
    for name, value in {"is_initialized": True, "get_rank": 1, "get_world_size": 2}.items():
        monkeypatch.setattr(torch.distributed, name, lambda value=value: value)
    loader = dataset.loader(1)
    batches = iter(loader)
    shared = [next(batches)["sample_id"]]
    assert loader.batch_sampler is not None
    assert list(loader.batch_sampler) == [[number] for number in range(len(RUNS))]
    shared += [batch["sample_id"] for batch in batches]
    assert shared == [[RUNS[number]] for number in (1, 3, 5)]
    assert len(loader) == 3


def test_a_state_of_two_ranks_goes_on_with_one(dataset: ZarrStoreDataset) -> None:
    one_rank = points_of(dataset.loader(1, shuffle=True))
    loaders = [dataset.loader(1, shuffle=True, rank=rank, world_size=2) for rank in range(2)]
    for loader in loaders:
        next(iter(loader))
    assert loaders[0].state_dict() == loaders[1].state_dict()
    alone = dataset.loader(1, shuffle=True)
    alone.load_state_dict(loaders[0].state_dict())
    require_same(points_of(alone), one_rank[2:])


def test_repeats_within_an_epoch_are_other_draws(root: Path, dataset: ZarrStoreDataset) -> None:
    loader = dataset.loader(4, weights=[1, 0, 0, 0, 0, 0], num_samples=8)
    for epoch in range(2):
        found = points_of(loader)
        assert [sample_id for sample_id, _ in found] == [RUNS[0]] * 8
        different = {points.numpy().tobytes() for _, points in found}
        assert len(different) == 8
        assert torch.equal(found[0][1], drawn(root, epoch)[RUNS[0]])


def test_repeats_are_the_same_on_any_number_of_workers(dataset: ZarrStoreDataset) -> None:
    weights = [5, 1, 1, 1, 1, 1]
    alone = points_of(dataset.loader(2, weights=weights, num_samples=20))
    helped = dataset.loader(2, weights=weights, num_samples=20, num_workers=3, multiprocessing_context="fork")
    require_same(points_of(helped), alone)


def test_a_weighted_sampler_of_pytorch_is_warned_of(dataset: ZarrStoreDataset) -> None:
    loader = DataLoader(dataset, 2, sampler=WeightedRandomSampler([1.0] + [0.0] * 5, 8), collate_fn=list)
    with pytest.warns(UserWarning, match=AGAIN):
        list(loader)


def test_a_repeat_in_a_sweep_is_a_draw_of_its_own(root: Path) -> None:
    dataset = ZarrStoreDataset(root, **WANTED, schedule="sweep")
    items = [dataset[DrawIndex(0, 3, repeat)]["volume_position"] for repeat in range(3)]
    assert len({points.numpy().tobytes() for points in items}) == 3


def test_the_points_of_a_fixed_dataset_never_change(root: Path) -> None:
    dataset = ZarrStoreDataset(root, **WANTED, fixed=True)
    expected = drawn(root, 0)
    loader = dataset.loader(2, weights=[1] * 6, num_samples=12)
    for epoch in (3, 4):
        dataset.set_epoch(epoch)
        loader.set_epoch(epoch)
        for sample_id, points in points_of(loader):
            assert torch.equal(points, expected[sample_id])
        require_points(points_of(DataLoader(dataset, 2, collate_fn=collate_samples)), expected)
    with pytest.raises(ArgumentError, match="fixed=True: expected a seed"):
        ZarrStoreDataset(root, **WANTED | {"seed": None}, fixed=True)


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_two_trainings_that_one_parent_starts_share_no_epoch(
    root: Path, dataset: ZarrStoreDataset, method: str
) -> None:
    context: Any = multiprocessing.get_context(method)
    found = context.Queue()
    dataset.set_epoch(9)
    processes = [context.Process(target=train, args=(dataset, epoch, found)) for epoch in (10, 20)]
    for process in processes:
        process.start()
    results = dict(found.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(timeout=60)
        assert process.exitcode == 0
    assert dataset.epoch == 9
    for first, passes in results.items():
        for number, content in enumerate(passes):
            expected = drawn(root, first + number)
            assert content == [torch.stack([expected[run] for run in RUNS]).numpy().tobytes()]


def test_a_forked_process_starts_with_the_epoch_of_its_parent(dataset: ZarrStoreDataset) -> None:
    dataset.set_epoch(4)
    child = os.fork()
    if child == 0:
        went_on = dataset.epoch == 4
        dataset.set_epoch(6)
        os._exit(0 if went_on and dataset.epoch == 6 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert dataset.epoch == 4


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # torchdata's own call
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("taken", [1, 3])
def test_the_stateful_loader_of_torchdata_resumes(dataset: ZarrStoreDataset, workers: int, taken: int) -> None:
    def loader() -> Any:
        return StatefulDataLoader(
            dataset,
            2,
            sampler=EpochSampler(dataset, shuffle=True),
            collate_fn=collate_samples,
            num_workers=workers,
            multiprocessing_context="fork" if workers else None,
        )

    undisturbed = loader()
    expected = [points_of(undisturbed) for _ in range(4)]
    first = loader()
    points_of(first)
    if taken == 3:
        points_of(first)
    else:
        batches = iter(first)
        next(batches)
    state = first.state_dict()
    resumed = loader()
    resumed.load_state_dict(state)
    if taken == 1:
        require_same(points_of(resumed), expected[1][2:])
    require_same(points_of(resumed), expected[2])
    require_same(points_of(resumed), expected[3])


def test_a_loader_takes_arguments_of_pytorch_and_refuses_wrong_ones(dataset: ZarrStoreDataset) -> None:
    loader = dataset.loader(4, drop_last=True)
    assert isinstance(loader, StoreLoader)
    assert [len(batch["sample_id"]) for batch in loader] == [4]
    for wrong, message in (
        ({"sampler": [0]}, "sampler: dataset.loader makes its own sampler; use torch"),
        ({"rank": 1}, "expected both or neither, got {'rank': 1, 'world_size': None}"),
        ({"rank": 2, "world_size": 2}, "rank: expected 0 to 1"),
        ({"weights": [1]}, "weights: expected 6 finite numbers"),
        ({"weights": [0] * 6}, "weights: expected 6 finite numbers"),
        ({"num_samples": 0}, "num_samples"),
        ({"batch_size": 0}, "batch_size"),
    ):
        with pytest.raises(ArgumentError, match=message):
            dataset.loader(**wrong)


def test_ranks_need_a_seed_to_agree_on_the_order(root: Path) -> None:
    dataset = ZarrStoreDataset(root, **WANTED | {"seed": None})
    with pytest.raises(ArgumentError, match=r"2 ranks must agree on the order .*; pass seed=0"):
        dataset.loader(2, rank=0, world_size=2)
    torch.manual_seed(1)
    first = [sample_id for sample_id, _ in points_of(dataset.loader(2, shuffle=True))]
    torch.manual_seed(1)
    assert [sample_id for sample_id, _ in points_of(dataset.loader(2, shuffle=True))] == first
