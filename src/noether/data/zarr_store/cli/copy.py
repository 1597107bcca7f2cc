"""``noether-zarr copy``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.filesize import decimal

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.cli.field_options import field_names, field_option
from noether.data.zarr_store.cli.output import JsonOption, Output
from noether.data.zarr_store.upkeep import copy_store


@command("copy")
def copy_command(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Directory or URL of the store.")],
    destination: Annotated[
        str, typer.Argument(metavar="DESTINATION", help="Directory or URL of the copy, new or unfinished.")
    ],
    fraction: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of the points of each domain, in whole chunks.")
    ] = 1.0,
    split: Annotated[str | None, typer.Option(metavar="SPLIT", help="Copy the samples of this split.")] = None,
    sample: Annotated[
        list[str] | None, typer.Option(metavar="SAMPLE", help="Copy this sample. May be repeated.")
    ] = None,
    field: Annotated[
        list[str] | None, field_option("Copy this field, and the positions of its domain (default: all fields)")
    ] = None,
    workers: Annotated[int, typer.Option(metavar="N", help="Number of samples to copy at the same time.")] = 8,
    storage_option: StorageOption = None,
    destination_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Option of the storage of the copy. May be repeated."),
    ] = None,
    as_json: JsonOption = False,
    debug: Debug = False,
) -> None:
    """Copy a store or a part of it.

    Chunks are copied without decompression. Points are stored in random order, so --fraction 0.1 copies a uniform
    random subset of each domain. The same command again copies the samples that are missing.
    """
    out = Output(as_json)
    samples: list[dict[str, object]] = []

    def show(sample_id: str, n_bytes: int | None) -> None:
        samples.append({"sample_id": sample_id, "is_copied": n_bytes is not None, "n_bytes": n_bytes or 0})
        out.line(f"{sample_id}: {'complete before' if n_bytes is None else decimal(n_bytes)}")

    with errors_reported(debug):
        report = copy_store(
            store,
            destination,
            fraction=fraction,
            split=split,
            sample_ids=sample,
            fields=field_names(field),
            workers=workers,
            storage_options=parse_options(storage_option, "--storage-option"),
            destination_options=parse_options(destination_option, "--destination-option"),
            on_sample=show,
        )
        out.line(
            f"{report.copied:,} copied ({decimal(report.n_bytes)}), {report.skipped:,} complete before; "
            f"store: {destination}"
        )
        out.document(
            {
                "store_root": store,
                "destination": destination,
                "n_copied": report.copied,
                "n_skipped": report.skipped,
                "n_bytes": report.n_bytes,
                "samples": samples,
            }
        )
