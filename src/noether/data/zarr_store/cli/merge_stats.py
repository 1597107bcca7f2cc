"""``noether-zarr merge-stats``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from noether.data.zarr_store.cli.app import Debug, command, errors_reported
from noether.data.zarr_store.cli.display import print_statistics
from noether.data.zarr_store.cli.stats_output import FlatOutputOption, OutputOption, check_outputs, write_outputs
from noether.data.zarr_store.statistics import load_statistics, merge_statistics


@command("merge-stats")
def merge_stats_command(
    files: Annotated[list[Path], typer.Argument(help="JSON files that `noether-zarr stats --output` wrote.")],
    output: OutputOption = None,
    output_flat: FlatOutputOption = None,
    debug: Debug = False,
) -> None:
    """Merge statistics that were computed apart, as of splits or on several machines.

    The result is that of one pass over all samples. No sample may be in more than one of the FILES.
    """
    with errors_reported(debug, interrupted="nothing is written"):
        check_outputs(output, output_flat)
        stats = merge_statistics([load_statistics(file) for file in files])
        print_statistics(stats, Console(markup=False, emoji=False, highlight=False))
        write_outputs(stats, output, output_flat)
