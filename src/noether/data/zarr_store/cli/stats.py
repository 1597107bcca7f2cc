"""``noether-zarr stats``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.cli.display import print_statistics, reading_progress
from noether.data.zarr_store.cli.field_options import field_names, field_option
from noether.data.zarr_store.cli.stats_output import FlatOutputOption, OutputOption, check_outputs, write_outputs
from noether.data.zarr_store.manifest import StoreManifest
from noether.data.zarr_store.statistics import calculate_store_statistics, plot_histograms, plot_path


@command("stats")
def stats_command(
    store: Annotated[str, typer.Argument(help="Directory or URL of the store.")],
    split: Annotated[str | None, typer.Option(help="Split of the store (default: all samples).")] = None,
    limit: Annotated[int | None, typer.Option(help="Take only the first so many samples.")] = None,
    field: Annotated[list[str] | None, field_option("Field to include (default: all fields)")] = None,
    exclude_field: Annotated[list[str] | None, field_option("Field to leave out", "--exclude-field")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Threads that read at the same time (default: one a core, 16 for a URL).")
    ] = None,
    output: OutputOption = None,
    output_flat: FlatOutputOption = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="Read only as many chunks as make every mean this precise, as a part of the standard deviation."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Chooses the chunks for --tolerance, and the points for --plot.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Picture of histograms to make: .png, .pdf or .svg.")] = None,
    storage_option: StorageOption = None,
    debug: Debug = False,
) -> None:
    """Compute mean, standard deviation and extremes of the fields of STORE, component by component.

    The log columns are those of sign(x) log(1 + |x|). With --tolerance 0.01, some 40,000 points of each domain are
    read, at least one chunk of every sample, and 95 % confidence intervals are given; extremes need the full pass.
    """
    with errors_reported(debug, interrupted="nothing is written"):
        check_outputs(output, output_flat)
        if plot is not None:
            plot_path(plot)
        options = parse_options(storage_option, "--storage-option")
        with reading_progress() as progress:
            stats = calculate_store_statistics(
                store,
                fields=field_names(field),
                exclude_fields=field_names(exclude_field, "--exclude-field") or (),
                split=split,
                limit=limit,
                max_workers=workers,
                progress=progress,
                storage_options=options,
                tolerance=tolerance,
                seed=seed,
            )
        origin = StoreManifest.load(store, storage_options=options).origin
        print_statistics(stats, Console(markup=False, emoji=False, highlight=False), origin)
        write_outputs(stats, output, output_flat)
        if plot is not None:
            plot_histograms(store, stats, plot, split=split, limit=limit, storage_options=options, seed=seed)
            typer.echo(f"plotted: {plot}")
