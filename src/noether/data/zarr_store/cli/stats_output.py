"""Files that ``noether-zarr stats`` and ``merge-stats`` write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from noether.data.zarr_store.cli.output import Output
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.statistics import (
    FLAT_BOUNDS,
    RunningStats,
    flat_names,
    output_path,
    save_statistics,
    statistics_to_dict,
)

__all__ = ["FlatOutputOption", "OutputOption", "check_outputs", "print_outputs", "write_outputs"]

OutputOption = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="File to write: .json, which merge-stats and Python read, or .yaml."),
]
FlatOutputOption = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="File to write for normalizers of other programs: .json or .yaml, a list for each figure of each field.",
    ),
]


def check_outputs(output: Path | None, output_flat: Path | None) -> None:
    """Raise `ArgumentError` if a file cannot be written, or both names are the same."""
    targets = [output_path(path).resolve() for path in (output, output_flat) if path is not None]
    if len(set(targets)) < len(targets):
        raise ArgumentError(f"--output and --output-flat: expected two files, got {output} for both; use another name")


def write_outputs(stats: Mapping[str, RunningStats], output: Path | None, output_flat: Path | None) -> list[Path]:
    """Write the requested files, and return their paths."""
    if output is not None:
        save_statistics(stats, output)
    if output_flat is not None:
        save_statistics(stats, output_flat, flat=True)
    return [path for path in (output, output_flat) if path is not None]


def print_outputs(
    stats: Mapping[str, RunningStats], written: Sequence[Path], output_flat: Path | None, out: Output
) -> None:
    """Print the paths of written files, and a note about figures that the flat file lacks."""
    for path in written:
        out.line(f"written: {path}")
    if output_flat is not None:
        _note_left_out(stats, output_flat, out)


def _note_left_out(stats: Mapping[str, RunningStats], output_flat: Path, out: Output) -> None:
    written = statistics_to_dict(stats, flat=True)
    lacking = [name for name in flat_names(stats) if name not in written]
    is_estimate = any(one.is_estimate for one in stats.values())
    unread = [name for name in lacking if is_estimate and name in FLAT_BOUNDS]
    for names, reason in (
        ([name for name in lacking if name not in unread], "the figure is not finite"),
        (unread, "extremes need all points; leave out --tolerance"),
    ):
        if names:
            out.note(f"note: {output_flat} lacks {', '.join(names)}: {reason}")
