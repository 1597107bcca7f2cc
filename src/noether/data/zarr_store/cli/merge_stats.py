"""``noether-zarr merge-stats``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from noether.data.zarr_store.cli.app import Debug, command, errors_reported
from noether.data.zarr_store.cli.display import print_statistics
from noether.data.zarr_store.cli.output import JsonOption, Output
from noether.data.zarr_store.cli.stats_output import (
    FlatOutputOption,
    OutputOption,
    check_outputs,
    print_outputs,
    write_outputs,
)
from noether.data.zarr_store.statistics import load_statistics, merge_statistics, statistics_to_dict


@command("merge-stats")
def merge_stats_command(
    files: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="JSON files that noether-zarr stats --output wrote.")
    ],
    output: OutputOption = None,
    output_flat: FlatOutputOption = None,
    as_json: JsonOption = False,
    debug: Debug = False,
) -> None:
    """Merge files of statistics.

    The result is the same as that of one pass over all samples. Each sample must be in one file only.
    """
    out = Output(as_json)
    with errors_reported(debug, interrupted="nothing was written"):
        check_outputs(output, output_flat)
        stats = merge_statistics([load_statistics(file) for file in files])
        written = write_outputs(stats, output, output_flat)
        print_statistics(stats, out)
        print_outputs(stats, written, output_flat, out)
        out.document({"statistics": statistics_to_dict(stats), "written": written})
