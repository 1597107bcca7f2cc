"""The output of ``noether-zarr bench``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.filesize import decimal

from noether.data.zarr_store.cli.output import Output
from noether.data.zarr_store.cli.tables import Column
from noether.data.zarr_store.core import count_of
from noether.data.zarr_store.stores import is_remote

if TYPE_CHECKING:
    from noether.data.zarr_store.datasets import Throughput

__all__ = ["print_throughput"]

# Share of the files in the page cache above which both passes read memory, not the disk.
_ALL_CACHED = 0.95


def print_throughput(found: Throughput, out: Output) -> None:
    """Print the settings, a table of the figures, and the limit of the draws."""
    out.line(f"{found.store_root}: {count_of(found.n_samples, 'sample')}")
    points = ", ".join(f"{domain} {'all' if n is None else f'{n:,}'}" for domain, n in found.num_points.items())
    out.line(f"points of a draw: {points}; fields: {', '.join(found.fields)}")
    workers = f"{count_of(found.workers, 'worker')} on {count_of(found.cores, 'core')}"
    out.line(f"{workers}, batches of {count_of(found.batch_size, 'sample')}, {found.seconds:.1f} s\n")
    out.table([Column("measured", "text"), Column("result")], _rows(found))
    if found.plain is None:
        out.line("\nno plain read: the keys of the shards are not those of this library")
    else:
        out.line(f"\n{_of_memory(found)}")
    out.line(found.conclusion)


def _rows(found: Throughput) -> Iterator[tuple[str, str]]:
    yield "draws: samples/s", f"{found.samples_per_second:,.1f}"
    yield "draws: bytes read from the store", _rate(found.bytes_per_second)
    yield "draws: bytes of tensors in the loop", _rate(found.tensor_bytes_per_second)
    for name, ms in found.batch_ms.items():
        yield f"time between batches, {name}", f"{ms:,.1f} ms"
    yield "requests a sample", f"{found.io.requests / max(found.samples, 1):,.1f}"
    time = found.seconds * max(found.workers, 1)
    waiting = found.io.seconds_waiting / time
    # Requests overlap if their times add up to more than the time of the workers.
    yield (
        "time of workers: waiting for bytes",
        f"{waiting:.0%}" if waiting <= 1 else f"{waiting:.1f} requests at a time",
    )
    yield "time of workers: decoding", f"{found.io.seconds_decoding / time:.0%}"
    if found.io.retries:
        yield "retries of requests", f"{found.io.retries:,}"
    if found.plain is not None:
        read = f"plain read of {decimal(found.plain.n_bytes)}"
        if found.plain.in_flight > 1:
            read += f", {found.plain.in_flight} requests at a time"
        yield f"{read}: first pass", _rate(found.plain.first_bytes_per_second)
        yield f"{read}: second pass", _rate(found.plain.second_bytes_per_second)


def _rate(bytes_per_second: float) -> str:
    return f"{bytes_per_second / 1e6:,.1f} MB/s"


def _of_memory(found: Throughput) -> str:
    """Return a sentence on the share of the files that the page cache held before."""
    cached = None if found.plain is None else found.plain.cached_before
    if is_remote(found.store_root):
        return "Every pass sends its requests over the network; the server may have answered from a cache."
    if cached is None:
        return "The share of the files in the page cache is unknown on this system; it was larger in the second pass."
    if cached >= _ALL_CACHED:
        return (
            f"{cached:.0%} of these files were in the page cache before. From the disk, as in the first epoch of a "
            "store that does not fit in memory, draws and plain reads can be slower."
        )
    return f"{cached:.0%} of these files were in the page cache before the first pass."
