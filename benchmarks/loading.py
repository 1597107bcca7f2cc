"""Draws with a PyTorch `DataLoader`: rate of two workers, time to the first batch, memory of a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from benchmarks import peers
from benchmarks.data import DOMAIN, FIELDS, SAMPLE, Arrays, source_arrays
from benchmarks.formats import Prepared, prepare, write_store
from benchmarks.jobs import run_job
from benchmarks.local_draws import aligned_window
from benchmarks.results import Case, Comparison, Row
from benchmarks.settings import CHUNK_POINTS, DRAW_POINTS, Settings
from benchmarks.timing import Contender, race
from benchmarks.verification import require_draw
from noether.data.zarr_store import StoreManifest
from noether.data.zarr_store.datasets import ZarrStoreDataset, collate_samples
from noether.data.zarr_store.reading import write_chunk_index

__all__ = ["compare_loading"]

MANIFEST_SAMPLES = 10_000

_FANCY = "zarr-python, fancy"
_LOADED = ".pt, loaded whole"
_WORKERS = 2
_BATCH = 8
_DRAWS = 64  # per repetition
# The number of samples of AhmedML; all workers together make four draws from each.
_MEMORY_SAMPLES = 500
_MEMORY_EPOCHS = 4

Draw = Callable[[int], Arrays]


def compare_loading(settings: Settings) -> Comparison:
    """Compare datasets in a loader with two workers; measure their start and their memory."""
    repetitions = settings.repetitions(quick=5, full=20)
    cases = []
    for chunk_points in CHUNK_POINTS:
        prepared = prepare(settings.work_dir, settings.n_points, chunk_points)
        list_samples(prepared.store_root, _DRAWS)
        cases.append(_race_loaders(prepared, repetitions))
    starts = settings.repetitions(quick=2, full=7)
    cases += [_first_batches(settings, starts), _memory(settings)]
    parameters = {
        "points": settings.n_points,
        "points_drawn": DRAW_POINTS,
        "batch_size": _BATCH,
        "repetitions": {"rate": repetitions, "first batch": starts},
        "samples": {"first batch": MANIFEST_SAMPLES, "memory": _MEMORY_SAMPLES},
    }
    return Comparison.of("loading", settings, parameters, cases)


def list_samples(root: Path, count: int, *, linked: bool = False) -> None:
    """List the only sample of a store under many ids, so that each id has its own draws.

    Parameters
    ----------
    root : Path
        Root of the store.
    count : int
        Number of ids.
    linked : bool
        Whether each id has its own path, so that ids share no cache entries.
    """
    manifest = StoreManifest.load(str(root))
    entry = manifest.sample(SAMPLE)
    entries = {}
    for number in range(count):
        sample_id = f"run_{number:05d}"
        entries[sample_id] = replace(entry, relpath=f"{sample_id}.zarr") if linked else entry
        if linked:
            (root / f"{sample_id}.zarr").symlink_to(root / entry.relpath)
    manifest.model_copy(update={"samples": entries}).save(str(root))
    write_chunk_index(str(root))


class _PeerDataset(Dataset[dict[str, torch.Tensor]]):
    """Draws of a peer; an index is the seed of its draw. Files are opened once, in the worker."""

    def __init__(self, prepared: Prepared, open_peer: Callable[[Prepared], Draw]) -> None:
        self._prepared = replace(prepared, shuffled={})  # no peer reads it, and it makes a pickle large
        self._open_peer = open_peer
        self._draw: Draw | None = None

    def __getitem__(self, seed: int) -> dict[str, torch.Tensor]:
        if self._draw is None:
            self._draw = self._open_peer(self._prepared)
        return {field: torch.from_numpy(values) for field, values in self._draw(seed).items()}


class _Seeds(Sampler[int]):
    """Seeds of one repetition."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.repetition = 0

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.repetition * self.count, (self.repetition + 1) * self.count))

    def __len__(self) -> int:
        return self.count


def _fancy(prepared: Prepared) -> Draw:
    read = peers.zarr_fancy(prepared)
    return lambda seed: read(np.arange(*aligned_window(prepared, seed).indices(prepared.n_points)))


def _fancy_anywhere(prepared: Prepared) -> Draw:
    read = peers.zarr_fancy(prepared)
    return lambda seed: read(np.sort(_rows_anywhere(prepared, seed)))


def _loaded(prepared: Prepared) -> Draw:
    read = peers.torch_rows(prepared, mmap=False)
    return lambda seed: read(_rows_anywhere(prepared, seed))


def _rows_anywhere(prepared: Prepared, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.random.default_rng([seed, 2]).choice(prepared.n_points, DRAW_POINTS, replace=False, shuffle=False)


def _race_loaders(prepared: Prepared, repetitions: int) -> Case:
    ours = ZarrStoreDataset(
        prepared.store_root,
        sample_ids=[f"run_{number:05d}" for number in range(_DRAWS)],
        num_points={DOMAIN: DRAW_POINTS},
        fields=FIELDS,
    )
    our_loader: DataLoader[dict[str, torch.Tensor]] = _loader(ours, _BATCH, collate_fn=collate_samples)

    def read_ours(repetition: int) -> Arrays:
        ours.set_epoch(repetition)
        return _last_draw(our_loader)

    contenders, counts = [Contender("noether", read_ours)], {"noether": _DRAWS}
    for name, open_peer, count, most in (
        (_FANCY, _fancy, _DRAWS, None),
        (_LOADED, _loaded, _DRAWS, 3),
        ("zarr-python, fancy, rows anywhere", _fancy_anywhere, 4, 1),
    ):
        contenders.append(Contender(name, _peer_reader(_PeerDataset(prepared, open_peer), count), most))
        counts[name] = count
    for contender in contenders:  # this also starts the workers and opens the files
        require_draw(contender.name, contender.read(0), prepared, DRAW_POINTS)
    seconds = race(contenders, repetitions)
    rows = []
    for name, values in seconds.items():
        per_sample = [value / counts[name] for value in values]
        rows.append(Row(name, per_sample, {"samples/s": 1 / float(np.median(per_sample))}))
    case = Case(f"a sample, two workers, chunks of {prepared.chunk_points:,}", "s", rows)
    case.faster(_FANCY, at_least=15)
    case.faster(_LOADED, at_least=50)
    return case


def _peer_reader(dataset: _PeerDataset, count: int) -> Draw:
    seeds = _Seeds(count)
    loader = _loader(dataset, min(_BATCH, count // _WORKERS), sampler=seeds, collate_fn=default_collate)

    def read(repetition: int) -> Arrays:
        seeds.repetition = repetition
        return _last_draw(loader)

    return read


def _loader(
    dataset: Dataset[dict[str, torch.Tensor]],
    batch_size: int,
    *,
    collate_fn: Callable[..., dict[str, torch.Tensor]],
    sampler: _Seeds | None = None,
) -> DataLoader[dict[str, torch.Tensor]]:
    # By now, zarr-python and h5py have threads and locks in this process, which a forked worker would inherit.
    return DataLoader(
        dataset,
        batch_size,
        sampler=sampler,
        collate_fn=collate_fn,
        num_workers=_WORKERS,
        multiprocessing_context="spawn",
        persistent_workers=True,
    )


def _last_draw(loader: DataLoader[dict[str, torch.Tensor]]) -> Arrays:
    """Consume all batches as fast as possible, and return the last draw."""
    for batch in loader:
        last = batch
    return {field: last[field][-1].numpy() for field in FIELDS}


def _first_batches(settings: Settings, repetitions: int) -> Case:
    root = settings.work_dir / "loading-many"
    write_store(root, source_arrays(settings.work_dir, 100_000), CHUNK_POINTS[0])
    list_samples(root, MANIFEST_SAMPLES)
    rows = []
    for method in ("spawn", "forkserver", "fork"):
        runs = [run_job("first_batch", root=str(root), method=method) for _ in range(repetitions)]
        rows.append(Row(f"noether, {method}", [run.seconds for run in runs]))
    case = Case(f"the first batch of {MANIFEST_SAMPLES:,} samples", "s", rows)
    case.below(3.0, ours="noether, spawn")
    return case


def _memory(settings: Settings) -> Case:
    root = settings.work_dir / "loading-memory"
    write_store(root, source_arrays(settings.work_dir, settings.n_points), CHUNK_POINTS[0])
    list_samples(root, _MEMORY_SAMPLES, linked=True)
    run = run_job("worker_memory", root=str(root), samples=_MEMORY_SAMPLES, epochs=_MEMORY_EPOCHS)
    case = Case("growth of a worker's memory over 1,000 draws", "MB", [Row("noether", [run.kept_bytes / 1e6])])
    case.below(20)
    return case
