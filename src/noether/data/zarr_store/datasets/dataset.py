"""A store as a map-style PyTorch dataset."""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import DTypeLike
from torch.utils.data import Dataset, get_worker_info

from noether.data.zarr_store.core import whole_number
from noether.data.zarr_store.datasets.draw_index import DrawIndex
from noether.data.zarr_store.datasets.item_generator import item_randomness
from noether.data.zarr_store.datasets.items import Item, complete, read_items
from noether.data.zarr_store.datasets.loader import StoreLoader, make_loader
from noether.data.zarr_store.datasets.parent_watch import end_with_main_process
from noether.data.zarr_store.datasets.precision import NarrowPositions
from noether.data.zarr_store.datasets.shared_epoch import SharedEpoch
from noether.data.zarr_store.datasets.sharing import SharedPickle
from noether.data.zarr_store.datasets.skipping import UNREADABLE, OnError, Skipped, check_on_error, read_or_next
from noether.data.zarr_store.errors import ArgumentError, UnknownNameError, nearest_names
from noether.data.zarr_store.manifest import IfMissing, choose_samples, require_joined
from noether.data.zarr_store.reader import SampleBatch, ZarrChunkReader
from noether.data.zarr_store.reading import ResultDtype, ResultDtypes
from noether.data.zarr_store.sampling import ChunkOrder, Draw, DrawPlanner, IfShort, NumPoints, Schedule

__all__ = ["ZarrStoreDataset"]


@dataclass(frozen=True, slots=True)
class _Contents:
    """What grows with the number of samples."""

    reader: ZarrChunkReader
    sample_ids: tuple[str, ...]
    missing_ids: tuple[str, ...]


class ZarrStoreDataset(Dataset[Item]):
    """Samples of a store, each as random draws of its points.

    Every draw is a function of seed, epoch, sample and repeat alone: it does not depend on the worker, the rank, the
    batch or the order of access. `loader` makes the loader that counts epochs and repeats by itself; a `DataLoader`
    does with ``sampler=EpochSampler(dataset)``. Any other needs `set_epoch` before each pass, and warns without it.

    Parameters
    ----------
    store_root : str or path
        Local path or URL.
    split : str, optional
        Name of a split of the store: the samples that it lists, in its order.
    sample_ids : iterable of str, optional
        The samples, in this order, each once; with neither these nor `split`, all of the store.
    num_points : mapping of str to int or None, or callable of int to such a mapping, optional
        Points of the main draw of each domain; None reads it whole. Without it, everything is read whole; with it,
        every domain that `fields` leaves has to be named. A function gets the epoch, for a curriculum; where workers
        are spawned, it has to be one that can be pickled.
    fields : iterable of str, optional
        Canonical names of the fields of the main draws; nothing else is read. Without it, all that a sample has.
    draws : mapping of str to Draw, optional
        More draws, by name; what is ``volume_velocity`` in the store is ``query_velocity`` of the draw ``query``.
    seed : int or None
        Of all draws; None makes every draw a fresh one.
    schedule : {"independent", "sweep"}
        Whether main draws of different epochs are independent, or go through all points: then, for T of N points,
        each ceil(N/T) epochs from a multiple of that on give every point once or twice, in an order of their own.
        Disjoint draws take the points that follow on those of the main draw; all other draws stay independent.
    if_short : {"all", "error"}
        What a draw gives of a sample that has fewer points: all there are, or an error.
    if_missing : {"error", "skip"}
        What to do about samples that are asked for and not in the store.
    fixed : bool
        Whether the points of a sample are the same in every epoch, whatever a loader, a sampler or a framework says:
        those of epoch 0. For validation.
    transform : callable of dict to dict, optional
        Applied to every item, in the worker; `item_generator` gives it randomness.
    chunk_order : {"consecutive", "scattered"}
        Which chunks an independent draw takes; see `ZarrChunkReader`.
    read_concurrency : int, optional
        Most requests in flight, of a whole batch; 1 for a local path and 16 for a URL unless it is given.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.
    verify_checksums : bool
        Whether to compare the checksums of chunks.
    dtype : mapping of str to dtype-like, optional
        Floating dtypes of some fields by canonical name, such as ``{"volume_position": "float64"}``; all others are
        float32. Named draws give a field in the same dtype as the main ones.
    on_error : {"raise", "skip"}
        What to do about a sample that is damaged, or cannot be reached although it was tried again: raise an error
        that names it, or log it, count it and give the next sample of the dataset that can be read in its place, so
        that batches keep their number and their size. Which one that is depends on epoch and damage alone.

    Raises
    ------
    MissingDependencyError
        PyTorch is not installed; when this module is imported.
    UnknownNameError
        The store has no such split, sample, domain or field, or a sample has none.
    ArgumentError
        A parameter is out of its range, there is no sample, or one has too few points.
    ManifestError
        There is no store.

    Warns
    -----
    PrecisionWarning
        Positions are stored as float64 and read as float32, and the conversion found that float32 has too few digits.

    Notes
    -----
    All of these come from the constructor, before a worker starts. A dataset may have been read from before it is
    forked or pickled: open files, connections and threads stay behind.

    With ``on_error="skip"`` an item is always what ``sample_id`` in it says, and the draw of that sample in this epoch.
    The samples that stand in come twice in the epoch. Where eight in a row cannot be read, or none of the dataset, the
    error is raised after all. Without `verify_checksums`, or in a store without checksums, damage is found only where
    it makes bytes that cannot be decoded.
    """

    def __init__(
        self,
        store_root: str | os.PathLike[str],
        *,
        split: str | None = None,
        sample_ids: Iterable[str] | None = None,
        num_points: NumPoints = None,
        fields: Iterable[str] | None = None,
        draws: Mapping[str, Draw] | None = None,
        seed: int | None = 0,
        fixed: bool = False,
        schedule: Schedule = "independent",
        if_short: IfShort = "all",
        if_missing: IfMissing = "error",
        transform: Callable[[Item], Item] | None = None,
        chunk_order: ChunkOrder = "consecutive",
        read_concurrency: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
        verify_checksums: bool = True,
        dtype: Mapping[str, DTypeLike] | None = None,
        on_error: OnError = "raise",
    ) -> None:
        skips = check_on_error(on_error)
        if fixed and seed is None:
            raise ArgumentError("fixed=True: expected a seed, which decides on the points, got seed=None")
        reader = ZarrChunkReader(
            store_root,
            read_concurrency=read_concurrency,
            storage_options=storage_options,
            verify_checksums=verify_checksums,
            chunk_order=chunk_order,
        )
        manifest = reader.manifest
        if dtype is not None and not isinstance(dtype, Mapping):
            raise ArgumentError(f"dtype: expected a mapping such as {{'volume_position': 'float64'}}, got {dtype!r}")
        self._dtype: ResultDtype = "float32" if dtype is None else dict(dtype)
        dtypes = ResultDtypes.of(self._dtype, manifest.domains)
        fields = None if fields is None else require_joined(manifest, fields)
        for draw in draws.values() if isinstance(draws, Mapping) else ():
            require_joined(manifest, getattr(draw, "fields", None) or ())
        self._planner = DrawPlanner(
            manifest.domains,
            num_points,
            fields,
            draws,
            seed=seed,
            schedule=schedule,
            chunk_order=chunk_order,
            if_short=if_short,
        )
        chosen, missing = choose_samples(manifest, split, sample_ids, if_missing)
        narrow = NarrowPositions(manifest.domains, self._planner.stored_fields, dtypes)
        for sample_id in chosen:
            entry = manifest.sample(sample_id)
            self._planner.check(sample_id, entry)
            narrow.check(sample_id, entry)
        narrow.warn()
        self._seed = self._planner.seed
        self._is_fixed = bool(fixed)
        self._transform = transform
        self._hold(_Contents(reader, chosen, missing), skips=skips)

    def _hold(self, contents: _Contents, *, skips: bool, epoch: int = 0) -> None:
        """Take the samples, and begin to count what happens to them."""
        self._contents = SharedPickle(contents)
        self._skipped = Skipped(len(contents.sample_ids)) if skips else None
        self._epoch = SharedEpoch(len(contents.sample_ids), epoch)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "epoch":
            raise AttributeError("epoch: workers would not see it; call set_epoch(epoch)")
        if name in _PARAMETERS:
            raise AttributeError(
                f"{name}: a dataset keeps what it was made with; make another one with {name}=..., or, for num_points "
                "that change with the epoch, give a function of it"
            )
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} samples of {self.store_root}, epoch {self.epoch}>"

    @property
    def store_root(self) -> str:
        """Path or URL of the store."""
        return self._contents.value.reader.store_root

    @property
    def origin(self) -> tuple[float, float, float] | None:
        """The point that positions are relative to; see `ZarrChunkReader.origin`."""
        return self._contents.value.reader.origin

    @property
    def sample_ids(self) -> tuple[str, ...]:
        """The samples of the items, in their order."""
        return self._contents.value.sample_ids

    @property
    def missing_ids(self) -> tuple[str, ...]:
        """The samples that were asked for and skipped, since the store lacks them."""
        return self._contents.value.missing_ids

    @property
    def skipped_ids(self) -> tuple[str, ...]:
        """The samples that could not be read so far, by this process or any worker, with ``on_error="skip"``."""
        return () if self._skipped is None else tuple(self.sample_ids[number] for number in self._skipped.samples)

    @property
    def n_skipped(self) -> int:
        """The items so far, of this process and all workers, in which another sample stood in; also over epochs."""
        return 0 if self._skipped is None else self._skipped.n_items

    @property
    def seed(self) -> int | None:
        """The seed of all draws; None where every draw is a fresh one."""
        return self._seed

    @property
    def epoch(self) -> int:
        """The epoch that was set: that of draws whose index carries none."""
        return self._epoch.value

    @property
    def n_epochs_set(self) -> int:
        """How often `set_epoch` was called."""
        return self._epoch.n_set

    @property
    def depends_on_epoch(self) -> bool:
        """Whether another epoch gives other points, and the same one the same."""
        return self._planner.is_random and self._seed is not None and not self._is_fixed

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of draws whose index carries none, also for workers that run already.

        A loader of this dataset, and an `EpochSampler`, count epochs by themselves and have a `set_epoch` of their own.
        """
        self._epoch.set(whole_number(epoch, "epoch"))

    def loader(
        self,
        batch_size: int = 1,
        *,
        shuffle: bool = False,
        num_workers: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        weights: Sequence[float] | None = None,
        num_samples: int | None = None,
        **options: Any,
    ) -> StoreLoader:
        """Return a loader for training: every pass over it is an epoch of its own, with new points.

        Parameters
        ----------
        batch_size : int
            Samples of a batch.
        shuffle, weights, num_samples
            Which samples make an epoch, and in which order; see `EpochSampler`.
        num_workers : int
            Processes that read; they stay from epoch to epoch unless ``persistent_workers=False``.
        rank, world_size : int, optional
            Number of this process, and how many share the samples. Unless they are given, those of `torch.distributed`
            where that is initialized when an epoch begins. Where a framework makes a loader of its own from this one,
            it shards by itself.
        **options
            All else that `torch.utils.data.DataLoader` takes, such as ``drop_last`` or ``multiprocessing_context``;
            `collate_fn` is `collate_samples` unless it is given.

        Raises
        ------
        ArgumentError
            A parameter is out of its range, one of `rank` and `world_size` is given alone, or `sampler` is given.
        """
        shares = {"rank": rank, "world_size": world_size}
        return make_loader(
            self,
            batch_size,
            shares,
            shuffle=shuffle,
            weights=weights,
            num_samples=num_samples,
            num_workers=num_workers,
            **options,
        )

    def subset(self, sample_ids: Iterable[str]) -> ZarrStoreDataset:
        """Return a dataset of some of the samples, in this order; a sample gives the draws that it gives here.

        Raises
        ------
        UnknownNameError
            A sample is none of this dataset.
        ArgumentError
            `sample_ids` is one str, or names no sample, or one twice.
        """
        if isinstance(sample_ids, str):
            raise ArgumentError(
                f"sample_ids: expected a list of ids, got the str {sample_ids!r}; write [{sample_ids!r}]"
            )
        chosen, there = tuple(sample_ids), frozenset(self.sample_ids)
        for sample_id in chosen:
            if sample_id not in there:
                near = nearest_names(sample_id, self.sample_ids)
                raise UnknownNameError(f"sample_ids: the dataset has no sample {sample_id!r}; {near}")
        if len(frozenset(chosen)) < max(len(chosen), 1):
            raise ArgumentError(f"sample_ids: expected at least one sample, and each of them once, got {list(chosen)}")
        other = copy.copy(self)
        contents = replace(self._contents.value, sample_ids=chosen, missing_ids=())
        other._hold(contents, skips=self._skipped is not None, epoch=self.epoch)
        return other

    def __len__(self) -> int:
        return len(self.sample_ids)

    def __getitem__(self, index: int) -> Item:
        """Read one item; see `__getitems__`."""
        return self._items([index], by_loader=get_worker_info() is not None)[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Item]:
        """Read the items of a batch, all requests of all of them at once.

        Parameters
        ----------
        indices : sequence of int
            A `DrawIndex` says itself which draw it asks for; any other int that of the epoch that was set.

        Returns
        -------
        list of dict
            Each with a tensor by name of field, of shape ``(T,)`` for scalars and ``(T, width)`` otherwise, in float32
            unless `dtype` says otherwise; ``sample_id``, a str; and ``attributes``, those of the sample, numbers and
            lists of these as float32 tensors.

        Warns
        -----
        UserWarning
            Samples come again that were drawn already, and no epoch was set since.
        """
        return self._items(indices, by_loader=True)

    def iter_sample(
        self, sample_id: str, num_points: int | Mapping[str, int], fields: Iterable[str] | None = None
    ) -> Iterator[tuple[SampleBatch, Item]]:
        """Read a whole sample batch by batch, in stored order and bounded memory, to predict all its points.

        Parameters and errors are those of `ZarrChunkReader.iter_sample`; dtypes are those of this dataset.

        Yields
        ------
        SampleBatch
            Domain and stored rows of the batch, for `export.PredictionWriter`.
        dict
            The item of these rows, after the transform: tensors by name of field, ``sample_id`` and ``attributes``.
        """
        reader = self._contents.value.reader
        entry = reader.entry(sample_id)
        for number, batch in enumerate(reader.iter_sample(sample_id, num_points, fields=fields, dtype=self._dtype)):
            item = complete(batch.tensors(), sample_id, entry)
            if self._transform is not None:
                item = self._transformed(self._transform, item, DrawIndex(0, 0, number))
            yield batch, item

    def _items(self, indices: Sequence[int], *, by_loader: bool) -> list[Item]:
        end_with_main_process()
        draws = self._draws(indices, by_loader=by_loader)
        try:
            items = self._read(draws)
        except UNREADABLE:
            if self._skipped is None:
                raise
            items = [read_or_next(self._read, draw, self.sample_ids, self._skipped) for draw in draws]
        if self._transform is None:
            return items
        return [self._transformed(self._transform, item, draw) for item, draw in zip(items, draws, strict=True)]

    def _draws(self, indices: Sequence[int], *, by_loader: bool) -> list[DrawIndex]:
        """Return the draw of each index."""
        numbers = range(len(self))
        if self._is_fixed:
            return [DrawIndex(numbers[index], 0) for index in indices]
        plain = [numbers[index] for index in indices if not isinstance(index, DrawIndex)]
        epoch = self.epoch if plain else 0
        if plain and self.depends_on_epoch:
            self._epoch.watch(plain, self.sample_ids, by_loader=by_loader)
        return [index if isinstance(index, DrawIndex) else DrawIndex(numbers[index], epoch) for index in indices]

    def _transformed(self, transform: Callable[[Item], Item], item: Item, draw: DrawIndex) -> Item:
        with item_randomness(self._seed, draw.epoch, draw.repeat, item["sample_id"]):
            return transform(item)

    def _read(self, draws: Sequence[DrawIndex]) -> list[Item]:
        reader, sample_ids = self._contents.value.reader, [self.sample_ids[draw] for draw in draws]
        return read_items(reader, self._planner, sample_ids, draws, self._dtype)


_PARAMETERS = frozenset(inspect.signature(ZarrStoreDataset.__init__).parameters) - {"self"}
