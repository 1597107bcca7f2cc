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

from noether.data.zarr_store.core import count_of, printable, shortened, whole_number
from noether.data.zarr_store.datasets.cache_room import require_room
from noether.data.zarr_store.datasets.draw_index import DrawIndex
from noether.data.zarr_store.datasets.item_generator import item_randomness
from noether.data.zarr_store.datasets.items import Item, make_item, read_items
from noether.data.zarr_store.datasets.loader import StoreLoader, make_loader
from noether.data.zarr_store.datasets.parent_watch import end_with_main_process
from noether.data.zarr_store.datasets.precision import NarrowPositions
from noether.data.zarr_store.datasets.shared_epoch import SharedEpoch
from noether.data.zarr_store.datasets.shared_statistics import SharedStatistics
from noether.data.zarr_store.datasets.sharing import SharedPickle
from noether.data.zarr_store.datasets.skipping import UNREADABLE, OnError, Skipped, check_on_error, read_or_next
from noether.data.zarr_store.errors import ArgumentError, UnknownNameError, nearest_names
from noether.data.zarr_store.manifest import Description, IfMissing, choose_samples, require_joined
from noether.data.zarr_store.reader import SampleBatch, ZarrChunkReader
from noether.data.zarr_store.reading import IoStatistics, ResultDtype, ResultDtypes
from noether.data.zarr_store.sampling import ChunkOrder, Draw, DrawPlanner, IfShort, NumPoints, Schedule

__all__ = ["ZarrStoreDataset"]


@dataclass(frozen=True, slots=True)
class _Contents:
    """The parts of a dataset that grow with the number of samples."""

    reader: ZarrChunkReader
    sample_ids: tuple[str, ...]
    missing_ids: tuple[str, ...]


class ZarrStoreDataset(Dataset[Item]):
    """Samples of a store, each as random draws of its points.

    Every draw is a function of seed, epoch, sample and repeat only: it does not depend on the worker, the rank, the
    batch or the order of access. `loader` returns a loader that counts epochs and repeats. A `DataLoader` with
    ``sampler=EpochSampler(dataset)`` counts them too. Any other loader needs a call of `set_epoch` before each pass;
    without it, the dataset warns.

    Parameters
    ----------
    store_root : str or path
        Local path or URL of the store.
    split : str, optional
        Name of a split of the store, to use its samples in its order.
    sample_ids : iterable of str, optional
        Ids of the samples, in this order, each once; without `sample_ids` and `split`, all samples of the store.
    num_points : mapping of str to int or None, or callable of int to such a mapping, optional
        Number of points of the main draw of each domain; None reads the domain whole. By default, all domains are read
        whole. A mapping must name every domain that has one of `fields`. A function gets the epoch, for a curriculum;
        if workers are spawned, it must be picklable.
    fields : iterable of str, optional
        Canonical names of the fields of the main draws; no other field is read for them. By default all fields of a
        sample.
    draws : mapping of str to Draw, optional
        More draws, by name. The field ``volume_velocity`` of the store is ``query_velocity`` in the draw ``query``. A
        draw can follow a weight; see `Draw`.
    seed : int or None
        Seed of all draws; None uses fresh randomness for every draw.
    schedule : {"independent", "sweep"}
        Whether the main draws of different epochs are independent, or go through all points in sweeps. With T of N
        points per draw, a sweep lasts ceil(N/T) epochs, and begins at each multiple of this number. It has every point
        once or twice, in its own order. Disjoint draws take the points that follow the points of the main draw,
        so they cannot have weights. All other draws stay independent.
    if_short : {"all", "error"}
        Whether a draw takes all points of a domain that has too few, or raises an error.
    if_missing : {"error", "skip"}
        Whether requested samples that the store lacks are an error, or are skipped.
    fixed : bool
        Whether the points of a sample are the same in every epoch: the points of epoch 0, regardless of loaders,
        samplers and frameworks. Use it for validation.
    transform : callable of dict to dict, optional
        Function that is applied to every item, in the worker. `item_generator` provides its random numbers.
    chunk_order : {"consecutive", "scattered"}
        Choice of the chunks of an independent draw; see `ZarrChunkReader`.
    read_concurrency : int, optional
        Maximum number of requests in flight for a whole batch; by default 1 for a local path and 16 for a URL.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.
    verify_checksums : bool
        Whether to compare the checksums of chunks.
    dtype : mapping of str to dtype-like, optional
        Floating dtypes of some fields by canonical name, such as ``{"volume_position": "float64"}``; all other fields
        are float32. A field has the same dtype in named draws as in main draws.
    on_error : {"raise", "skip"}
        Reaction to a sample that is damaged, or that cannot be reached after retries. "raise" raises an error that
        names the sample. "skip" logs and counts the sample, and returns the next readable sample of the dataset in its
        place, so that batches keep their number and size. The choice of that sample depends on epoch and damage only.
    cache_dir, cache_limit
        Directory of this machine that caches chunks of a remote store, and its maximum number of bytes; see
        `ZarrChunkReader`.

    Raises
    ------
    MissingDependencyError
        PyTorch is not installed. The import of this module raises this error.
    UnknownNameError
        The store has no such split, sample, domain or field, or a sample lacks one.
    ArgumentError
        A parameter is out of its range, there is no sample, a sample has too few points, or `cache_limit` has no room
        for one item.
    ManifestError
        There is no store.

    Warns
    -----
    PrecisionWarning
        Positions are stored as float64 and read as float32, and the conversion found that float32 has too few digits.

    Notes
    -----
    The constructor raises all these errors, before a worker starts. A dataset can be forked or pickled after it was
    read: the copy opens its own files, connections and threads.

    With ``on_error="skip"``, ``sample_id`` in an item always names its actual sample, and the item is the draw of that
    sample in this epoch. A sample that replaces another comes twice in the epoch. If eight samples in a row, or all
    samples of the dataset, cannot be read, the error is raised. Without `verify_checksums`, or in a store without
    checksums, damage is found only if bytes cannot be decoded.
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
        cache_dir: str | os.PathLike[str] | None = None,
        cache_limit: int | str | None = None,
    ) -> None:
        skips = check_on_error(on_error)
        if fixed and seed is None:
            raise ArgumentError("fixed=True: expected a seed, which determines the points, got seed=None; pass seed=0")
        reader = ZarrChunkReader(
            store_root,
            read_concurrency=read_concurrency,
            storage_options=storage_options,
            verify_checksums=verify_checksums,
            chunk_order=chunk_order,
            cache_dir=cache_dir,
            cache_limit=cache_limit,
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
        if reader.cache_limit is not None:
            largest = max(
                chosen, key=lambda one: sum(there.n_points for there in manifest.sample(one).domains.values())
            )
            require_room(reader.cache_limit, largest, self._planner.plan(largest, manifest.sample(largest), 0))
        self._seed = self._planner.seed
        self._is_fixed = bool(fixed)
        self._transform = transform
        self._hold(_Contents(reader, chosen, missing), skips=skips)

    def _hold(self, contents: _Contents, *, skips: bool, epoch: int = 0) -> None:
        """Set the samples, and start new counters for them."""
        self._contents = SharedPickle(contents)
        self._skipped = Skipped(len(contents.sample_ids)) if skips else None
        self._epoch = SharedEpoch(len(contents.sample_ids), epoch)
        self._statistics = SharedStatistics()

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "epoch":
            raise AttributeError("epoch: workers would not see the change; call set_epoch(epoch)")
        if name in _PARAMETERS:
            raise AttributeError(
                f"{name}: the parameters of a dataset cannot change; make another dataset with {name}=..., or, if "
                "num_points depends on the epoch, pass a function of the epoch"
            )
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        reader = self._contents.value.reader
        count = count_of(len(self), "sample")
        title = f"{type(self).__name__} of {count} of {self.store_root}, epoch {self.epoch}, seed {self.seed}"
        return f"{Description(reader.manifest, self.sample_ids).text(title)}\n  items: {self._item_names()}"

    def _repr_html_(self) -> str:
        facts = [("items", self._item_names()), ("epoch", f"{self.epoch}"), ("seed", f"{self.seed}")]
        return self._contents.value.reader.describe(type(self).__name__, self.sample_ids, facts)

    def _item_names(self) -> str:
        return shortened(printable(", ".join(self._planner.names)))

    @property
    def store_root(self) -> str:
        """Path or URL of the store."""
        return self._contents.value.reader.store_root

    @property
    def origin(self) -> tuple[float, float, float] | None:
        """Point that positions are relative to; see `ZarrChunkReader.origin`."""
        return self._contents.value.reader.origin

    @property
    def sample_ids(self) -> tuple[str, ...]:
        """Ids of the samples of the items, in their order."""
        return self._contents.value.sample_ids

    @property
    def missing_ids(self) -> tuple[str, ...]:
        """Ids of the requested samples that were skipped because the store lacks them."""
        return self._contents.value.missing_ids

    @property
    def skipped_ids(self) -> tuple[str, ...]:
        """Ids of the samples that this process or any worker could not read so far, with ``on_error="skip"``."""
        return () if self._skipped is None else tuple(self.sample_ids[number] for number in self._skipped.samples)

    @property
    def n_skipped(self) -> int:
        """Number of items so far that have a replacement sample, in this process and all workers, over all epochs."""
        return 0 if self._skipped is None else self._skipped.n_items

    def io_statistics(self) -> IoStatistics:
        """Return the counts of all reads of this process and all workers: requests, bytes, waiting, decoding.

        The counts begin when the dataset is made, and go on over epochs and workers that have ended. Subtract two
        results for the reads in between. A worker counts a batch when it has read it, so the counts are
        ahead of the loop. A subset has its own counts.
        """
        return self._statistics.total()

    @property
    def seed(self) -> int | None:
        """Seed of all draws; None if every draw uses fresh randomness."""
        return self._seed

    @property
    def epoch(self) -> int:
        """The epoch that was set, for draws whose index carries no epoch."""
        return self._epoch.value

    @property
    def n_epochs_set(self) -> int:
        """Number of calls of `set_epoch`."""
        return self._epoch.n_set

    @property
    def depends_on_epoch(self) -> bool:
        """True if the epoch determines the points: other epochs have other points, the same epoch has the same."""
        return self._planner.is_random and self._seed is not None and not self._is_fixed

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of draws whose index carries no epoch, also for running workers.

        A loader of this dataset, and an `EpochSampler`, count epochs on their own, and have their own `set_epoch`.
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
        """Return a loader for training: every pass over it is a new epoch, with new points.

        Parameters
        ----------
        batch_size : int
            Number of samples of a batch.
        shuffle, weights, num_samples
            Choice and order of the samples of an epoch; see `EpochSampler`.
        num_workers : int
            Number of processes that read; they stay from epoch to epoch unless ``persistent_workers=False``.
        rank, world_size : int, optional
            Number of this process, and number of processes that share the samples. By default the values of
            `torch.distributed`, if it is initialized when an epoch begins. A framework that makes its own loader from
            this loader divides the samples itself.
        **options
            All other parameters of `torch.utils.data.DataLoader`, such as ``drop_last`` or
            ``multiprocessing_context``. The default of `collate_fn` is `collate_samples`.

        Raises
        ------
        ArgumentError
            A parameter is out of its range, only one of `rank` and `world_size` is passed, or `sampler` is passed.
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
        """Return a dataset of some of the samples, in this order. Each sample keeps its draws.

        Raises
        ------
        UnknownNameError
            This dataset has no such sample.
        ArgumentError
            `sample_ids` is one str, is empty, or names a sample twice.
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
        """Read the items of a batch, with all their requests in parallel.

        Parameters
        ----------
        indices : sequence of int
            Indices of the samples. A `DrawIndex` carries its epoch and repeat; any other int has the epoch that was
            set.

        Returns
        -------
        list of dict
            Each item has a tensor for each field, of shape ``(T,)`` for scalars and ``(T, width)`` otherwise, in
            float32 or in the dtype of `dtype`; ``sample_id``, a str; and ``attributes`` of the sample, with numbers and
            lists of numbers as float32 tensors. A weighted draw may have its inverse probabilities, in float32.

        Raises
        ------
        ArgumentError
            The weights of a draw are not finite numbers of 0 or more, or too few of them are above 0.

        Warns
        -----
        UserWarning
            Samples are drawn again, and no epoch was set since the last time.
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
            The item of these rows, after the transform: tensors by field name, ``sample_id`` and ``attributes``.
        """
        reader = self._contents.value.reader
        entry = reader.entry(sample_id)
        reader.count_into(self._statistics.own_row())
        for number, batch in enumerate(reader.iter_sample(sample_id, num_points, fields=fields, dtype=self._dtype)):
            item = make_item(batch.tensors(), sample_id, entry)
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
        reader.count_into(self._statistics.own_row())
        return read_items(reader, self._planner, sample_ids, draws, self._dtype)


_PARAMETERS = frozenset(inspect.signature(ZarrStoreDataset.__init__).parameters) - {"self"}
