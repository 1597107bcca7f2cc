"""``python -m benchmarks.gpu_training``: train a small model on a GPU, and measure how long it waits for data.

The script first writes a store of different samples, and the same samples as `.pt` files. The contenders are this
library, zarr-python on the same store, and the `.pt` files. Every loader feeds the same number of points of each sample
to the same model. The share of waiting is the time without a batch, divided by the total time; a copy to the GPU does
not count as waiting.
The result is a table in Markdown with the name of the GPU, which is kept as ``benchmarks/results/gpu.md``. Only this
script of the project needs a GPU.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from torch import nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.datasets import ZarrStoreDataset
from noether.data.zarr_store.reading import write_chunk_index

FIELDS = ("volume_position", "volume_pressure", "volume_velocity")
FILEMAP = FileMap(volume_position="p", volume_pressure="c", volume_velocity="v")
CHUNK_POINTS = 4096
DRAW_POINTS = 16_384
BATCH = 8
EPOCH_SAMPLES = 100_000

Batch = dict[str, Any]


def main() -> None:
    """Write the samples, train with each loader in turn, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_training")
    parser.add_argument("--points", type=int, default=4_000_000, help="number of points of a sample")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--steps", type=int, default=120, help="number of measured steps of each loader")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("expected a GPU, but torch.cuda.is_available() is false")
    with tempfile.TemporaryDirectory(prefix="noether-gpu-") as directory:
        root = Path(directory)
        make_samples(root, arguments.samples, arguments.points)
        require_right_batches(root / "store")
        print(
            f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, {arguments.samples} samples of "
            f"{arguments.points:,} points, {DRAW_POINTS:,} points of each, batches of {BATCH}\n"
        )
        print("| loader | workers | pin_memory | waiting for data | samples/s |")
        print("|---|---|---|---|---|")
        for name, workers, pin_memory, steps, make in contenders(root, arguments.steps):
            waiting, rate = train(make(workers, pin_memory), steps)
            print(f"| {name} | {workers} | {'yes' if pin_memory else 'no'} | {waiting:.1%} | {rate:,.0f} |", flush=True)


def make_samples(root: Path, n_samples: int, n_points: int) -> None:
    """Write samples to a store and to `.pt` files."""
    rng = np.random.default_rng(0)
    writer = ZarrStoreWriter(root / "store", FILEMAP, "gpu", chunk_points=CHUNK_POINTS)
    (root / "pt").mkdir()
    for number in range(n_samples):
        position = rng.random((n_points, 3), np.float32)
        velocity = np.sin(9 * position + number).astype(np.float32)
        fields = {
            "volume_position": position,
            "volume_pressure": np.square(velocity).sum(axis=1, keepdims=True),
            "volume_velocity": velocity,
        }
        writer.write_sample(f"run_{number}", fields)
        torch.save({name: torch.from_numpy(values) for name, values in fields.items()}, root / f"pt/run_{number}.pt")
    writer.save_manifest()
    write_chunk_index(root / "store")


class ZarrWindows(Dataset[Batch]):
    """A dataset whose items are windows of neighbouring chunks of the same store, read with zarr-python."""

    def __init__(self, store: Path, n_samples: int) -> None:
        self._store, self._n_samples = store, n_samples
        self._rng = np.random.default_rng()

    def __len__(self) -> int:
        return self._n_samples

    def __getitem__(self, index: int) -> Batch:
        group = zarr.open_group(self._store / f"run_{index}.zarr", mode="r")
        arrays: dict[str, Any] = {field: group[field.replace("_", "/", 1)] for field in FIELDS}
        n_chunks = arrays["volume_position"].shape[0] // CHUNK_POINTS
        first = int(self._rng.integers(n_chunks - DRAW_POINTS // CHUNK_POINTS)) * CHUNK_POINTS
        window = slice(first, first + DRAW_POINTS)
        return {field: torch.from_numpy(np.asarray(array[window], np.float32)) for field, array in arrays.items()}


class TorchFiles(Dataset[Batch]):
    """A dataset with one file per sample. Each item loads the whole file, and returns random rows of it."""

    def __init__(self, directory: Path) -> None:
        self._files = sorted(directory.glob("*.pt"))

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Batch:
        tensors = torch.load(self._files[index], weights_only=True)
        rows = torch.randint(len(tensors["volume_position"]), (DRAW_POINTS,))
        return {field: tensors[field][rows] for field in FIELDS}


Make = Callable[[int, bool], Iterable[Batch]]


def contenders(root: Path, steps: int) -> Iterator[tuple[str, int, bool, int, Make]]:
    """Yield the name of a loader, its number of workers, whether memory is pinned, its steps, and its factory."""
    n_samples = len(list((root / "pt").iterdir()))

    def ours(workers: int, pin_memory: bool) -> Iterable[Batch]:
        dataset = ZarrStoreDataset(root / "store", num_points={"volume": DRAW_POINTS}, fields=FIELDS)
        # Prefetching stops at the end of an epoch, so repeat the samples to make epochs as long as usual.
        options: dict[str, Any] = {"num_workers": workers, "pin_memory": pin_memory, "num_samples": EPOCH_SAMPLES}
        return dataset.loader(batch_size=BATCH, shuffle=True, **options)

    def peer(dataset: Dataset[Batch]) -> Make:
        def make(workers: int, pin_memory: bool) -> Iterable[Batch]:
            sampler = RandomSampler(range(n_samples), replacement=True, num_samples=EPOCH_SAMPLES)
            options: dict[str, Any] = {"num_workers": workers, "pin_memory": pin_memory, "persistent_workers": True}
            return DataLoader(dataset, BATCH, sampler=sampler, **options)

        return make

    for workers in (0, 1, 2, 4, 8):
        yield "noether", workers, False, steps, ours
        yield "noether", workers, True, steps, ours
    for workers in (1, 4, 8):
        yield "zarr-python, windows", workers, True, steps // 2, peer(ZarrWindows(root / "store", n_samples))
    for workers in (4, 8):
        yield ".pt, loaded whole", workers, True, max(steps // 10, 4), peer(TorchFiles(root / "pt"))


def require_right_batches(store: Path) -> None:
    """Check that pinned batches, copied to the GPU, hold the values that the dataset returns.

    Every batch is kept until the end: its memory must not be reused while it is copied.
    """
    dataset = ZarrStoreDataset(store, num_points={"volume": DRAW_POINTS}, fields=FIELDS)
    loader = dataset.loader(batch_size=BATCH, shuffle=True, num_workers=4, pin_memory=True)
    kept = []
    for epoch in range(3):
        for batch in loader:
            on_gpu = {field: batch[field].to("cuda", non_blocking=True) for field in FIELDS}
            kept.append((epoch, batch["sample_id"], batch["volume_position"].is_pinned(), on_gpu))
    torch.cuda.synchronize()
    for epoch, sample_ids, is_pinned, on_gpu in kept:
        dataset.set_epoch(epoch)
        if not is_pinned:
            raise AssertionError("expected pinned memory from pin_memory=True")
        for number, sample_id in enumerate(sample_ids):
            item = dataset[dataset.sample_ids.index(sample_id)]
            for field in FIELDS:
                if not torch.equal(on_gpu[field][number].cpu(), item[field]):
                    raise AssertionError(f"epoch {epoch}, {sample_id}, {field}: the batch has wrong values")


def train(loader: Iterable[Batch], steps: int) -> tuple[float, float]:
    """Train for some steps; return the share of the time without a batch, and the samples per second."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(3, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU(), nn.Linear(256, 4)
    ).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    batches = forever(loader)
    for _ in range(5):
        step(model, optimizer, next(batches))
    torch.cuda.synchronize()
    waited, n_samples, start = 0.0, 0, time.perf_counter()
    for _ in range(steps):
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        n_samples += len(batch["volume_position"])
        step(model, optimizer, batch)
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return waited / seconds, n_samples / seconds


def forever(loader: Iterable[Batch]) -> Iterator[Batch]:
    """Yield the batches of epoch after epoch, without end."""
    while True:
        yield from loader


def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    """Make one training step."""
    position, pressure, velocity = (batch[field].to("cuda", non_blocking=True) for field in FIELDS)
    target = torch.cat([pressure.reshape(*velocity.shape[:-1], 1), velocity], dim=-1)
    loss = nn.functional.mse_loss(model(position), target)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


if __name__ == "__main__":
    main()
