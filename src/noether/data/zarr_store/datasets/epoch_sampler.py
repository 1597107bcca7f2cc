"""A sampler that counts epochs, and passes the epoch on with each index."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence, Sized
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed
from torch.utils.data import DistributedSampler

from noether.data.zarr_store.core import positive_int, whole_number
from noether.data.zarr_store.datasets.draw_index import DrawIndex
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.sampling import random_stream

__all__ = ["EpochSampler"]


@runtime_checkable
class _HasEpoch(Protocol):
    """A dataset that has its own epoch, for samplers that carry no epoch."""

    @property
    def seed(self) -> int | None: ...
    @property
    def epoch(self) -> int: ...
    @property
    def n_epochs_set(self) -> int: ...
    @property
    def depends_on_epoch(self) -> bool: ...


class EpochSampler(DistributedSampler[Any]):
    """Yields the indices of a dataset, each with the epoch and the repeat of its draw.

    Each pass is a new epoch, which the sampler counts: a loop that knows nothing of epochs gets new points in each
    pass. The order depends on seed and epoch only, so all ranks agree on it.

    Parameters
    ----------
    data_source : sized
        A `ZarrStoreDataset`, or a `torch.utils.data.ConcatDataset` of several.
    shuffle : bool
        Whether the samples of an epoch come in random order.
    weights : sequence of float, optional
        Weights of the samples. Samples are drawn with replacement, each with a probability proportional to its weight.
        A sample that comes again within an epoch has other points.
    num_samples : int, optional
        Number of samples of an epoch, over all ranks; by default the number of samples of the dataset.
    seed : int, optional
        Seed of the order; by default the seed of the dataset.
    rank, world_size : int
        Number of this process, and number of processes. The processes divide the samples of an epoch. If the number of
        samples is not a multiple of `world_size`, the first samples come twice.
    drop_last : bool
        Whether to drop the last samples in this case, instead of repeating the first samples.

    Attributes
    ----------
    epoch : int
        Epoch of the pass that began last; before the first pass, epoch of the next pass.
    n_passes : int
        A counter that changes with every pass that begins, and with every change of the epoch.
    first : int
        Number of samples, over all ranks, that the last pass left out at its beginning, because the loaded state
        already contained them.

    Raises
    ------
    ArgumentError
        A parameter is out of its range, or there are several ranks and no seed.

    Notes
    -----
    The class is a `DistributedSampler`, because frameworks that shard samplers leave a `DistributedSampler` unchanged.
    """

    def __init__(
        self,
        data_source: Sized,
        *,
        shuffle: bool = False,
        weights: Sequence[float] | None = None,
        num_samples: int | None = None,
        seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
    ) -> None:
        self._source = data_source
        self._weights = None if weights is None else _checked_weights(weights, len(data_source))
        self._pass_samples = None if num_samples is None else positive_int(num_samples, "num_samples")
        if seed is None and isinstance(data_source, _HasEpoch):
            seed = data_source.seed
        self._is_seeded = seed is not None
        # As in `DataLoader`: without a seed, the order depends on torch.manual_seed.
        order_seed = int(torch.empty((), dtype=torch.int64).random_()) if seed is None else whole_number(seed, "seed")
        super().__init__(data_source, 1, 0, shuffle, order_seed, drop_last)  # type: ignore[arg-type]  # sized is enough
        self.n_passes, self.first = 0, 0
        self._given = 0
        self._has_begun = False
        self._loaded: tuple[int, int] | None = None
        self._epochs_begun: set[int] = set()
        self._warns_of_repeats = data_source.depends_on_epoch if isinstance(data_source, _HasEpoch) else True
        self._n_epochs_seen = data_source.n_epochs_set if isinstance(data_source, _HasEpoch) else 0
        self.shard(rank, world_size)

    def shard(self, rank: int, world_size: int) -> None:
        """Set the share of this process from the next pass on; parameters are those of the constructor."""
        n_ranks = positive_int(world_size, "world_size")
        if not 0 <= whole_number(rank, "rank") < n_ranks:
            raise ArgumentError(f"rank: expected 0 to {n_ranks - 1}, since world_size is {n_ranks}, got {rank}")
        if not self._is_seeded:
            _require_one_rank(n_ranks)
        self.rank, self.num_replicas = int(rank), n_ranks
        self.num_samples = len(self)
        self.total_size = self.num_samples * n_ranks

    def __len__(self) -> int:
        """Return the number of samples that this rank gets in an epoch."""
        return self.samples_of_rank(self.num_replicas)

    def samples_of_rank(self, world_size: int) -> int:
        """Return the number of samples that each of `world_size` ranks gets in an epoch."""
        n_samples = self._samples_of_pass()
        return n_samples // world_size if self.drop_last else -(-n_samples // world_size)

    def __iter__(self) -> Iterator[DrawIndex]:
        """Return the next pass, which begins when its first index is requested."""
        return _Pass(self)

    def begin_pass(self) -> Iterator[DrawIndex]:
        """Begin the next epoch, and yield its indices."""
        epoch, first, n_ranks = self._begin(), self.first, self.num_replicas
        this_pass = self.n_passes
        indices, repeats = self._order(epoch)
        for number in range(first // n_ranks, len(indices)):
            if this_pass == self.n_passes:
                self._given = (number + 1) * n_ranks
            yield DrawIndex(indices[number], epoch, repeats[number])

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next pass. Later passes are counted from it on.

        If a state of this epoch was loaded, the samples that the state already had stay left out.
        """
        wanted = whole_number(epoch, "epoch")
        loaded = self._loaded
        given = loaded[1] if loaded is not None and loaded[0] == wanted else 0
        self._move_to(wanted, given)

    def state_dict(self) -> dict[str, int]:
        """Return the state after the last index that the sampler has yielded, for `load_state_dict`."""
        return self.state_after(self._given)

    def state_after(self, n_given: int) -> dict[str, int]:
        """Return the state after all ranks together got `n_given` samples of the epoch."""
        return {"epoch": self.epoch, "samples": n_given, "seed": self.seed, "of": len(self._source)}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue from a state, also with another number of ranks. All ranks load the state of one rank.

        Raises
        ------
        ArgumentError
            `state` is not the state of a sampler with this seed and this number of samples.
        """
        here = self.state_after(0)
        if state.keys() != here.keys():
            raise ArgumentError(
                f"state: expected a mapping with the keys {', '.join(here)}, got {state!r}; pass a result of state_dict"
            )
        for key, title in (("seed", "seed"), ("of", "number of samples")):
            if state[key] != here[key] and (self._is_seeded or key == "of"):
                raise ArgumentError(
                    f"state: expected the state of a sampler with {title} {here[key]}, got {title} {state[key]}, which "
                    "would continue with other draws; make the dataset with its former parameters"
                )
        self.seed = state["seed"]
        epoch, given = (
            whole_number(state["epoch"], "state['epoch']"),
            whole_number(state["samples"], "state['samples']"),
        )
        self._loaded = (epoch + 1, 0) if self.is_over(state) else (epoch, given)
        self._move_to(*self._loaded)

    def is_over(self, state: Mapping[str, int]) -> bool:
        """Return whether a state has all samples of its epoch."""
        return state["samples"] >= len(self) * self.num_replicas

    def _move_to(self, epoch: int, n_given: int) -> None:
        self.epoch, self._given, self._has_begun = epoch, n_given, False
        self.n_passes += 1  # existing iterators no longer change the state

    def _begin(self) -> int:
        """Begin a pass, and return its epoch."""
        if self._has_begun:
            self.epoch, self._given = self.epoch + 1, 0
        self._warn_of_other_epochs()
        self._epochs_begun.add(self.epoch)
        self._has_begun, self._loaded = True, None
        self.n_passes += 1
        self.first = self._given
        return self.epoch

    def _warn_of_other_epochs(self) -> None:
        """Warn if this pass repeats an epoch, or if another epoch was set on the dataset."""
        if self._loaded is None and self.epoch in self._epochs_begun and self._warns_of_repeats:
            self._warns_of_repeats = False
            warnings.warn(
                f"epoch {self.epoch} begins again, so its draws repeat: set_epoch({self.epoch}) was called twice, as "
                "Accelerate does after a pass that ended with break. Call set_epoch with the number of the pass before "
                "each pass. If points should never change, use ZarrStoreDataset(..., fixed=True)",
                stacklevel=3,
            )
        if self._loaded is not None and self.epoch < self._loaded[0]:
            warnings.warn(
                f"epoch {self.epoch} begins, but a state of epoch {self._loaded[0]} was loaded, so draws repeat. After "
                f"loading, call set_epoch({self._loaded[0]}) on the loader, also on the loader of a framework",
                stacklevel=3,
            )
        if isinstance(self._source, _HasEpoch) and self._source.n_epochs_set != self._n_epochs_seen:
            self._n_epochs_seen = self._source.n_epochs_set
            if self._source.epoch != self.epoch:
                warnings.warn(
                    f"set_epoch({self._source.epoch}) was called on the dataset, but its sampler, which counts epochs, "
                    f"begins epoch {self.epoch}; call set_epoch of the loader or of the sampler instead",
                    stacklevel=3,
                )

    def _samples_of_pass(self) -> int:
        return len(self.dataset) if self._pass_samples is None else self._pass_samples  # type: ignore[arg-type]

    def _order(self, epoch: int) -> tuple[list[int], list[int]]:
        """Return the indices of this rank in an epoch, and the number of times that each came before on any rank."""
        n_samples, there = self._samples_of_pass(), len(self._source)
        if not self._is_seeded and distributed.is_available() and distributed.is_initialized():
            _require_one_rank(distributed.get_world_size())
        generator = torch.Generator().manual_seed(random_stream(self.seed, "order", epoch).getrandbits(63))
        if self._weights is not None:
            order = torch.multinomial(self._weights, n_samples, replacement=True, generator=generator).numpy()
        elif self.shuffle:
            rounds = [torch.randperm(there, generator=generator).numpy() for _ in range(-(-n_samples // there))]
            order = np.concatenate(rounds)[:n_samples]
        else:
            order = np.arange(n_samples) % there
        order = np.resize(order, len(self) * self.num_replicas)  # shortened, or extended with the first indices
        mine = slice(self.rank, None, self.num_replicas)
        return order[mine].tolist(), _count_earlier(order)[mine].tolist()


class _Pass(Iterator[DrawIndex]):
    """One pass over a sampler. Loaders make passes that they discard, so a pass begins with its first index.

    torchdata's `StatefulDataLoader` saves and loads the state of the pass in addition to the state of the sampler.
    """

    def __init__(self, sampler: EpochSampler) -> None:
        self._sampler = sampler
        self._indices: Iterator[DrawIndex] | None = None

    def __next__(self) -> DrawIndex:
        if self._indices is None:
            self._indices = self._sampler.begin_pass()
        return next(self._indices)

    def state_dict(self) -> dict[str, int]:
        return self._sampler.state_dict()

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue with the sampler, which has loaded the same state. A finished pass does not begin again."""
        if self._sampler.is_over(state):
            self._indices = iter(())


def _require_one_rank(world_size: int) -> None:
    """Raise `ArgumentError` for several ranks: without a seed, each would have its own order."""
    if world_size > 1:
        raise ArgumentError(f"seed: {world_size} ranks must agree on the order of the samples; pass seed=0")


def _checked_weights(weights: Sequence[float], n_samples: int) -> torch.Tensor:
    checked = torch.as_tensor(weights, dtype=torch.float64)
    if checked.shape != (n_samples,) or not (torch.isfinite(checked) & (checked >= 0)).all() or not checked.sum() > 0:
        raise ArgumentError(
            f"weights: expected {n_samples} finite numbers of at least 0, not all of them 0, one for each sample, got "
            f"{weights!r}"
        )
    return checked


def _count_earlier(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return, for each value, the number of times that it came before."""
    by_value = np.argsort(order, kind="stable")
    first = np.searchsorted(order[by_value], order)
    place = np.empty_like(order)
    place[by_value] = np.arange(len(order))
    return place - first
