"""A store as a map-style PyTorch dataset."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from noether.data.zarr_store.core import whole_number
from noether.data.zarr_store.datasets.parent_watch import end_with_main_process
from noether.data.zarr_store.datasets.shared_buffers import allocate
from noether.data.zarr_store.datasets.sharing import SharedPickle
from noether.data.zarr_store.datasets.skipping import UNREADABLE, OnError, Skipped, check_on_error
from noether.data.zarr_store.manifest import IfMissing, choose_samples
from noether.data.zarr_store.reader import ZarrChunkReader
from noether.data.zarr_store.sampling import ChunkOrder, Draw, DrawPlanner, DrawRead, IfShort, Range, Schedule
from noether.data.zarr_store.stores import is_remote

__all__ = ["Item", "ZarrStoreDataset"]

Item: TypeAlias = dict[str, Any]

# Requests to object storage wait far more than they work; on a local disk threads only get into each other's way,
# and there are as many processes as cores already.
_REMOTE_CONCURRENCY = 16

# Where so many neighbours cannot be read, it is not the samples.
_MAX_SKIPPED_IN_A_ROW = 8


@dataclass(frozen=True, slots=True)
class _Contents:
    """What grows with the number of samples."""

    reader: ZarrChunkReader
    sample_ids: tuple[str, ...]
    missing_ids: tuple[str, ...]


class ZarrStoreDataset(Dataset[Item]):
    """Samples of a store, each as random draws of its points.

    Every draw is a function of seed, epoch and sample alone: it does not depend on the worker, the rank, the batch or
    the order of access. Call `set_epoch` before each epoch, also with persistent workers.

    Parameters
    ----------
    store_root : str or path
        Local path or URL.
    split : str, optional
        Name of a split of the store: the samples that it lists, in its order.
    sample_ids : iterable of str, optional
        The samples, in this order, each once; with neither these nor `split`, all of the store.
    num_points : mapping of str to int or None, optional
        Points of the main draw of each domain. A domain that is missing, or None, is read whole.
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
    transform : callable of dict to dict, optional
        Applied to every item, in the worker.
    chunk_order : {"consecutive", "scattered"}
        Which chunks an independent draw takes; see `ZarrChunkReader`.
    read_concurrency : int, optional
        Most requests in flight, of a whole batch; 1 for a local path and 16 for a URL unless it is given.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.
    verify_checksums : bool
        Whether to compare the checksums of chunks.
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
        num_points: Mapping[str, int | None] | None = None,
        fields: Iterable[str] | None = None,
        draws: Mapping[str, Draw] | None = None,
        seed: int | None = 0,
        schedule: Schedule = "independent",
        if_short: IfShort = "all",
        if_missing: IfMissing = "error",
        transform: Callable[[Item], Item] | None = None,
        chunk_order: ChunkOrder = "consecutive",
        read_concurrency: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
        verify_checksums: bool = True,
        on_error: OnError = "raise",
    ) -> None:
        skips = check_on_error(on_error)
        if read_concurrency is None:
            read_concurrency = _REMOTE_CONCURRENCY if is_remote(store_root) else 1
        reader = ZarrChunkReader(
            store_root,
            read_concurrency=read_concurrency,
            storage_options=storage_options,
            verify_checksums=verify_checksums,
            chunk_order=chunk_order,
        )
        manifest = reader.manifest
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
        for sample_id in chosen:
            self._planner.check(sample_id, manifest.sample(sample_id))
        self._contents = SharedPickle(_Contents(reader, chosen, missing))
        self._transform = transform
        self._skipped = Skipped(len(chosen)) if skips else None
        self._epoch = torch.zeros(1, dtype=torch.int64)
        self._share_epoch()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._share_epoch()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} samples of {self.store_root}, epoch {self.epoch}>"

    @property
    def store_root(self) -> str:
        """Path or URL of the store."""
        return self._contents.value.reader.store_root

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
    def epoch(self) -> int:
        """The epoch that draws are made for."""
        return int(self._epoch.item())

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws of an epoch, also in workers that run already; call it before each epoch."""
        self._epoch.fill_(whole_number(epoch, "epoch"))

    def _share_epoch(self) -> None:
        """Let workers see the epoch; of a dataset that comes out of a pickle, the memory may not be shared any more."""
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # PyTorch has it untyped

    def __len__(self) -> int:
        return len(self.sample_ids)

    def __getitem__(self, index: int) -> Item:
        """Read one item; see `__getitems__`."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Item]:
        """Read the items of a batch, all requests of all of them at once.

        Returns
        -------
        list of dict
            Each with a float32 tensor by name of field, of shape ``(T,)`` for scalars and ``(T, width)`` otherwise;
            ``sample_id``, a str; and ``attributes``, those of the sample, numbers and lists of these as float32
            tensors.
        """
        end_with_main_process()
        try:
            items = self._read(indices)
        except UNREADABLE:
            if self._skipped is None:
                raise
            items = [self._read_or_next(index, self._skipped) for index in indices]
        return items if self._transform is None else [self._transform(item) for item in items]

    def _read_or_next(self, index: int, skipped: Skipped) -> Item:
        """Read one item, or that of the next sample that can be read."""
        number, last = range(len(self))[index], min(len(self), _MAX_SKIPPED_IN_A_ROW) - 1
        for step in range(last + 1):
            candidate = (number + step) % len(self)
            try:
                [item] = self._read([candidate])
            except UNREADABLE as error:
                skipped.add_sample(candidate, self.sample_ids[candidate], error)
                if step == last:
                    error.add_note(f"on_error='skip': no sample of {last + 1} in a row could be read")
                    raise
            else:
                break
        if step:
            skipped.count_item()
        return item

    def _read(self, indices: Sequence[int]) -> list[Item]:
        epoch, reader = self.epoch, self._contents.value.reader
        sample_ids = [self.sample_ids[index] for index in indices]
        entries = [reader.entry(sample_id) for sample_id in sample_ids]
        planned = [
            self._planner.plan(sample_id, entry, epoch) for sample_id, entry in zip(sample_ids, entries, strict=True)
        ]
        read = reader.read_planned([[one.planned for one in reads] for reads in planned], allocate)
        items: list[Item] = []
        for sample_id, entry, reads, arrays in zip(sample_ids, entries, planned, read, strict=True):
            fields = _share_out(reads, arrays)
            item: Item = {name: torch.from_numpy(fields[name]) for name in self._planner.names if name in fields}
            item["sample_id"] = sample_id
            item["attributes"] = {name: _attribute(value) for name, value in entry.attributes.items()}
            items.append(item)
        return items


def _share_out(
    reads: Sequence[DrawRead], arrays: Sequence[Mapping[str, NDArray[np.float32]]]
) -> dict[str, NDArray[np.float32]]:
    """Give each draw its rows of what was read."""
    fields = {}
    for one, read in zip(reads, arrays, strict=True):
        for share in one.shares:
            for layout, name in zip(one.planned.layouts, share.names, strict=True):
                fields[name] = _rows(read[layout.field], share.ranges)
    return fields


def _rows(values: NDArray[np.float32], ranges: Sequence[Range]) -> NDArray[np.float32]:
    parts = [values[start:stop] for start, stop in ranges]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _attribute(value: Any) -> Any:
    """Give numbers as a tensor, and all else as a copy, which the caller may change."""
    try:
        numbers = np.asarray(value)
    except ValueError:  # lists of unequal lengths
        return copy.deepcopy(value)
    return torch.as_tensor(numbers, dtype=torch.float32) if numbers.dtype.kind in "iuf" else copy.deepcopy(value)
