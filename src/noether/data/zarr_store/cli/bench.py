"""``noether-zarr bench``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, key_values, parse_options
from noether.data.zarr_store.cli.bench_output import print_throughput
from noether.data.zarr_store.cli.field_options import field_names, field_option
from noether.data.zarr_store.cli.output import JsonOption, Output
from noether.data.zarr_store.errors import ArgumentError


@command("bench")
def bench_command(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Directory or URL of the store.")],
    num_points: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DOMAIN=N",
            help="Number of points to draw from a domain, or all; other domains are not read. May be repeated "
            "(default: 16384 from each domain).",
        ),
    ] = None,
    field: Annotated[list[str] | None, field_option("Field to read (default: all fields)")] = None,
    split: Annotated[str | None, typer.Option(metavar="SPLIT", help="Split to read (default: all samples).")] = None,
    workers: Annotated[
        int, typer.Option(metavar="N", help="Number of reading processes; 0 reads in this process.")
    ] = 4,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Number of samples in a batch.")] = 1,
    seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="Duration of the measurement, after a warm-up of a second.")
    ] = 5.0,
    storage_option: StorageOption = None,
    as_json: JsonOption = False,
    debug: Debug = False,
) -> None:
    """Measure the speed of random draws.

    Draws go through a loader, as in training. For comparison, the same files are read sequentially, twice: local files
    from front to back, remote objects with 16 requests of 8 MiB at a time. Each pass takes up to --seconds. Only root
    can empty the page cache of the operating system, so the output shows which share of the files it held before.

    The output names the limit of the draws. It is the storage if they read at least 0.7 times as fast as the second
    pass. Otherwise it is the hand-over of batches if workers wait and decode in less than half of their time.
    Otherwise it is waiting or decoding, whichever takes longer.
    """
    out = Output(as_json)
    with errors_reported(debug, interrupted="nothing was written"):
        from noether.data.zarr_store.datasets import measure_throughput

        console = Console(stderr=True, markup=False, emoji=False, highlight=False)
        with console.status("measuring") as status:
            found = measure_throughput(
                store,
                num_points=_points(num_points),
                fields=field_names(field),
                split=split,
                num_workers=workers,
                batch_size=batch_size,
                seconds=seconds,
                storage_options=parse_options(storage_option, "--storage-option"),
                on_step=lambda step: status.update(f"measuring: {step}"),
            )
        print_throughput(found, out)
        out.document(found)


def _points(texts: list[str] | None) -> dict[str, int | None] | None:
    if not texts:
        return None
    pairs = [pair for text in texts for pair in text.split(",")]
    points: dict[str, int | None] = {}
    for domain, number in key_values(pairs, "--num-points", "DOMAIN=N").items():
        if number != "all" and not (number.isdecimal() and int(number) > 0):
            raise ArgumentError(f"--num-points: {domain}: expected a whole number above 0, or all, got {number!r}")
        points[domain] = None if number == "all" else int(number)
    return points
