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

_END = object()


class StoreLoader(DataLoader[Any]):
    """The loader that `ZarrStoreDataset.loader` makes: every pass is an epoch of its own.

    Parameters
    ----------
    dataset : Dataset
        Of the samples.
    follows_group : bool
        Whether it shares the samples with the processes of `torch.distributed` when it is iterated. A framework that
        makes a loader of its own from the parts of this one shards by itself, and so gets all samples here.
    **options
        All else that `torch.utils.data.DataLoader` takes.

    Notes
    -----
    To predict, Lightning makes another loader from the parameters of this one, or from attributes of the same names.
    """

    # The pass that is handed out, and its batches so far.
    _pass = 0
    _n_batches = 0

    def __init__(self, dataset: Dataset[Any], *, follows_group: bool = False, **options: Any) -> None:
        super().__init__(dataset, **options)
        self.follows_group = follows_group

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # DataLoader promises an iterator of its own
        """Begin the next epoch, or go on where a state was loaded."""
        sampler = self._epoch_sampler()
        if sampler is None:
            yield from super().__iter__()
            return
        # The order of the pass is made with its first batch. The sampler is not shared out for longer than that takes:
        # who makes a loader from the parts of this one shards by itself.
        whole = sampler.rank, sampler.num_replicas
        sampler.shard(*self._ranks(sampler))
        try:
            batches = super().__iter__()
            batch = next(batches, _END)
        finally:
            sampler.shard(*whole)
        # Whoever sets the epoch from now on means the next pass.
        this_pass, n_batches = sampler.n_passes, 0
        self._pass, self._n_batches = this_pass, 0
        while batch is not _END:
            n_batches += 1
            if self._pass == this_pass:
                self._n_batches = n_batches
            yield batch
            batch = next(batches, _END)

    def __len__(self) -> int:
        """Return the batches of an epoch that this process gets."""
        sampler, batch_size = self._epoch_sampler(), self._batch_size()
        if sampler is None or batch_size is None:
            return super().__len__()
        n_samples = sampler.samples_of_rank(self._ranks(sampler)[1])
        return n_samples // batch_size if self._drops_last() else -(-n_samples // batch_size)

    @property
    def epoch(self) -> int:
        """The epoch of the pass that began last, or of the next one where none has."""
        return self._require_epochs().epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass; those that follow are counted from it on."""
        self._require_epochs().set_epoch(epoch)

    def state_dict(self) -> dict[str, int]:
        """Return where the loader stands, for `load_state_dict`: behind the last batch that it has handed out."""
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
        """Go on where a state was taken: with the batches that remained of its epoch, then with the next epoch.

        Raises
        ------
        ArgumentError
            It is no state of a loader of this seed over as many samples.
        """
        self._require_epochs().load_state_dict(state)

    def _epoch_sampler(self) -> EpochSampler | None:
        """Return the sampler that counts epochs; None where a framework has put another into its place."""
        # Of a loader that was made with a batch sampler, `sampler` is another one, which nothing uses.
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
    return StoreLoader(
        dataset,
        follows_group=not given,
        batch_size=positive_int(batch_size, "batch_size"),
        sampler=sampler,
        num_workers=num_workers,
        **{**defaults, **options},
    )
