"""A `DataLoader` that counts epochs, and knows where it stands."""

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


class StoreLoader(DataLoader[Any]):
    """The loader that `ZarrStoreDataset.loader` makes: every pass is an epoch of its own.

    Attributes
    ----------
    follows_group : bool
        Whether it shares the samples with the processes of `torch.distributed` when it is iterated. A framework that
        makes a loader of its own from the parts of this one shards by itself, and so gets all samples here.
    """

    follows_group: bool = False
    # The pass that is handed out, and its batches so far.
    _pass = 0
    _n_batches = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # DataLoader promises an iterator of its own
        """Begin the next epoch, or go on where a state was loaded."""
        sampler = self._epoch_sampler()
        if sampler is None:
            yield from super().__iter__()
            return
        # Only for this pass: who makes a loader from the parts of this one shards by itself.
        whole = sampler.rank, sampler.num_replicas
        sampler.shard(*self._ranks(sampler))
        try:
            for number, batch in enumerate(super().__iter__(), start=1):
                if number == 1:  # whoever sets the epoch later means the next pass
                    self._pass = sampler.n_passes
                self._n_batches = number
                yield batch
        finally:
            sampler.shard(*whole)

    def __len__(self) -> int:
        """Return the batches of an epoch that this process gets."""
        sampler = self._epoch_sampler()
        if sampler is None or self.batch_size is None:
            return super().__len__()
        n_samples = sampler.samples_of_rank(self._ranks(sampler)[1])
        return n_samples // self.batch_size if self.drop_last else -(-n_samples // self.batch_size)

    @property
    def epoch(self) -> int:
        """The epoch of the pass that began last, or of the next one where none has."""
        return self._require_epochs().epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass; those that follow are counted from it on."""
        self._require_epochs().set_epoch(epoch)

    def state_dict(self) -> dict[str, int]:
        """Return where the loader stands, for `load_state_dict`: behind the last batch that it has handed out."""
        sampler = self._require_epochs()
        if self._pass != sampler.n_passes or self.batch_size is None:
            return sampler.state_dict()
        n_ranks = self._ranks(sampler)[1]
        n_samples = sampler.samples_of_rank(n_ranks)
        handed_out = min(sampler.first // n_ranks + self._n_batches * self.batch_size, n_samples)
        if self.drop_last and n_samples - handed_out < self.batch_size:
            handed_out = n_samples
        return sampler.state_after(handed_out * n_ranks)

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on where a state was taken: with the batches that remained of its epoch, then with the next epoch.

        Raises
        ------
        ArgumentError
            It is no state of a loader of this seed over as many samples.
        """
        self._require_epochs().load_state_dict(state)

    def _epoch_sampler(self) -> EpochSampler | None:
        """Return the sampler that counts epochs; None where a framework has put another into its place."""
        return self.sampler if isinstance(self.sampler, EpochSampler) else None

    def _require_epochs(self) -> EpochSampler:
        sampler = self._epoch_sampler()
        if sampler is None:
            raise ArgumentError(
                f"loader: its sampler was replaced by a {type(self.sampler).__name__}, which counts no epochs; let the "
                "framework leave the sampler as it is"
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
        raise ArgumentError(f"{name}: a loader of a dataset has its own; take torch.utils.data.DataLoader for others")
    given = {name: number for name, number in shares.items() if number is not None}
    if len(given) == 1:
        raise ArgumentError(f"rank, world_size: expected both or neither, got {dict(shares)}")
    sampler = EpochSampler(dataset, shuffle=shuffle, weights=weights, num_samples=num_samples, **given)  # type: ignore[arg-type]
    defaults = {"collate_fn": collate_samples, "persistent_workers": num_workers > 0}
    loader = StoreLoader(
        dataset,
        positive_int(batch_size, "batch_size"),
        sampler=sampler,
        num_workers=num_workers,
        **{**defaults, **options},
    )
    loader.follows_group = not given
    return loader
