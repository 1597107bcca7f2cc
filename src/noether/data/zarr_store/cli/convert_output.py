"""The output of commands that work on many samples: the plan, the progress and the outcomes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from noether.data.zarr_store.cli.app import FAILED
from noether.data.zarr_store.cli.output import Output, echo
from noether.data.zarr_store.cli.run_options import SOME_FAILED
from noether.data.zarr_store.cli.tables import Column
from noether.data.zarr_store.convert import ConversionPlan, ConversionReport, Outcome, SampleResult
from noether.data.zarr_store.core import printable

__all__ = [
    "conversion_progress",
    "exit_code",
    "plan_document",
    "print_plan",
    "print_report",
    "report_document",
]

_MAX_NAMED = 20
# Columns of a terminal that has room for all figures of the progress.
_WIDE = 120


def _labels(done: str) -> dict[Outcome, str]:
    return {"converted": done, "skipped": "complete before", "failed": "failed"}


class _Totals:
    """Sums over the results so far, and an estimate of the remaining time."""

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

    def text(self, *, is_short: bool = False) -> str:
        """Return rate, time left and, unless the text must be short, bytes and memory, as far as they are known."""
        parts = []
        elapsed = time.monotonic() - self._start
        if self._worked and elapsed:
            # Skipped samples take almost no time, so the rate leaves them out.
            left = (self._total - self.done) * elapsed / self._worked
            parts += [f"{self._worked / elapsed:.2f} samples/s", f"{_duration(left)} left"]
        if self._source_bytes and not is_short:
            parts += [f"{decimal(self._source_bytes)} in", f"{decimal(self._stored_bytes)} out"]
        if self._memory_bytes and not is_short:
            parts.append(f"{decimal(self._memory_bytes)} of memory a worker")
        return ", ".join(parts)


@contextmanager
def conversion_progress(total: int, done: str = "converted") -> Iterator[Callable[[SampleResult], None]]:
    """Yield a function that shows a result on stderr: as a bar on a terminal, as a line in a file.

    Parameters
    ----------
    total : int
        Number of samples.
    done : str
        Word for the outcome of a sample that was neither skipped nor failed.
    """
    labels = _labels(done)
    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    totals = _Totals(total)
    if not console.is_terminal:

        def print_line(result: SampleResult) -> None:
            totals.add(result)
            text = f"{result.sample_id} {labels[result.outcome]} {result.seconds:.2f} s; {totals.text()}"
            # A full disk under the log must not stop the conversion.
            with suppress(OSError):
                console.print(printable(f"[{totals.done}/{total}] {text.removesuffix('; ')}"), soft_wrap=True)

        yield print_line
        return
    is_narrow = console.width < _WIDE
    columns = (
        TextColumn("{task.description}", markup=False),  # a sample id may contain brackets
        BarColumn(16 if is_narrow else 40),
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
            progress.update(
                task, advance=1, description=printable(result.sample_id), totals=totals.text(is_short=is_narrow)
            )

        yield advance


def print_report(report: ConversionReport, store_root: str, out: Output, done: str = "converted") -> None:
    """Print a table of the outcomes, and a line with their counts; for `done`, see `conversion_progress`."""
    labels = _labels(done)
    rows = []
    for outcome, label in labels.items():
        results = report.having(outcome)
        if results:
            longest = max(results, key=lambda result: result.seconds)
            cells = [f"{sum(result.seconds for result in results) / len(results):.2f}"]
            cells.append(f"{longest.seconds:.2f} ({longest.sample_id})")
            is_done = outcome == "converted"
            cells.append(decimal(sum(result.source_bytes for result in results)) if is_done else "")
            cells.append(decimal(sum(result.stored_bytes for result in results)) if is_done else "")
            cells.append(decimal(max(result.peak_memory_bytes for result in results)) if is_done else "")
            rows.append([label, f"{len(results):,}", *cells])
    if rows:
        figures = ("bytes in", "bytes out", "memory a worker")
        columns = [Column(f"in {_duration(report.seconds)}", "text"), Column("samples"), Column("seconds a sample")]
        out.table([*columns, Column("longest", "name"), *map(Column, figures)], rows)
    counts = ", ".join(f"{len(report.having(outcome)):,} {label}" for outcome, label in labels.items())
    out.line(f"{counts}; store: {store_root}")


def report_document(report: ConversionReport, store_root: str) -> dict[str, Any]:
    """Return the report as `Output.document` prints it."""
    counts = {f"n_{outcome}": len(report.having(outcome)) for outcome in ("converted", "skipped", "failed")}
    return {
        "store_root": store_root,
        **counts,
        "seconds": report.seconds,
        "is_indexed": report.is_indexed,
        "warnings": [*report.warnings, *([report.precision_warning] if report.precision_warning else [])],
        "samples": [
            {
                "sample_id": result.sample_id,
                "outcome": result.outcome,
                "reason": result.reason,
                "seconds": result.seconds,
                "source_bytes": result.source_bytes,
                "stored_bytes": result.stored_bytes,
                "peak_memory_bytes": result.peak_memory_bytes,
            }
            for result in report.results
        ],
    }


def exit_code(report: ConversionReport, *, debug: bool) -> int:
    """Print the failures on stderr, with tracebacks if `debug`, and return the exit code."""
    failed = report.having("failed")
    for result in failed:
        echo(f"failed: {result.reason}", err=True)
        if debug:
            echo(result.trace, err=True)
    if not failed:
        return 0
    return FAILED if len(failed) == len(report.results) else SOME_FAILED


def print_plan(plan: ConversionPlan, store_root: str, out: Output) -> None:
    """Print the plan of a conversion."""
    if plan.domains:
        out.table(*_domain_table(plan))
    to_do = plan.n_samples - plan.n_complete
    out.line(f"{to_do:,} samples to convert, {plan.n_complete:,} complete before; store: {store_root}")
    if plan.n_described:
        about = "" if plan.n_described == to_do else f" (from the sizes of {plan.n_described:,} of them)"
        out.line(
            f"{decimal(plan.source_bytes)} in, at most {decimal(plan.stored_bytes)} out before compression, "
            f"{plan.n_objects:,} objects{about}; {decimal(plan.memory_bytes)} of memory a worker"
        )
        out.line(_temporary_files(plan))
    if plan.workers.reason:
        out.line(str(plan.workers))
    for warning in plan.warnings:
        out.line(f"warning: {warning}")
    failures = list(plan.failures.values())
    for reason in failures[:_MAX_NAMED]:
        out.line(f"would fail: {reason}")
    if len(failures) > _MAX_NAMED:
        out.line(f"would fail: {len(failures) - _MAX_NAMED:,} more, which --json shows")


def plan_document(plan: ConversionPlan, store_root: str) -> dict[str, Any]:
    """Return the plan as `Output.document` prints it."""
    return {"store_root": store_root, **asdict(plan)}


def _temporary_files(plan: ConversionPlan) -> str:
    if not plan.scratch_bytes:
        return "no temporary files"
    count, each = plan.workers.n_workers, decimal(plan.scratch_bytes)
    of_all = f", {decimal(count * plan.scratch_bytes)} for {count} at the same time" if count > 1 else ""
    return f"at most {each} of temporary files a worker{of_all}, in {plan.scratch_directory}"


def _domain_table(plan: ConversionPlan) -> tuple[Sequence[Column], list[list[str]]]:
    figures = ("samples", "fields", "points a sample", "chunk points", "advised", "shards a field", "largest shard")
    rows = []
    for one in plan.domains:
        points = f"{one.points_min:,}"
        if one.points_max != one.points_min:
            points += f" to {one.points_max:,}"
        rows.append(
            [
                one.domain,
                f"{one.n_samples:,}",
                f"{one.n_fields}",
                points,
                f"{one.chunk_points:,}",
                f"{one.advised_chunk_points:,}",
                f"{one.n_shards:,}",
                decimal(one.shard_bytes),
            ]
        )
    return [Column("domain", "name"), *map(Column, figures)], rows


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02} h" if hours else f"{minutes}:{seconds:02} min"
