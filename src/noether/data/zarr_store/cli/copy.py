"""``noether-zarr copy``."""

from __future__ import annotations

from typing import Annotated

import typer

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.cli.field_options import field_names, field_option
from noether.data.zarr_store.upkeep import copy_store


@command("copy")
def copy_command(
    store: Annotated[str, typer.Argument(help="Directory or URL of the store.")],
    destination: Annotated[str, typer.Argument(help="Directory or URL of the copy, new or to be gone on with.")],
    fraction: Annotated[float, typer.Option(help="Share of the points of each domain, in whole chunks.")] = 1.0,
    split: Annotated[str | None, typer.Option(help="Copy the samples of this split.")] = None,
    sample: Annotated[list[str] | None, typer.Option(help="Copy this sample. May be repeated.")] = None,
    field: Annotated[
        list[str] | None, field_option("Copy this field, and the positions of its domain (default: all fields)")
    ] = None,
    workers: Annotated[int, typer.Option(help="Samples that are copied at the same time.")] = 8,
    storage_option: StorageOption = None,
    destination_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Option of the copy's file system. May be repeated."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Copy STORE, or a part of it, without decompressing anything.

    Points are shuffled, so the first tenth of each domain is a uniform random subset of it, and a store of its own.
    The same command again copies what is missing.
    """
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
            on_sample=_show,
        )
        typer.echo(
            f"{report.copied} copied ({report.n_bytes / 1e6:,.1f} MB), {report.skipped} complete before; "
            f"store: {destination}"
        )


def _show(sample_id: str, n_bytes: int | None) -> None:
    typer.echo(f"{sample_id}: {'complete before' if n_bytes is None else f'{n_bytes / 1e6:,.1f} MB'}")
