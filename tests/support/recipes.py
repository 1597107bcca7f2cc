"""One rank of a training by a recipe of the pages: ``python -m support.recipes VARIANT STORE WORKERS DIRECTORY``.

More arguments are checkpoints to resume from, one run after the other; without one, it is a whole run. For each batch
it prints a line of JSON: the run, and a digest of the points by sample.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import distributed

from noether.data.schemas import FileMap
from noether.data.zarr_store.datasets import EpochSampler, Item, ZarrStoreDataset, collate_samples
from support.ahmed import load_run
from support.reading import write_samples
from support.repository import ROOT

__all__ = [
    "EVEN_SAMPLES",
    "N_BATCHES",
    "N_EPOCHS",
    "N_RANKS",
    "SAMPLES",
    "VALIDATION",
    "WHOLE",
    "Batch",
    "recipe",
    "train",
    "write_store",
]

Batch: TypeAlias = dict[str, str]
"""The digest of the points of each sample in a batch of a rank."""

N_RANKS = 2
N_EPOCHS = 3
N_BATCHES = 3
"""Number of batches of each rank in an epoch."""
SAMPLES = tuple(f"sample_{number}" for number in range(11))
"""A number of samples that is a multiple neither of the ranks nor of the batches."""
EVEN_SAMPLES = SAMPLES[:8]
"""A multiple of ranks and batches: Accelerate fills the last batch with samples of the first batch of the run."""
WHOLE = "whole"
VALIDATION = ", validation"
"""End of the name of a Lightning run's validation batches."""

_BATCH_SIZE = 2
_WAIT_SECONDS = 180.0


def write_store(root: Path) -> Path:
    """Write a store of small samples, no two of the same size."""
    rows = load_run("run_1")["volume_position"]
    samples = {
        name: {"volume_position": rows[number * 1000 : number * 1050 + 1000]} for number, name in enumerate(SAMPLES)
    }
    return write_samples(root, samples, FileMap(volume_position="a"), chunk_points=64)


def recipe(framework: str) -> str:
    """Return the code of the page that begins with the comment ``# framework``."""
    page = (ROOT / "docs" / "frameworks.md").read_text(encoding="utf-8")
    [code] = re.findall(rf"```python\n(# {re.escape(framework)}\b.*?)```", page, flags=re.DOTALL)
    return str(code)


def train(
    variant: str, store: Path, directory: Path, *checkpoints: str, n_workers: int = 0
) -> list[dict[str, list[Batch]]]:
    """Train in two processes, or resume from each of some checkpoints.

    Returns
    -------
    list of dict
        For each rank, the batches by run.

    Raises
    ------
    RuntimeError
        A rank failed, or took too long; with all that was printed.
    """
    command = [sys.executable, "-m", "support.recipes", variant, store, n_workers, directory, *checkpoints]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    outputs = [directory / f"output-{rank}" for rank in range(N_RANKS)]
    errors = [directory / f"errors-{rank}" for rank in range(N_RANKS)]
    processes = []
    for rank in range(N_RANKS):
        with outputs[rank].open("w") as output, errors[rank].open("w") as error:
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=Path(__file__).parents[1],
                env=os.environ | _environment(rank, port),
                stdout=output,
                stderr=error,
                start_new_session=True,
            )
        processes.append(process)
    try:
        _wait(processes)
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if any(process.returncode for process in processes):
        raise RuntimeError("\n".join(file.read_text() for file in errors))
    return [_batches(file.read_text()) for file in outputs]


def _wait(processes: list[subprocess.Popen[bytes]]) -> None:
    """Wait until all processes have ended, or one of them has failed: the others would wait for it."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        codes = [process.poll() for process in processes]
        if None not in codes:
            return
        if any(codes):
            deadline = min(deadline, time.monotonic() + 5.0)  # time for the output of the others
        time.sleep(0.05)


def _environment(rank: int, port: int) -> dict[str, str]:
    """Return the environment variables that `torchrun` sets in each process."""
    return {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(N_RANKS),
        "LOCAL_WORLD_SIZE": str(N_RANKS),
        "TORCHELASTIC_RUN_ID": "recipes",
        "OMP_NUM_THREADS": "1",
    }


def _batches(output: str) -> dict[str, list[Batch]]:
    found: dict[str, list[Batch]] = {}
    for line in output.splitlines():
        run, batch = json.loads(line)
        found.setdefault(run, []).append(batch)
    return found


class TrainStep:
    """A step of a training, which prints the batch.

    Where there is a checkpoint, the step keeps that of the batches before it, and waits for the other ranks, as the
    step of a model would.
    """

    def __init__(self, run: str, checkpoint: Path | None = None) -> None:
        self._run, self._checkpoint, self._n_done = run, checkpoint, 0

    def __call__(self, batch: dict[str, Any]) -> None:
        if self._checkpoint is not None:
            distributed.barrier()
            if self._run == WHOLE and distributed.get_rank() == 0 and self._checkpoint.exists():
                shutil.copy(self._checkpoint, self._checkpoint.with_name(f"{self._n_done}.pt"))
        print(json.dumps([self._run, _digests(batch)]), flush=True)
        self._n_done += 1


def _digests(batch: dict[str, Any]) -> Batch:
    positions = batch["volume_position"]
    if "offsets" in batch:
        bounds = batch["offsets"]["volume_position"].tolist()
        positions = [positions[start:stop] for start, stop in pairwise(bounds)]
    # Batches that rank 0 dispatches have no sample ids, so an attribute stands in for them.
    names = batch["sample_id"] if "sample_id" in batch else [SAMPLES[int(n)] for n in batch["attributes"]["number"]]
    return {
        name: hashlib.sha256(values.contiguous().numpy().tobytes()).hexdigest()
        for name, values in zip(names, positions, strict=True)
    }


def main() -> None:
    variant, store, n_workers, directory, *checkpoints = sys.argv[1:]
    # A warning about epochs would be a fault of the recipe.
    warnings.filterwarnings("error", message=r".*\b(epoch|come|comes)\b")
    code, prepare = _VARIANTS[variant]
    code = recipe(code) if "\n" not in code else code
    code = re.sub(r"batch_size=\d+", f"batch_size={_BATCH_SIZE}", code)
    code = re.sub(r"num_workers=\d+", f"num_workers={n_workers}", code)
    after_each_epoch = variant.endswith("saved after each epoch")
    if after_each_epoch:
        code = code.replace("        if rank == 0:\n            torch", "    if rank == 0:\n        torch")
    for run in checkpoints or [WHOLE]:
        namespace = prepare(run, Path(store), Path(directory))
        if after_each_epoch and run != WHOLE:
            namespace["first_epoch"] += 1
        exec(code, namespace)
    distributed.destroy_process_group()


def _dataset(store: Path, **settings: Any) -> ZarrStoreDataset:
    return ZarrStoreDataset(store, **{"num_points": {"volume": 200}} | settings)


def _plain(run: str, store: Path, directory: Path) -> dict[str, Any]:
    """Prepare a loop with PyTorch alone."""
    if not distributed.is_initialized():
        distributed.init_process_group("gloo")
    checkpoint = directory / f"{run}.pt"
    return {
        "torch": torch,
        "rank": distributed.get_rank(),
        "dataset": _dataset(store),
        "first_epoch": 0 if run == WHOLE else (int(run) - 1) // N_BATCHES,
        "n_epochs": N_EPOCHS,
        "checkpoint": checkpoint,
        "train_step": TrainStep(run, checkpoint),
    }


def _torchdata(run: str, store: Path, directory: Path) -> dict[str, Any]:
    from torchdata.stateful_dataloader import StatefulDataLoader

    return _plain(run, store, directory) | {
        "StatefulDataLoader": StatefulDataLoader,
        "EpochSampler": EpochSampler,
        "collate_samples": collate_samples,
        "world_size": distributed.get_world_size(),
    }


def _accelerate(run: str, store: Path, directory: Path) -> dict[str, Any]:
    return _accelerated(run, _dataset(store))


def _dispatched(run: str, store: Path, directory: Path) -> dict[str, Any]:
    dataset = _dataset(store, transform=_without_name).subset(EVEN_SAMPLES)
    prepared = _accelerated(run, dataset, dispatch_batches=True)
    # Rank 0 reads a batch for each rank, and Accelerate counts those.
    return prepared | {"n_done": prepared["n_done"] * prepared["accelerator"].num_processes}


def _split(run: str, store: Path, directory: Path) -> dict[str, Any]:
    dataset = _dataset(store, transform=_without_name).subset(EVEN_SAMPLES)
    return _accelerated(run, dataset, dispatch_batches=True, split_batches=True)


def _ragged(run: str, store: Path, directory: Path) -> dict[str, Any]:
    dataset = _dataset(store, transform=_without_name, num_points=None)
    return _accelerated(run, dataset, dispatch_batches=True)


def _ragged_and_split(run: str, store: Path, directory: Path) -> dict[str, Any]:
    dataset = _dataset(store, transform=_without_name, num_points=None)
    return _accelerated(run, dataset, dispatch_batches=True, split_batches=True)


def _without_name(item: Item) -> Item:
    """Return only the tensors of an item: Accelerate dispatches nothing else."""
    name = item.pop("sample_id")
    item["attributes"] = {"number": torch.tensor(float(SAMPLES.index(name)))}
    return item


def _accelerated(run: str, dataset: ZarrStoreDataset, **options: Any) -> dict[str, Any]:
    from accelerate import Accelerator
    from accelerate.utils import DataLoaderConfiguration

    n_per_step = _BATCH_SIZE if options.get("split_batches") else _BATCH_SIZE * N_RANKS
    first_epoch, n_done = (0, 0) if run == WHOLE else divmod(int(run), -(-len(dataset) // n_per_step))
    return {
        "accelerator": Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(**options)),
        "dataset": dataset,
        "first_epoch": first_epoch,
        "n_done": n_done,
        "n_epochs": N_EPOCHS,
        "train_step": TrainStep(run),
    }


def _lightning(run: str, store: Path, directory: Path) -> dict[str, Any]:
    import pytorch_lightning as lightning
    from pytorch_lightning.callbacks import ModelCheckpoint

    class Model(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))
            self.trained, self.validated = TrainStep(run), TrainStep(run + VALIDATION)
            self.predicted = TrainStep(run)

        def training_step(self, batch: dict[str, Any]) -> Any:
            self.trained(batch)
            return self.weight * batch["volume_position"].mean()

        def validation_step(self, batch: dict[str, Any]) -> None:
            self.validated(batch)

        def predict_step(self, batch: dict[str, Any]) -> None:
            self.predicted(batch)

        def predict_dataloader(self) -> Any:
            return _dataset(store).loader(batch_size=_BATCH_SIZE)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 1e-3)

    def save(name: str, **when: Any) -> ModelCheckpoint:
        return ModelCheckpoint(directory, f"{name}-{{{name}}}", save_top_k=-1, auto_insert_metric_name=False, **when)

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=N_RANKS,
        strategy="ddp",
        max_epochs=N_EPOCHS,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            save("step", every_n_train_steps=1),
            save("epoch", every_n_epochs=1, save_on_train_epoch_end=True),
            # Lightning saves by default at the end of a validation, before the end of the epoch. It distinguishes
            # callbacks by their settings; the mode has no other effect here.
            ModelCheckpoint(directory, "validated-{epoch}", mode="max", save_top_k=-1, auto_insert_metric_name=False),
        ],
    )
    return {
        "trainer": trainer,
        "model": Model(),
        "dataset": _dataset(store),
        "validation": _dataset(store, fixed=True),
        "checkpoint": None if run == WHOLE else directory / f"{run}.ckpt",
    }


# Lightning makes its own loaders from these, in one way from a loader argument, in another way from a hook's loader.
_PREDICT = """
trainer.predict(model, dataset.loader(batch_size=2))
trainer.predict(model)
"""

# The framework of a recipe, or its code, and the function that makes its variables.
_VARIANTS: dict[str, tuple[str, Callable[[str, Path, Path], dict[str, Any]]]] = {
    "PyTorch": ("PyTorch", _plain),
    "torchdata": ("torchdata", _torchdata),
    "torchdata, saved after each epoch": ("torchdata", _torchdata),
    "Lightning": ("Lightning", _lightning),
    "Lightning, predictions": (_PREDICT, _lightning),
    "Accelerate": ("Accelerate", _accelerate),
    "Accelerate, dispatched": ("Accelerate", _dispatched),
    "Accelerate, dispatched and split": ("Accelerate", _split),
    "Accelerate, ragged": ("Accelerate", _ragged),
    "Accelerate, ragged and split": ("Accelerate", _ragged_and_split),
}


if __name__ == "__main__":
    main()
