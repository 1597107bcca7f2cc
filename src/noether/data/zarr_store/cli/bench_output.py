"""What `bench` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from noether.data.zarr_store.core import printable
from noether.data.zarr_store.stores import is_remote

if TYPE_CHECKING:
    from noether.data.zarr_store.datasets import Throughput

__all__ = ["print_throughput"]

# Where nearly all was in memory before, the two passes say the same.
_ALL_CACHED = 0.95


def print_throughput(found: Throughput, console: Console) -> None:
    """Print what was measured: what was drawn, a table, and what limits the draws."""
    samples = f"{found.n_samples:,} sample{'' if found.n_samples == 1 else 's'}"
    console.print(printable(f"{found.store_root}: {samples}"), soft_wrap=True)
    points = ", ".join(f"{domain} {'all' if n is None else f'{n:,}'}" for domain, n in found.num_points.items())
    console.print(printable(f"points of a draw: {points}; fields: {', '.join(found.fields)}"), soft_wrap=True)
    batch = "1 sample" if found.batch_size == 1 else f"{found.batch_size:,} samples"
    workers = f"{found.workers} worker{'' if found.workers == 1 else 's'} on {found.cores} cores"
    console.print(f"{workers}, batches of {batch}, {found.seconds:.1f} s\n")
    console.print(_table(found))
    if found.plain is None:
        console.print("\nplain read: the shards do not lie where this library puts them")
    else:
        console.print(f"\n{_of_memory(found)}", soft_wrap=True)
    console.print(found.conclusion, soft_wrap=True)


def _table(found: Throughput) -> Table:
    table = Table(show_header=False)
    table.add_column("what")
    table.add_column("figure", justify="right")
    table.add_row("draws: samples/s", f"{found.samples_per_second:,.1f}")
    table.add_row("draws: read of the store", _rate(found.bytes_per_second))
    table.add_row("draws: tensors in the loop", _rate(found.tensor_bytes_per_second))
    for name, ms in found.batch_ms.items():
        table.add_row(f"from one batch to the next, {name}", f"{ms:,.1f} ms")
    table.add_row("requests a sample", f"{found.io.requests / max(found.samples, 1):,.1f}")
    time = found.seconds * max(found.workers, 1)
    waiting = found.io.seconds_waiting / time
    # Above the whole time, requests overlap.
    table.add_row(
        "workers' time: waiting for bytes", f"{waiting:.0%}" if waiting <= 1 else f"{waiting:.1f} requests at a time"
    )
    table.add_row("workers' time: decoding", f"{found.io.seconds_decoding / time:.0%}")
    if found.io.retries:
        table.add_row("requests sent again", f"{found.io.retries:,}")
    if found.plain is not None:
        what = f"plain read of {decimal(found.plain.n_bytes)}"
        if found.plain.in_flight > 1:
            what += f", {found.plain.in_flight} ranges at a time"
        table.add_row(f"{what}: first pass", _rate(found.plain.first_bytes_per_second))
        table.add_row(f"{what}: second pass", _rate(found.plain.second_bytes_per_second))
    return table


def _rate(bytes_per_second: float) -> str:
    return f"{bytes_per_second / 1e6:,.1f} MB/s"


def _of_memory(found: Throughput) -> str:
    """Return a sentence on what the operating system had in memory."""
    cached = None if found.plain is None else found.plain.cached_before
    if is_remote(found.store_root):
        return "Objects come over the network each time; a cache of the server may have had them."
    if cached is None:
        return "This system does not tell how much of the files was in memory before; the second pass had more of it."
    if cached >= _ALL_CACHED:
        return (
            f"{cached:.0%} of these files were in memory (the page cache) before: from the disk, as in the first epoch "
            "of a store that does not fit in memory, draws and plain reads can be slower."
        )
    return f"{cached:.0%} of these files were in memory (the page cache) before the first pass."
