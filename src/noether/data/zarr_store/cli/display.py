"""Tables and progress, for people."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from noether.data.zarr_store.core import printable
from noether.data.zarr_store.sources.inspection import FoundArray, Inspection
from noether.data.zarr_store.statistics import CONFIDENCE, RunningStats, position_bounds
from noether.data.zarr_store.upkeep import DomainSummary, FieldSummary, SplitSummary, StoreSummary

__all__ = ["print_inspection", "print_statistics", "print_summary", "reading_progress"]

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
    if summary.origin is not None:
        console.print(f"{_origin_line(summary.origin)}; export adds it", soft_wrap=True)
    if summary.splits:
        splits = [one.split if summary.sample_id is not None else _split(one) for one in summary.splits]
        console.print(f"splits: {', '.join(splits)}")
    for key, value in summary.attributes.items():
        console.print(printable(f"{key}: {value}"))
    console.print(_domain_table(summary.domains))
    console.print(_field_table(summary.domains))
    for pending in summary.pending:
        what = f"pending: {pending.field}: {pending.n_lacking:,} of {pending.n_samples:,} samples lack it"
        console.print(printable(what), soft_wrap=True)
    fields = [field for domain in summary.domains for field in domain.fields]
    for one in fields:
        if one.units or one.long_name:
            console.print(_meaning_line(one), soft_wrap=True)
    for one in fields:
        if one.n_needing_float64:
            console.print(_digits_line(one), soft_wrap=True)


def _origin_line(origin: tuple[float, float, float]) -> str:
    return f"positions are relative to the origin ({', '.join(f'{one:.17g}' for one in origin)})"


def _meaning_line(field: FieldSummary) -> str:
    said = [field.long_name, None if field.units is None else f"[{field.units}]"]
    return printable(f"{field.field}: {' '.join(text for text in said if text)}")


def _digits_line(field: FieldSummary) -> str:
    which = f"note: {field.field} of {field.n_needing_float64:,} samples needs more digits than"
    if field.dtype == "float64":
        return f"{which} float32 has: read it with dtype={{{field.field!r}: 'float64'}}"
    return f"{which} {field.dtype} has; a new store keeps them with --origin X,Y,Z or --coords-dtype float64"


def print_inspection(found: Inspection, console: Console) -> None:
    """Print what files hold: a line and a table for each."""
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    samples = f"{found.n_samples:,} sample{'' if found.n_samples == 1 else 's'}"
    counts = f"{found.n_files:,} files of known formats, {samples}; of one sample: {len(found.files):,}"
    console.print(printable(f"{found.root}: {counts}"), soft_wrap=True)
    for notice in found.notices:
        console.print(printable(f"not read: {notice}"), soft_wrap=True)
    single = [file for file in found.files if [array.name for array in file.arrays] == [""]]
    if single:
        console.print(_array_table([replace(file.arrays[0], name=file.key) for file in single]))
    for file in found.files:
        if file in single:
            continue
        console.print()
        console.print(printable(f"{file.key}: {decimal(file.n_bytes)}"), soft_wrap=True)
        if file.problem is not None:
            console.print(printable(f"error: {file.problem}"), soft_wrap=True)
        if file.sample_groups:
            first = file.sample_groups[0]
            console.print(printable(f"{len(file.sample_groups):,} groups with the same arrays; this is {first}"))
        if file.steps.count:
            console.print(f"{file.steps.described()}; this is {file.steps.at(file.step or 0)}", soft_wrap=True)
        elif file.steps.problem is not None:
            console.print(f"last step of each time set, since {file.steps.problem}", soft_wrap=True)
        for part in file.parts:
            size = f"{part.n_points:,} points, {part.n_cells:,} cells of {part.dimension} dimensions"
            console.print(printable(f"part {part.name}: {size}"))
            if part.n_ghost_points or part.n_ghost_cells:
                ghosts = f"{part.n_ghost_points:,} points, {part.n_ghost_cells:,} cells"
                console.print(f"left out, as ghosts of other pieces (vtkGhostType): {ghosts}")
        if file.arrays:
            console.print(_array_table(file.arrays))


def _array_table(arrays: list[FoundArray]) -> Table:
    table = Table()
    shown = {"part": any(one.part for one in arrays), "of": any(one.association for one in arrays)}
    for column in ("array", *(name for name, wanted in shown.items() if wanted), "shape", "dtype"):
        table.add_column(column, overflow="fold")
    for column in ("min", "max", "NaN"):
        table.add_column(column, justify="right")
    for one in arrays:
        optional = {"part": printable(one.part or ""), "of": one.association or ""}
        ends = ("" if end is None else f"{end:.5g}" for end in (one.minimum, one.maximum))
        cells = [text for name, text in optional.items() if shown[name]]
        table.add_row(printable(one.name), *cells, str(one.shape), one.dtype, *ends, f"{one.n_nan:,}")
    return table


@contextmanager
def reading_progress() -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows how many values were read of how many: a bar on a terminal, nothing elsewhere."""
    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    columns = (TextColumn("reading"), BarColumn(), TaskProgressColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def print_statistics(
    stats: Mapping[str, RunningStats], console: Console, origin: tuple[float, float, float] | None = None
) -> None:
    """Print a table of the statistics of fields of a store with an origin, and what has to be known about them."""
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    console.print(_statistics_table(stats))
    bounds = position_bounds(stats)
    if bounds is not None and not np.isnan(bounds).any():
        low, high = (", ".join(map(_figure, bound)) for bound in bounds)
        console.print(f"positions of all domains: from ({low}) to ({high})", soft_wrap=True)
    if origin is not None:
        console.print(f"{_origin_line(origin)}, and so are their statistics", soft_wrap=True)
    estimates = [one for one in stats.values() if one.is_estimate]
    if estimates:
        largest = max(one.points_read / one.count for one in estimates)
        console.print(
            f"estimates, from at most {largest:.2%} of the points of a field: the true mean is within ± of the mean "
            f"with a confidence of {CONFIDENCE:.0%}; min and max need the full pass, without --tolerance",
            soft_wrap=True,
        )
    for field, one in stats.items():
        if one.non_finite.any():
            note = f"note: {field} has {one.non_finite.sum():,} NaN or infinite values, which are left out"
            console.print(note, soft_wrap=True)


def _statistics_table(stats: Mapping[str, RunningStats]) -> Table:
    names = ["points", "mean", "±", "std", "min", "max", "log mean", "log std"]
    estimates = [one.is_estimate for one in stats.values()]
    left_out = {"min", "max"} if all(estimates) else set() if any(estimates) else {"±"}
    names = [name for name in names if name not in left_out]
    table = Table()
    table.add_column("field")
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right")
    for field, one in stats.items():
        for i in range(one.width):
            cells = {
                "points": f"{one.count:,}" if i == 0 else "",
                "mean": _figure(one.mean[i]),
                "±": _figure(one.mean_margin[i]),
                "std": _figure(one.std[i]),
                "min": _figure(one.min[i]),
                "max": _figure(one.max[i]),
                "log mean": _figure(one.logmean[i]),
                "log std": _figure(one.logstd[i]),
            }
            component = "" if one.width == 1 else "xyz"[i] if one.width == 3 else str(i)
            table.add_row(field if i == 0 else "", component, *(cells[name] for name in names))
    return table


def _figure(value: float) -> str:
    return "?" if math.isnan(value) else f"{value:.5g}"


def _split(one: SplitSummary) -> str:
    return f"{one.split} {one.n_samples:,}" + (f" ({one.n_missing:,} not in the store)" if one.n_missing else "")


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
