"""``noether-zarr bench``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, key_values, parse_options
from noether.data.zarr_store.cli.bench_output import print_throughput
from noether.data.zarr_store.cli.field_options import field_names, field_option
from noether.data.zarr_store.errors import ArgumentError


@command("bench")
def bench_command(
    store: Annotated[str, typer.Argument(help="Directory or URL of the store.")],
    num_points: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DOMAIN=N",
            help="Points to draw of a domain, or all; other domains are not read. May be repeated "
            "(default: 16384 of each).",
        ),
    ] = None,
    field: Annotated[list[str] | None, field_option("Field to read (default: all fields)")] = None,
    split: Annotated[str | None, typer.Option(help="Split of the store (default: all samples).")] = None,
    workers: Annotated[int, typer.Option(help="Processes that read; 0 reads in the loop itself.")] = 4,
    batch_size: Annotated[int, typer.Option(help="Samples of a batch.")] = 1,
    seconds: Annotated[float, typer.Option(help="How long to measure draws, after a warm-up of a second.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    storage_option: StorageOption = None,
    debug: Debug = False,
) -> None:
    """Measure what STORE gives on this machine: random draws through a loader, and what limits them.

    Beside it, the files are read plainly: local ones from front to back, objects by 16 ranges of 8 MiB at a time. This
    takes up to --seconds, and the same bytes are read again. What the operating system keeps in memory cannot be
    dropped without being root: the output says how much was there before, and compares the two passes.

    The limit is the storage, if draws read at least 0.7 of what the second pass gives; else handing over batches, if
    workers wait for bytes and decode in less than half of their time; else waiting or decoding, whichever takes more.
    """
    with errors_reported(debug, interrupted="nothing is written"):
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
        if as_json:
            typer.echo(json.dumps(asdict(found), indent=2))
        else:
            print_throughput(found, Console(markup=False, emoji=False, highlight=False))


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
