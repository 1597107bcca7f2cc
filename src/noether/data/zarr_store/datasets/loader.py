"""A `DataLoader` that counts epochs, and can save and load its state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import distributed
from torch.utils.data import DataLoader, Dataset

from noether.data.zarr_store.core import positive_int
from noether.data.zarr_store.datasets.collation import collate_samples
from noether.data.zarr_store.datasets.epoch_sampler import EpochSampler
from noether.data.zarr_store.errors import ArgumentError

__all__ = ["StoreLoader", "make_loader"]

_END = object()


class StoreLoader(DataLoader[Any]):
    """The loader that `ZarrStoreDataset.loader` returns: every pass is a new epoch.

    Parameters
    ----------
    dataset : Dataset
        Dataset of the samples.
    follows_group : bool
        Whether an iteration divides the samples among the processes of `torch.distributed`. A framework can make its
        own loader from the dataset and sampler of this loader. Such a framework divides the samples itself, so the
        sampler that it gets still has all samples.
    **options
        All other parameters of `torch.utils.data.DataLoader`.

    Notes
    -----
    For predictions, Lightning makes another loader from the parameters of this one, or from attributes of the same
    names.
    """

    # The pass that is in progress, and the number of batches that it has returned.
    _pass = 0
    _n_batches = 0

    def __init__(self, dataset: Dataset[Any], *, follows_group: bool = False, **options: Any) -> None:
        super().__init__(dataset, **options)
        self.follows_group = follows_group

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # DataLoader declares its own class of iterators
        """Begin the next epoch, or continue from a loaded state."""
        sampler = self._epoch_sampler()
        if sampler is None:
            yield from super().__iter__()
            return
        # The first batch fixes the order of the pass. The sampler is sharded only until then: a framework that makes
        # its own loader from this sampler shards it itself.
        whole = sampler.rank, sampler.num_replicas
        sampler.shard(*self._ranks(sampler))
        try:
            batches = super().__iter__()
            batch = next(batches, _END)
        finally:
            sampler.shard(*whole)
        # From here on, set_epoch applies to the next pass.
        this_pass, n_batches = sampler.n_passes, 0
        self._pass, self._n_batches = this_pass, 0
        while batch is not _END:
            n_batches += 1
            if self._pass == this_pass:
                self._n_batches = n_batches
            yield batch
            batch = next(batches, _END)

    def __len__(self) -> int:
        """Return the number of batches that this process gets in an epoch."""
        sampler, batch_size = self._epoch_sampler(), self._batch_size()
        if sampler is None or batch_size is None:
            return super().__len__()
        n_samples = sampler.samples_of_rank(self._ranks(sampler)[1])
        return n_samples // batch_size if self._drops_last() else -(-n_samples // batch_size)

    @property
    def epoch(self) -> int:
        """Epoch of the pass that began last; before the first pass, epoch of the next pass."""
        return self._require_epochs().epoch

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next pass. Later passes are counted from it on."""
        self._require_epochs().set_epoch(epoch)

    def state_dict(self) -> dict[str, int]:
        """Return the state after the last batch that the loader has returned, for `load_state_dict`."""
        sampler, batch_size = self._require_epochs(), self._batch_size()
        if self._pass != sampler.n_passes or batch_size is None:
            return sampler.state_dict()
        n_ranks = self._ranks(sampler)[1]
        n_samples = sampler.samples_of_rank(n_ranks)
        handed_out = min(sampler.first // n_ranks + self._n_batches * batch_size, n_samples)
        if self._drops_last() and n_samples - handed_out < batch_size:
            handed_out = n_samples
        return sampler.state_after(handed_out * n_ranks)

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue from a state: with the remaining batches of its epoch, then with the next epoch.

        Raises
        ------
        ArgumentError
            `state` is not the state of a loader with this seed and this number of samples.
        """
        self._require_epochs().load_state_dict(state)

    def _epoch_sampler(self) -> EpochSampler | None:
        """Return the sampler that counts epochs; None if a framework has replaced it."""
        # In a loader with a batch sampler, `sampler` is another sampler, which is not used.
        sampler = self.sampler if self.batch_sampler is None else getattr(self.batch_sampler, "sampler", None)
        return sampler if isinstance(sampler, EpochSampler) else None

    def _batch_size(self) -> int | None:
        return getattr(self.batch_sampler, "batch_size", self.batch_size)

    def _drops_last(self) -> bool:
        return getattr(self.batch_sampler, "drop_last", self.drop_last)

    def _require_epochs(self) -> EpochSampler:
        sampler = self._epoch_sampler()
        if sampler is None:
            raise ArgumentError(
                f"loader: expected an EpochSampler, got a {type(self.sampler).__name__}, which counts no epochs; "
                "configure the framework to keep the sampler"
            )
        return sampler

    def _ranks(self, sampler: EpochSampler) -> tuple[int, int]:
        if self.follows_group and distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank(), distributed.get_world_size()
        return sampler.rank, sampler.num_replicas


def make_loader(
    dataset: Dataset[Any],
    batch_size: int,
    shares: Mapping[str, int | None],
    *,
    num_workers: int,
    shuffle: bool,
    weights: Sequence[float] | None,
    num_samples: int | None,
    **options: Any,
) -> StoreLoader:
    """Return the loader of a dataset; parameters and errors are those of `ZarrStoreDataset.loader`."""
    for name in options.keys() & {"sampler", "batch_sampler"}:
        raise ArgumentError(
            f"{name}: dataset.loader makes its own sampler; use torch.utils.data.DataLoader for another sampler"
        )
    given = {name: number for name, number in shares.items() if number is not None}
    if len(given) == 1:
        raise ArgumentError(f"rank, world_size: expected both or neither, got {dict(shares)}")
    sampler = EpochSampler(dataset, shuffle=shuffle, weights=weights, num_samples=num_samples, **given)  # type: ignore[arg-type]
    defaults = {"collate_fn": collate_samples, "persistent_workers": num_workers > 0}
    return StoreLoader(
        dataset,
        follows_group=not given,
        batch_size=positive_int(batch_size, "batch_size"),
        sampler=sampler,
        num_workers=num_workers,
        **{**defaults, **options},
    )
