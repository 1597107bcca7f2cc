"""The output of ``info``, ``inspect`` and ``stats``, and the progress of commands that read a store."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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

from noether.data.zarr_store.cli.output import Output
from noether.data.zarr_store.cli.tables import Column
from noether.data.zarr_store.core import count_of
from noether.data.zarr_store.sources.inspection import FileContents, FoundArray, Inspection
from noether.data.zarr_store.statistics import CONFIDENCE, RunningStats, position_bounds
from noether.data.zarr_store.upkeep import DomainSummary, FieldSummary, SplitSummary, StoreSummary

__all__ = ["print_inspection", "print_statistics", "print_summary", "reading_progress"]

Table = tuple[Sequence[Column], list[list[str]]]


def print_summary(summary: StoreSummary, out: Output) -> None:
    """Print the contents of a store or a sample: lines, then tables of its domains and fields."""
    scope = f"sample {summary.sample_id}" if summary.sample_id is not None else count_of(summary.n_samples, "sample")
    out.line(f"{summary.dataset_name}: {scope} in {summary.store_root}")
    out.line(
        f"{decimal(summary.total_bytes)} in {summary.n_objects:,} objects; {summary.compressor}, "
        f"checksums {'on' if summary.checksum else 'off'}, shuffled by {summary.shuffle_algorithm or 'another tool'} "
        f"with seed {summary.shuffle_seed}"
    )
    if summary.origin is not None:
        out.line(f"{_origin_line(summary.origin)}; export adds it")
    if summary.splits:
        splits = [one.split if summary.sample_id is not None else _split(one) for one in summary.splits]
        out.line(f"splits: {', '.join(splits)}")
    for key, value in summary.attributes.items():
        out.line(f"{key}: {value}")
    out.table(*_domain_table(summary.domains))
    out.table(*_field_table(summary.domains))
    for pending in summary.pending:
        out.line(f"pending: {pending.field}: {pending.n_lacking:,} of {pending.n_samples:,} samples lack it")
    fields = [field for domain in summary.domains for field in domain.fields]
    for one in fields:
        if one.units or one.long_name:
            out.line(_meaning_line(one))
    for one in fields:
        if one.n_needing_float64:
            out.line(_digits_line(one))


def _origin_line(origin: tuple[float, float, float]) -> str:
    return f"positions are relative to the origin ({', '.join(f'{one:.17g}' for one in origin)})"


def _meaning_line(field: FieldSummary) -> str:
    texts = [field.long_name, None if field.units is None else f"[{field.units}]"]
    return f"{field.field}: {' '.join(text for text in texts if text)}"


def _digits_line(field: FieldSummary) -> str:
    which = f"note: {field.field} of {count_of(field.n_needing_float64, 'sample')} needs more digits than"
    if field.dtype == "float64":
        return f"{which} float32 has; read it with dtype={{{field.field!r}: 'float64'}}"
    return f"{which} {field.dtype} has; convert to a new store with --origin X,Y,Z or --coords-dtype float64"


def print_inspection(found: Inspection, out: Output) -> None:
    """Print the contents of files: a line and a table for each."""
    counts = f"{count_of(found.n_files, 'file')} of known formats, {count_of(found.n_samples, 'sample')}"
    out.line(f"{found.root}: {counts}; files of the first sample: {len(found.files):,}")
    for notice in found.notices:
        out.line(f"not read: {notice}")
    single = [file for file in found.files if [array.name for array in file.arrays] == [""]]
    if single:
        out.table(*_array_table([replace(file.arrays[0], name=file.key) for file in single]))
    for file in found.files:
        if file not in single:
            _print_file(file, out)


def _print_file(file: FileContents, out: Output) -> None:
    out.line()
    out.line(f"{file.key}: {decimal(file.n_bytes)}")
    if file.problem is not None:
        out.line(f"error: {file.problem}")
    if file.sample_groups:
        out.line(f"{len(file.sample_groups):,} groups with the same arrays; this is {file.sample_groups[0]}")
    if file.steps.count:
        out.line(f"{file.steps.described()}; this is {file.steps.at(file.step or 0)}")
    elif file.steps.problem is not None:
        out.line(f"the last step of each time set is shown, since {file.steps.problem}")
    for part in file.parts:
        size = f"{part.n_points:,} points, {part.n_cells:,} cells of {part.dimension} dimensions"
        out.line(f"part {part.name}: {size}")
        if part.n_ghost_points or part.n_ghost_cells:
            ghosts = f"{part.n_ghost_points:,} points, {part.n_ghost_cells:,} cells"
            out.line(f"left out, as ghosts of other pieces (vtkGhostType): {ghosts}")
    if file.arrays:
        out.table(*_array_table(file.arrays))


def _array_table(arrays: list[FoundArray]) -> Table:
    shown = {"part": any(one.part for one in arrays), "of": any(one.association for one in arrays)}
    titles = ("array", *(name for name, is_shown in shown.items() if is_shown), "shape", "dtype")
    rows = []
    for one in arrays:
        optional = {"part": one.part or "", "of": one.association or ""}
        cells = [text for name, text in optional.items() if shown[name]]
        ends = ("" if end is None else f"{end:.5g}" for end in (one.minimum, one.maximum))
        rows.append([one.name, *cells, str(one.shape), one.dtype, *ends, f"{one.n_nan:,}"])
    return [*(Column(title, "name") for title in titles), *map(Column, ("min", "max", "NaN"))], rows


@contextmanager
def reading_progress() -> Iterator[Callable[[int, int], None]]:
    """Yield a progress callback that takes the amount read and the total amount. It shows a bar on a terminal only."""
    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    columns = (TextColumn("reading"), BarColumn(), TaskProgressColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def print_statistics(
    stats: Mapping[str, RunningStats], out: Output, origin: tuple[float, float, float] | None = None
) -> None:
    """Print a table of statistics, and notes on the origin of the store, on estimates and on values left out."""
    out.table(*_statistics_table(stats))
    bounds = position_bounds(stats)
    if bounds is not None and not np.isnan(bounds).any():
        low, high = (", ".join(map(_figure, bound)) for bound in bounds)
        out.line(f"positions of all domains: from ({low}) to ({high})")
    if origin is not None:
        out.line(f"{_origin_line(origin)}, and so are their statistics")
    estimates = [one for one in stats.values() if one.is_estimate]
    if estimates:
        largest = max(one.points_read / one.count for one in estimates)
        out.line(
            f"estimates, from at most {largest:.2%} of the points of a field: the true mean is within ± of the mean "
            f"with a confidence of {CONFIDENCE:.0%}; min and max need the full pass, without --tolerance"
        )
    for field, one in stats.items():
        if one.non_finite.any():
            out.note(f"note: {field} has {one.non_finite.sum():,} NaN or infinite values, which are left out")


def _statistics_table(stats: Mapping[str, RunningStats]) -> Table:
    names = ["points", "mean", "±", "std", "min", "max", "log mean", "log std"]
    estimates = [one.is_estimate for one in stats.values()]
    left_out = {"min", "max"} if all(estimates) else set() if any(estimates) else {"±"}
    names = [name for name in names if name not in left_out]
    rows = []
    for field, one in stats.items():
        for i in range(one.width):
            cells = {
                "points": f"{one.count:,}",
                "mean": _figure(one.mean[i]),
                "±": _figure(one.mean_margin[i]),
                "std": _figure(one.std[i]),
                "min": _figure(one.min[i]),
                "max": _figure(one.max[i]),
                "log mean": _figure(one.logmean[i]),
                "log std": _figure(one.logstd[i]),
            }
            component = "" if one.width == 1 else "xyz"[i] if one.width == 3 else str(i)
            rows.append([field, component, *(cells[name] for name in names)])
    return [Column("field", "name"), Column("", "name"), *map(Column, names)], rows


def _figure(value: float) -> str:
    return "?" if math.isnan(value) else f"{value:.5g}"


def _split(one: SplitSummary) -> str:
    return f"{one.split} {one.n_samples:,}" + (f" ({one.n_missing:,} not in the store)" if one.n_missing else "")


def _domain_table(domains: list[DomainSummary]) -> Table:
    figures = ("samples", "points a sample", "chunk points", "chunks", "shards", "bytes", "source", "ratio")
    rows = []
    for one in domains:
        points = f"{one.points_min:,}"
        if one.points_max != one.points_min:
            points += f" to {one.points_max:,}"
        sizes = f"{one.chunk_points[0]:,}"
        if len(one.chunk_points) > 1:
            sizes += f" to {one.chunk_points[-1]:,}"
        counts = [f"{one.n_samples:,}", points, sizes, f"{one.chunks:,}", f"{one.shards:,}"]
        rows.append([one.domain, *counts, decimal(one.stored_bytes), *_against_source(one)])
    return [Column("domain", "name"), *map(Column, figures)], rows


def _field_table(domains: list[DomainSummary]) -> Table:
    figures = ("bytes", "source", "ratio", "largest error", "largest relative error", "flushed to 0")
    rows = []
    for one in (field for domain in domains for field in domain.fields):
        errors = [_error(one.max_abs_error), _error(one.max_rel_error)]
        flushed = "?" if one.flushed_to_zero is None else f"{one.flushed_to_zero:,}"
        rows.append([one.field, one.dtype, decimal(one.stored_bytes), *_against_source(one), *errors, flushed])
    return [Column("field", "name"), Column("stored as", "name"), *map(Column, figures)], rows


def _against_source(one: DomainSummary | FieldSummary) -> tuple[str, str]:
    if not one.source_bytes:
        return "?", "?"
    return decimal(one.source_bytes), f"{one.stored_bytes / one.source_bytes:.2f}"


def _error(error: float | None) -> str:
    if error is None:
        return "?"
    return "exact" if error == 0 else f"{error:.2g}"
