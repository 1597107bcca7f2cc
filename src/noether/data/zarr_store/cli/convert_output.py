"""What commands that work on many samples show: a plan, the progress, and what became of the samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from noether.data.zarr_store.convert import ConversionPlan, ConversionReport, Outcome, SampleResult
from noether.data.zarr_store.core import printable

__all__ = ["conversion_progress", "print_plan", "print_report"]

# Where the output goes to a file or pipe there is no width to fit, and no row may be cut.
_PLAIN_WIDTH = 160
_MAX_NAMED = 20


def _labels(done: str) -> dict[Outcome, str]:
    return {"converted": done, "skipped": "complete before", "failed": "failed"}


class _Totals:
    """Adds up what was done so far, and tells what is left."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._start = time.monotonic()
        self._source_bytes = self._stored_bytes = self._memory_bytes = self._worked = 0
        self.done = 0

    def add(self, result: SampleResult) -> None:
        self.done += 1
        self._worked += result.outcome != "skipped"
        self._source_bytes += result.source_bytes
        self._stored_bytes += result.stored_bytes
        self._memory_bytes = max(self._memory_bytes, result.peak_memory_bytes)

    def text(self) -> str:
        """Return rate, time left, bytes in and out, and memory, as far as they are known."""
        parts = []
        elapsed = time.monotonic() - self._start
        if self._worked and elapsed:
            # To see that a sample is complete takes next to no time.
            left = (self._total - self.done) * elapsed / self._worked
            parts += [f"{self._worked / elapsed:.2f} samples/s", f"{_duration(left)} left"]
        if self._source_bytes:
            parts += [f"{decimal(self._source_bytes)} in", f"{decimal(self._stored_bytes)} out"]
        if self._memory_bytes:
            parts.append(f"{decimal(self._memory_bytes)} of memory a worker")
        return ", ".join(parts)


@contextmanager
def conversion_progress(total: int, done: str = "converted") -> Iterator[Callable[[SampleResult], None]]:
    """Yield a function that shows each result: a bar on a terminal, a line for each sample elsewhere.

    Parameters
    ----------
    total : int
        Number of samples.
    done : str
        What is said of a sample that is neither complete before nor failed.
    """
    labels = _labels(done)
    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    totals = _Totals(total)
    if not console.is_terminal:

        def print_line(result: SampleResult) -> None:
            totals.add(result)
            text = f"{result.sample_id} {labels[result.outcome]} {result.seconds:.2f} s; {totals.text()}"
            # A log on a disk that is full is no reason to convert no more.
            with suppress(OSError):
                console.print(printable(f"[{totals.done}/{total}] {text.removesuffix('; ')}"), soft_wrap=True)

        yield print_line
        return
    columns = (
        TextColumn("{task.description}", markup=False),  # a sample id may hold brackets
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[totals]}", markup=False),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("working", total=total, totals="")

        def advance(result: SampleResult) -> None:
            totals.add(result)
            if result.outcome == "failed":
                progress.console.print(printable(f"failed: {result.reason}"), soft_wrap=True)
            progress.update(task, advance=1, description=printable(result.sample_id), totals=totals.text())

        yield advance


def print_report(report: ConversionReport, store_root: str, console: Console, done: str = "converted") -> None:
    """Print a table of the outcomes, and a line that sums them up; `done` is that of `conversion_progress`."""
    _fit(console)
    labels = _labels(done)
    table = Table()
    table.add_column(f"in {_duration(report.seconds)}")
    for column in ("samples", "seconds a sample", "longest", "bytes in", "bytes out", "memory a worker"):
        table.add_column(column, justify="right")
    for outcome, label in labels.items():
        results = report.having(outcome)
        if not results:
            continue
        longest = max(results, key=lambda result: result.seconds)
        cells = [f"{sum(result.seconds for result in results) / len(results):.2f}"]
        cells.append(f"{longest.seconds:.2f} ({printable(longest.sample_id)})")
        if outcome == "converted":
            cells.append(decimal(sum(result.source_bytes for result in results)))
            cells.append(decimal(sum(result.stored_bytes for result in results)))
            cells.append(decimal(max(result.peak_memory_bytes for result in results)))
        table.add_row(label, f"{len(results):,}", *cells)
    if report.results:
        console.print(table)
    counts = ", ".join(f"{len(report.having(outcome))} {label}" for outcome, label in labels.items())
    console.print(f"{counts}; store: {store_root}", soft_wrap=True)


def print_plan(plan: ConversionPlan, store_root: str, console: Console) -> None:
    """Print what would be done."""
    _fit(console)
    if plan.domains:
        console.print(_domain_table(plan))
    to_do = plan.n_samples - plan.n_complete
    console.print(
        f"{to_do:,} samples to convert, {plan.n_complete:,} complete before; store: {store_root}", soft_wrap=True
    )
    if plan.n_described:
        about = "" if plan.n_described == to_do else f" (from the sizes of {plan.n_described:,} of them)"
        console.print(
            f"{decimal(plan.source_bytes)} in, at most {decimal(plan.stored_bytes)} out before compression, "
            f"{plan.n_objects:,} objects{about}; {decimal(plan.memory_bytes)} of memory a worker",
            soft_wrap=True,
        )
        console.print(printable(_temporary_files(plan)), soft_wrap=True)
    if plan.workers.reason:
        console.print(printable(str(plan.workers)), soft_wrap=True)
    for warning in plan.warnings:
        console.print(f"warning: {warning}", soft_wrap=True)
    failures = list(plan.failures.values())
    for reason in failures[:_MAX_NAMED]:
        console.print(printable(f"would fail: {reason}"), soft_wrap=True)
    if len(failures) > _MAX_NAMED:
        console.print(f"would fail: {len(failures) - _MAX_NAMED} more")


def _temporary_files(plan: ConversionPlan) -> str:
    if not plan.scratch_bytes:
        return "no temporary files"
    count, each = plan.workers.n_workers, decimal(plan.scratch_bytes)
    of_all = f", {decimal(count * plan.scratch_bytes)} for {count} at the same time" if count > 1 else ""
    return f"at most {each} of temporary files a worker{of_all}, in {plan.scratch_directory}"


def _domain_table(plan: ConversionPlan) -> Table:
    table = Table()
    table.add_column("domain")
    for column in (
        "samples",
        "fields",
        "points a sample",
        "chunk points",
        "advised",
        "shards a field",
        "largest shard",
    ):
        table.add_column(column, justify="right")
    for one in plan.domains:
        points = f"{one.points_min:,}"
        if one.points_max != one.points_min:
            points += f" to {one.points_max:,}"
        table.add_row(
            one.domain,
            f"{one.n_samples:,}",
            f"{one.n_fields}",
            points,
            f"{one.chunk_points:,}",
            f"{one.advised_chunk_points:,}",
            f"{one.n_shards:,}",
            decimal(one.shard_bytes),
        )
    return table


def _fit(console: Console) -> None:
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02} h" if hours else f"{minutes}:{seconds:02} min"
