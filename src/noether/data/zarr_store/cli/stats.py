"""``noether-zarr stats``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.cli.display import print_statistics, reading_progress
from noether.data.zarr_store.cli.field_options import field_names, field_option
from noether.data.zarr_store.cli.output import JsonOption, Output
from noether.data.zarr_store.cli.run_options import LimitOption, ThreadsOption
from noether.data.zarr_store.cli.stats_output import (
    FlatOutputOption,
    OutputOption,
    check_outputs,
    print_outputs,
    write_outputs,
)
from noether.data.zarr_store.manifest import StoreManifest
from noether.data.zarr_store.statistics import (
    calculate_store_statistics,
    picture_path,
    plot_histograms,
    statistics_to_dict,
)


@command("stats")
def stats_command(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Directory or URL of the store.")],
    split: Annotated[str | None, typer.Option(metavar="SPLIT", help="Split to read (default: all samples).")] = None,
    limit: LimitOption = None,
    field: Annotated[list[str] | None, field_option("Field to include (default: all fields)")] = None,
    exclude_field: Annotated[list[str] | None, field_option("Field to leave out", "--exclude-field")] = None,
    workers: ThreadsOption = None,
    output: OutputOption = None,
    output_flat: FlatOutputOption = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            help="Read chunks until the 95 % confidence interval of every mean is within ± NUMBER standard deviations.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Seed of the choice of chunks for --tolerance and of points for --plot.")
    ] = 0,
    plot: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Picture of histograms to write: .png, .pdf or .svg.")
    ] = None,
    storage_option: StorageOption = None,
    as_json: JsonOption = False,
    debug: Debug = False,
) -> None:
    """Compute statistics of fields.

    The table has mean, standard deviation, minimum and maximum of each component. The log columns are the mean and
    standard deviation of sign(x) log(1 + |x|).

    --tolerance 0.01 reads about 40,000 points of each domain, and at least one chunk of every sample. Minimum and
    maximum need all points, without --tolerance.
    """
    out = Output(as_json)
    with errors_reported(debug, interrupted="nothing was written"):
        check_outputs(output, output_flat)
        if plot is not None:
            picture_path(plot, "plotting histograms")
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
        # The files are written first: a pipe such as `| head` can end the command while it prints.
        written = write_outputs(stats, output, output_flat)
        if plot is not None:
            plot_histograms(store, stats, plot, split=split, limit=limit, storage_options=options, seed=seed)
        print_statistics(stats, out, origin)
        print_outputs(stats, written, output_flat, out)
        if plot is not None:
            out.line(f"plotted: {plot}")
            written.append(plot)
        out.document(
            {"store_root": store, "origin": origin, "statistics": statistics_to_dict(stats), "written": written}
        )
