"""A training loop, for tests of how it ends: ``python -m support.training_loop STORE ENDING METHOD [STATE]``.

It prints one line of JSON for each batch: the epoch, the samples, and a digest of all values.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torchdata.stateful_dataloader import StatefulDataLoader

from noether.data.zarr_store.datasets import Draw, Item, ZarrStoreDataset, collate_samples

EPOCHS = (4, 5)
KILLED_AFTER = 2  # batches of the first epoch


def main() -> None:
    root, ending, method, *state = sys.argv[1:]
    dataset = ZarrStoreDataset(
        root,
        num_points={"volume": 500},
        fields=["volume_position", "volume_velocity"],
        draws={"query": Draw("volume", 300, ["volume_position"], disjoint=True)},
        transform=fail_on_run_3 if ending == "error in a worker" else None,
        read_concurrency=3,  # so that workers have threads
    )
    loader = StatefulDataLoader(
        dataset,
        batch_size=1,
        shuffle=True,
        generator=torch.Generator().manual_seed(5),
        collate_fn=collate_samples,
        num_workers=2,
        multiprocessing_context=method,
    )
    if ending == "resumed":
        loader.load_state_dict(torch.load(state[0], weights_only=False))
    for epoch in EPOCHS if ending in ("complete", "killed", "resumed") else range(10**6):
        dataset.set_epoch(epoch)
        for number, batch in enumerate(loader, start=1):
            print(json.dumps([epoch, batch["sample_id"], digest(batch)]), flush=True)
            if ending == "killed" and number == KILLED_AFTER:
                torch.save(loader.state_dict(), state[0])
                os.kill(os.getpid(), signal.SIGKILL)


def fail_on_run_3(item: Item) -> Item:
    if item["sample_id"] == "run_3":
        raise ValueError("run_3 is not wanted")
    return item


def digest(batch: Item) -> str:
    names = sorted(name for name, value in batch.items() if isinstance(value, torch.Tensor))
    return hashlib.sha256(b"".join(batch[name].numpy().tobytes() for name in names)).hexdigest()


def start(root: Path, ending: str, method: str, *state: Path) -> subprocess.Popen[str]:
    """Start a loop in a new process, in a new process group."""
    command = [sys.executable, "-m", "support.training_loop", root, ending, method, *state]
    return subprocess.Popen(
        [str(part) for part in command],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A test run in the background ignores Ctrl-C, and its children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def batches(output: str) -> list[Any]:
    return [json.loads(line) for line in output.splitlines()]


if __name__ == "__main__":
    main()
