"""Memory that goes to the main process with a batch, and returns to the worker: reused, and never too early."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.datasets import (
    Draw,
    Falloff,
    Item,
    RaggedBatch,
    ZarrStoreDataset,
    collate_samples,
    shared_buffers,
)
from noether.data.zarr_store.reading import ResultDtype
from noether.data.zarr_store.sampling import DrawPlanner
from support.ahmed import RUNS
from support.lanes import few_fast
from support.reading import FIELDS, write_runs

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="memory without a name is a thing of Linux"),
    # Since Python 3.12, a fork of a process with threads warns. These tests check that it works.
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]

WAIT_SECONDS = 60
N_POINTS = 20_000  # of each sample: a batch of one has 80 kB of each number


class Numbers(Dataset[Item]):
    """Items in which all values are the item's number."""

    def __init__(self, n_items: int, make: Callable[[int], Item] | None = None) -> None:
        self._n_items = n_items
        self._make = make or (lambda number: {"x": torch.full((N_POINTS,), float(number))})

    def __len__(self) -> int:
        return self._n_items

    def __getitem__(self, number: int) -> Item:
        return self._make(number)


def batches(
    dataset: Dataset[Item], batch_size: int = 2, collate_fn: Callable[..., Any] = collate_samples, **options: Any
) -> DataLoader[Any]:
    one_worker: dict[str, Any] = {"num_workers": 1, "multiprocessing_context": "fork", "timeout": WAIT_SECONDS}
    return DataLoader(dataset, batch_size, collate_fn=collate_fn, **one_worker | options)


def blocks_of_workers() -> int:
    """Count the blocks that the children of this process have open."""
    return sum(blocks_of(child.pid) for child in multiprocessing.active_children())


def blocks_of(process: int | None) -> int:
    found = 0
    for link in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was just closed
            found += "memfd:noether-batch" in str(link.readlink())
    return found // 2  # Python's mmap has its own descriptor of each block


def test_a_worker_needs_few_blocks_for_a_long_epoch() -> None:
    gc.disable()  # memory that only the garbage collector would release would stay in use
    try:
        seen = [blocks_of_workers() for _ in batches(Numbers(200))]
    finally:
        gc.enable()
    assert 1 <= max(seen) <= 4  # two batches are in the queue, one is here, and one is being filled


def test_batches_that_are_kept_stay_as_they_were() -> None:
    kept = list(batches(Numbers(40)))
    for number, batch in enumerate(kept):
        assert torch.equal(batch["x"], torch.tensor([[2.0 * number], [2.0 * number + 1]]).expand(2, N_POINTS))


def test_a_part_of_a_batch_keeps_its_memory() -> None:
    parts = [batch["x"][1, 5:9].numpy()[::2] for batch in batches(Numbers(40))]
    assert [part.tolist() for part in parts] == [[2.0 * number + 1] * 2 for number in range(20)]


def test_batches_outlive_loader_and_workers() -> None:
    loader = batches(Numbers(4))
    first, second = loader
    del loader
    assert not multiprocessing.active_children()
    assert first["x"][0].unique().item() == 0
    assert second["x"][1].unique().item() == 3


def test_a_forked_process_releases_no_blocks_when_it_ends() -> None:
    loader = iter(batches(Numbers(40)))
    kept = next(loader)
    child = os.fork()
    if not child:
        # Not os._exit: the tensors must be deleted as at the normal end of a program.
        del kept
        gc.collect()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    for _ in loader:
        assert kept["x"][0].unique().item() == 0
        assert kept["x"][1].unique().item() == 1


def test_spare_blocks_are_freed_after_batches_were_kept() -> None:
    loader = iter(batches(Numbers(100)))
    kept = [next(loader) for _ in range(20)]
    assert blocks_of_workers() >= 20
    kept.clear()
    for _ in range(10):
        next(loader)
    assert blocks_of_workers() <= 6


@pytest.mark.parametrize(("spare_bytes", "kept"), [(1 << 20, 3), ((1 << 20) - 1, 1)])
def test_large_blocks_are_not_kept_for_later(spare_bytes: int, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_buffers, "_MAX_SPARE_BYTES", spare_bytes)
    blocks = shared_buffers._Blocks()
    leases = [blocks.lease(1 << 20) for _ in range(5)]
    assert blocks_of(os.getpid()) == 5
    leases.clear()
    leases.append(blocks.lease(1 << 20))
    assert blocks_of(os.getpid()) == kept


def changing_sizes(number: int) -> Item:
    return {"x": torch.full((20_000 + 5_000 * (number % 7),), float(number))}


@pytest.mark.slow
def test_batches_of_changing_sizes_need_few_blocks() -> None:
    seen = []
    for number, batch in enumerate(batches(Numbers(140, changing_sizes))):
        seen.append(blocks_of_workers())
        offsets = batch["offsets"]["x"]
        for i in range(2):
            assert batch["x"][offsets[i] : offsets[i + 1]].unique().tolist() == [2.0 * number + i]
    assert max(seen) <= 6


def one_of_each_kind(number: int) -> Item:
    values = torch.arange(24_000.0) + number
    return {
        "plain": values,
        "twice": values,
        "part": values[3:20_003],
        "transposed": values.reshape(4, -1).T,
        "every second": values[::2],
        "repeated": values[:1].expand(20_000),
        "float16": values.half(),
        "bfloat16": values.bfloat16(),
        "int64": values.long(),
        "bool": values > 12_000,
        "complex": torch.complex(values, -values),
        "conjugate": torch.complex(values, -values).conj(),
        "negative": torch.complex(values, -values).conj().imag,
        "of one value": values[:1].conj(),
        "scalar": torch.tensor(float(number)),
        "empty": torch.empty(0, 3),
        "small": torch.arange(7, dtype=torch.uint8),
        "ragged": torch.full((20_000 + number, 2), float(number)),
        "mixed": values if number % 2 else values.double(),
        "list": [number, "two"],
        "sample_id": f"run_{number}",
        "attributes": {"speed": values[:3], "name": "a", "long": values},
        "nested": {"values": values},
    }


def of_odd_sizes(number: int) -> Item:
    wide = torch.arange(70_001 + 2 * number) + number
    return {"bytes": wide.byte(), "doubles": wide.double(), "more bytes": wide.byte() + 1, "halves": wide.half()}


@pytest.mark.parametrize("make", [one_of_each_kind, of_odd_sizes])
@pytest.mark.parametrize("batch_size", few_fast([3, 1]))
def test_any_values_of_a_batch_arrive_unchanged(make: Callable[[int], Item], batch_size: int) -> None:
    dataset = Numbers(6, make)
    sent, alone = batches(dataset, batch_size), batches(dataset, batch_size, num_workers=0, **no_worker())
    for batch, expected in zip(sent, alone, strict=True):
        assert type(batch) is (RaggedBatch if "offsets" in batch else dict)
        require_same(batch, expected)


def no_worker() -> dict[str, Any]:
    return {"multiprocessing_context": None, "timeout": 0}


def require_same(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            require_same(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            require_same(one, other)
    elif isinstance(expected, torch.Tensor):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert torch.equal(found, expected)
    else:
        assert found == expected


def test_tensors_of_a_batch_share_no_memory_with_each_other() -> None:
    for batch in batches(Numbers(6, one_of_each_kind), batch_size=1):
        before = batch["plain"].clone()
        for name in ("twice", "part", "ragged"):
            batch[name].zero_()
        assert torch.equal(batch["plain"], before)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("recycled") / "store", *RUNS, chunk_points=256)


def with_a_copy(item: Item) -> Item:
    """Return the same tensor under two names, as a transform may do."""
    return item | {"copy": item["volume_position"]}


def as_conjugates(item: Item) -> Item:
    """Return a view of the memory whose bytes are not its values, such as a conjugate."""
    return item | {"volume_position": torch.view_as_complex(item["volume_position"].view(-1, 2)).conj()}


MORE_DRAWS = {"geometry": Draw("surface", 700), "query": Draw("volume", 600, disjoint=True)}


WEIGHTED_DRAWS = {
    "near": Draw("volume", 1501, weight=Falloff("volume_sdf", 0.02), with_inverse=True),
    "query": Draw("volume", 600, disjoint=True, weight="volume_sdf"),
}


@pytest.mark.parametrize(
    "draws", [None, MORE_DRAWS, WEIGHTED_DRAWS], ids=["main draws", "more draws", "weighted draws"]
)
@pytest.mark.parametrize("transform", few_fast([None, with_a_copy, as_conjugates]))
def test_draws_arrive_unchanged_without_sharing_memory(
    root: Path, transform: Callable[[Item], Item] | None, draws: dict[str, Draw] | None
) -> None:
    wanted: dict[str, Any] = {"num_points": {"surface": None, "volume": 9000}, "draws": draws, "transform": transform}
    sent = batches(ZarrStoreDataset(root, **wanted), 3)
    alone = batches(ZarrStoreDataset(root, **wanted), 3, num_workers=0, **no_worker())
    for batch, expected in zip(sent, alone, strict=True):
        require_same(batch, expected)
        addresses = sorted((value.data_ptr(), value.nbytes) for value in tensors(batch))
        for (start, n_bytes), (next_start, _) in pairwise(addresses):
            assert start + n_bytes <= next_start


@pytest.mark.parametrize("num_points", [{"surface": None, "volume": 9000}, None], ids=["stacked", "concatenated"])
def test_draws_of_a_batch_are_joined_where_they_were_read_into(
    root: Path, num_points: dict[str, int | None] | None
) -> None:
    def addresses(items: list[Item]) -> list[tuple[str, bool]]:
        batch = collate_samples(items)
        return [(name, batch[name].data_ptr() == items[0][name].data_ptr()) for name in names]

    names = ["volume_position", "volume_velocity", "surface_position"]
    dataset = ZarrStoreDataset(root, num_points=num_points, fields=names)
    for found in batches(dataset, 3, addresses):
        assert found == [(name, True) for name in names]


def test_weighted_draws_are_joined_without_a_copy(root: Path) -> None:
    """All fields are contiguous, without candidates between them."""

    def addresses(items: list[Item]) -> Item:
        batch = collate_samples(items)
        found = {name: value for name, value in batch.items() if isinstance(value, torch.Tensor)}
        ends = [value.data_ptr() + value.nbytes for value in found.values()]
        span = max(ends) - min(value.data_ptr() for value in found.values())
        copied = [name for name in found if found[name].data_ptr() != items[0][name].data_ptr()]
        has_gaps = span > sum(value.nbytes + 64 for value in found.values())
        return {"n_tensors": len(found), "copied": copied, "has_gaps": has_gaps}

    num_points, fields = {"volume": 5000, "surface": 1900}, ["volume_position", "surface_position"]
    dataset = ZarrStoreDataset(root, num_points=num_points, fields=fields, draws=WEIGHTED_DRAWS)
    for found in batches(dataset, 3, addresses):
        assert found == {"n_tensors": 13, "copied": [], "has_gaps": False}


class DrawsOfDtypes(Dataset[Item]):
    """Main draws with some fields that are not float32."""

    def __init__(self, root: Path, num_points: dict[str, int] | None, dtype: ResultDtype) -> None:
        self._reader = ZarrChunkReader(root)
        self._planner = DrawPlanner(self._reader.manifest.domains, num_points)
        self._dtype = dtype

    def __len__(self) -> int:
        return len(RUNS)

    def __getitems__(self, indices: list[int]) -> list[Item]:
        runs = [RUNS[index] for index in indices]
        planned = [[one.planned for one in self._planner.plan(run, self._reader.entry(run), 0)] for run in runs]
        read = self._reader.read_planned(planned, shared_buffers.allocate, self._dtype)
        return [{name: torch.from_numpy(one[name]) for one in arrays for name in one} for arrays in read]


@pytest.mark.parametrize("num_points", few_fast([{"volume": 9001, "surface": 333}, None]))
def test_draws_in_float64_are_sent_without_a_copy(root: Path, num_points: dict[str, int] | None) -> None:
    """float32 and float64 are in one block, with sizes that are not a multiple of eight bytes."""

    def with_addresses(items: list[Item]) -> Item:
        batch = collate_samples(items)
        batch["is_joined"] = [name for name in names if batch[name].data_ptr() == items[0][name].data_ptr()]
        batch["is_aligned"] = [name for name in names if batch[name].data_ptr() % batch[name].element_size() == 0]
        return batch

    names = [*FIELDS["surface"], *FIELDS["volume"]]
    dataset = DrawsOfDtypes(root, num_points, {"volume_position": "float64", "surface_pressure": "float64"})
    sent, alone = batches(dataset, 3, with_addresses), batches(dataset, 3, num_workers=0, **no_worker())
    n_blocks = []
    for batch, expected in zip(sent, alone, strict=True):
        n_blocks.append(blocks_of_workers())
        assert sorted(batch.pop("is_joined")) == sorted(batch.pop("is_aligned")) == sorted(names)
        require_same(batch, expected)
        for name in names:
            is_double = name in ("volume_position", "surface_pressure")
            assert batch[name].dtype == (torch.float64 if is_double else torch.float32)
            assert batch[name].data_ptr() % batch[name].element_size() == 0
    assert max(n_blocks) >= 1


def tensors(batch: Item) -> Iterator[torch.Tensor]:
    return (value for value in batch.values() if isinstance(value, torch.Tensor))


def test_a_batch_in_a_pickle_file_has_its_values() -> None:
    def pickled(items: list[Item]) -> bytes:
        return pickle.dumps(collate_samples(items))

    kept = list(batches(Numbers(4), collate_fn=pickled))
    assert [pickle.loads(one)["x"][:, -1].tolist() for one in kept] == [[0, 1], [2, 3]]


def more(items: list[Item]) -> Item:
    """Add tensors whose bytes are not their values, in recycled memory and in other memory."""
    batch = collate_samples(items)
    pairs = torch.view_as_complex(batch["x"].view(2, -1, 2))
    small = torch.view_as_complex(torch.tensor([1.0, 2.0]))
    return batch | {
        "mean": batch["x"].mean(1),
        "half": batch["x"] / 2,
        "transposed": batch["x"].T,
        "conjugate": pairs.conj(),
        "negative": pairs.conj().imag[:, :1],
        "small conjugate": small.conj(),
        "small negative": small.conj().imag,
    }


def test_what_a_collate_function_adds_is_sent_too() -> None:
    def in_place(items: list[Item]) -> Item:
        batch = collate_samples(items)
        batch.update(more(items))
        return batch

    dataset = Numbers(8)
    sent, alone = batches(dataset, 2, in_place), batches(dataset, 2, more, num_workers=0, **no_worker())
    for batch, expected in zip(sent, alone, strict=True):
        require_same(batch, expected)


def test_a_batch_rebuilt_from_another_batch_is_sent() -> None:
    def other(items: list[Item]) -> Item:
        return {"y": collate_samples(items)["x"]}

    kept = list(batches(Numbers(40), collate_fn=other))
    assert [batch["y"][:, 0].tolist() for batch in kept] == [[2.0 * number, 2.0 * number + 1] for number in range(20)]


def test_a_batch_sent_twice_lives_as_long_as_either_copy() -> None:
    class Repeated(Dataset[Any]):
        """Finished batches, which are not collated; the first two are the same object."""

        def __len__(self) -> int:
            return 20

        def __getitem__(self, number: int) -> Item:
            batch = collate_samples([{"x": torch.full((N_POINTS,), float(number))}])
            if number == 0:
                self.first = batch
            return self.__dict__.pop("first") if number == 1 else batch

    loader = iter(DataLoader(Repeated(), None, num_workers=1, multiprocessing_context="fork", timeout=WAIT_SECONDS))
    next(loader)
    kept = next(loader)
    for number, batch in enumerate(loader, 2):
        assert batch["x"].unique().tolist() == [number]
        assert kept["x"].unique().tolist() == [0]


def forbidden(*_: object) -> NoReturn:
    raise PermissionError


# Operations that sandboxes forbid: to create anonymous memory, and to inspect other processes.
@pytest.mark.parametrize("forbid", ["os.memfd_create", "pathlib.Path.iterdir"])
def test_batches_come_as_pytorch_sends_them_where_memory_cannot_be_opened(
    forbid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The main process cannot open the memory of a worker here."""
    loader = batches(Numbers(6), worker_init_fn=lambda _: monkeypatch.setattr(forbid, forbidden))
    for number, batch in enumerate(loader):
        assert blocks_of_workers() == 0
        assert batch["x"][:, 0].tolist() == [2.0 * number, 2.0 * number + 1]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("n_bytes", few_fast([1 << 62, 1 << 55, 1 << 70]))
def test_more_memory_than_exists_is_refused(n_bytes: int, workers: int) -> None:
    def ask(number: int) -> Item:
        with pytest.raises(MemoryError):
            shared_buffers.allocate([number, n_bytes])
        return {"refused": torch.ones(1)}

    options = {} if workers else no_worker()
    [batch] = batches(Numbers(1, ask), num_workers=workers, **options)
    assert batch["refused"].item() == 1
