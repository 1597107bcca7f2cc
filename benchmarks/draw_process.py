"""A process that makes one draw per line on its standard input, and prints the seconds of the draw alone.

MosaicML Streaming needs an older NumPy than this library's tests, and so its own environment. This file runs there as a
script: it imports this library and the other benchmarks only to draw with this library. Both contenders are such
processes, so that neither has the caches of the processor for itself.

::

    draw_process.py noether STORE                    lines are seeds
    draw_process.py mosaicml RECORDS                 lines are numbers of records
    draw_process.py write-mosaicml RECORDS POINTS FILE.npy...

A line can end with a path; the first draw is then saved there as an ``.npz``, to be verified.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

# Copies from `benchmarks.data` and `benchmarks.settings`, which cannot be imported in that environment.
DOMAIN, SAMPLE, POINTS = "volume", "run_1", 16_384

Tensors = dict[str, Any]


def noether_draws(store: str) -> Callable[[int], Tensors]:
    """Return a function that draws with this library."""
    from noether.data.zarr_store import ZarrChunkReader

    reader = ZarrChunkReader(store)
    return lambda seed: reader.read_sample(SAMPLE, {DOMAIN: POINTS}, generator=seed)


def mosaicml_records(directory: str) -> Callable[[int], Tensors]:
    """Return a function that reads a record of MosaicML Streaming into writable float32 tensors."""
    import torch
    from streaming import StreamingDataset

    warnings.filterwarnings("ignore", "The given buffer is not writable", UserWarning)
    torch.set_num_threads(1)  # as in a worker; on a busy machine, two casting threads would wait for each other
    dataset = StreamingDataset(local=directory, shuffle=False, batch_size=1)
    dtypes = {"f2": torch.float16, "f4": torch.float32}

    def read(number: int) -> Tensors:
        record = dataset[number]
        tensors = {}
        for key, value in record.items():
            field, dtype, width = key.split(":")
            rows = torch.frombuffer(value, dtype=dtypes[dtype]).to(torch.float32, copy=True)
            tensors[field] = rows if width == "1" else rows.view(-1, int(width))
        return tensors

    return read


def write_mosaicml(directory: str, points: int, files: list[Path]) -> None:
    """Write the rows of ``.npy`` files as records of raw, uncompressed bytes, with `points` points each."""
    from streaming import MDSWriter

    arrays = {file.stem: np.load(file, mmap_mode="r") for file in files}
    keys = {field: f"{field}:{array.dtype.str[1:]}:{array.shape[1]}" for field, array in arrays.items()}
    with MDSWriter(out=directory, columns=dict.fromkeys(keys.values(), "bytes"), compression=None) as out:
        for first in range(0, min(map(len, arrays.values())) - points + 1, points):
            out.write({keys[field]: array[first : first + points].tobytes() for field, array in arrays.items()})


def answer(read: Callable[[int], Tensors]) -> Iterator[str]:
    """Make a draw for each line, and yield its seconds."""
    for line in sys.stdin:
        number, _, path = line.strip().partition(" ")
        start = time.perf_counter()
        tensors = read(int(number))
        seconds = time.perf_counter() - start
        if path:
            np.savez(path, **{field: tensor.numpy() for field, tensor in tensors.items()})
        yield str(seconds)


def main() -> None:
    """Run the command line."""
    kind, place, *more = sys.argv[1:]
    if kind == "write-mosaicml":
        write_mosaicml(place, int(more[0]), [Path(file) for file in more[1:]])
        return
    read = {"noether": noether_draws, "mosaicml": mosaicml_records}[kind](place)
    print("ready", flush=True)
    for seconds in answer(read):
        print(seconds, flush=True)


if __name__ == "__main__":
    main()
