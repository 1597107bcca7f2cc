"""Tables and progress, for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from noether.data.zarr_store.convert import SampleResult
from noether.data.zarr_store.summary import DomainSummary, StoreSummary

__all__ = ["conversion_progress", "print_summary"]

# Where the output goes to a file or pipe there is no width to fit, and no row may be cut.
_PLAIN_WIDTH = 160


def print_summary(summary: StoreSummary, console: Console) -> None:
    """Print what a store or sample holds: a line, then tables of its domains and fields."""
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    what = f"sample {summary.sample_id}" if summary.sample_id is not None else f"{summary.n_samples} samples"
    console.print(f"{summary.dataset_name}: {what} in {summary.store_root}")
    console.print(
        f"{decimal(summary.total_bytes)} in {summary.n_objects} objects; {summary.compressor}, "
        f"checksums {'on' if summary.checksum else 'off'}, shuffled by {summary.shuffle_algorithm or 'another tool'} "
        f"with seed {summary.shuffle_seed}"
    )
    for key, value in summary.attributes.items():
        console.print(f"{key}: {value}")
    console.print(_domain_table(summary.domains))
    console.print(_field_table(summary.domains))


@contextmanager
def conversion_progress(total: int) -> Iterator[Callable[[SampleResult], None]]:
    """Give a function that shows each result: a bar on a terminal, a line for each sample elsewhere."""
    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        done = 0

        def print_line(result: SampleResult) -> None:
            nonlocal done
            done += 1
            console.print(
                f"[{done}/{total}] {result.sample_id} {result.outcome} {result.seconds:.2f} s",
                soft_wrap=True,
            )

        yield print_line
        return
    columns = (
        TextColumn("{task.description}", markup=False),  # a sample id may hold brackets
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("converting", total=total, rate="")

        def advance(result: SampleResult) -> None:
            progress.advance(task)
            speed = progress.tasks[0].speed
            rate = f"{speed:.2f} samples/s" if speed else ""
            progress.update(task, description=result.sample_id, rate=rate)

        yield advance


def _domain_table(domains: list[DomainSummary]) -> Table:
    table = Table()
    table.add_column("domain")
    for column in ("samples", "points a sample", "chunk points", "chunks", "shards", "bytes", "source", "ratio"):
        table.add_column(column, justify="right")
    for one in domains:
        points = f"{one.points_min:,}"
        if one.points_max != one.points_min:
            points += f" to {one.points_max:,}"
        sizes = f"{one.chunk_points[0]:,}"
        if len(one.chunk_points) > 1:
            sizes += f" to {one.chunk_points[-1]:,}"
        table.add_row(
            one.domain,
            f"{one.n_samples:,}",
            points,
            sizes,
            f"{one.chunks:,}",
            f"{one.shards:,}",
            decimal(one.stored_bytes),
            *_against_source(one.stored_bytes, one.source_bytes),
        )
    return table


def _field_table(domains: list[DomainSummary]) -> Table:
    table = Table()
    table.add_column("field")
    table.add_column("stored as")
    for column in ("bytes", "source", "ratio", "largest error", "largest relative error", "flushed to 0"):
        table.add_column(column, justify="right")
    for one in (field for domain in domains for field in domain.fields):
        table.add_row(
            one.field,
            one.dtype,
            decimal(one.stored_bytes),
            *_against_source(one.stored_bytes, one.source_bytes),
            _error(one.max_abs_error),
            _error(one.max_rel_error),
            "?" if one.flushed_to_zero is None else f"{one.flushed_to_zero:,}",
        )
    return table


def _against_source(stored: int, source: int | None) -> tuple[str, str]:
    if not source:
        return "?", "?"
    return decimal(source), f"{stored / source:.2f}"


def _error(error: float | None) -> str:
    if error is None:
        return "?"
    return "exact" if error == 0 else f"{error:.2g}"
