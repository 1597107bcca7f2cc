"""``noether-zarr cache``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.filesize import decimal

from noether.data.zarr_store.cli.app import Debug, StorageOption, errors_reported, group, parse_options
from noether.data.zarr_store.cli.field_options import field_names, field_option
from noether.data.zarr_store.core import printable
from noether.data.zarr_store.upkeep import clear_cache, fill_cache, show_cache

CacheDir = Annotated[
    str | None,
    typer.Option("--cache-dir", help="Directory of the cache; NOETHER_ZARR_CACHE_DIR unless it is given."),
]

app = group("cache", "Keep chunks of remote stores on this machine.")


@app.command("fill")
def fill_command(
    store: Annotated[str, typer.Argument(help="URL of the store.")],
    split: Annotated[str | None, typer.Option(help="Only the samples of this split.")] = None,
    sample: Annotated[list[str] | None, typer.Option(help="Only this sample. May be repeated.")] = None,
    field: Annotated[list[str] | None, field_option("Fetch only this field")] = None,
    cache_dir: CacheDir = None,
    cache_limit: Annotated[
        str | None,
        typer.Option(help="Most bytes of the cache, such as '200 GB'; NOETHER_ZARR_CACHE_LIMIT, or 100 GB."),
    ] = None,
    storage_option: StorageOption = None,
    debug: Debug = False,
) -> None:
    """Fetch chunks of STORE into the cache, so that reads of them cost no request.

    The same command again fetches what is missing. Exit codes: 0 all is there, 1 the cache has no room for all of it,
    or a read failed, 2 wrong usage.
    """
    with errors_reported(debug):
        filled = fill_cache(
            store,
            cache_dir=cache_dir,
            cache_limit=cache_limit,
            split=split,
            sample_ids=sample or None,
            fields=field_names(field),
            storage_options=parse_options(storage_option, "--storage-option"),
            on_sample=lambda sample_id, n_bytes: typer.echo(printable(f"{sample_id}: {decimal(n_bytes)}")),
        )
        typer.echo(
            f"{_count(len(filled.samples), 'sample')} in the cache, {decimal(filled.n_bytes)}; "
            f"{decimal(filled.n_fetched)} fetched"
        )
        if filled.left_out:
            typer.echo(
                printable(
                    f"no room for {_count(len(filled.left_out), 'sample')}: {', '.join(filled.left_out[:5])}"
                    f"{', …' if len(filled.left_out) > 5 else ''}; raise --cache-limit, or name a --split or --field"
                ),
                err=True,
            )
            raise typer.Exit(1)


@app.command("show")
def show_command(cache_dir: CacheDir = None, debug: Debug = False) -> None:
    """Show what the cache has of each store."""
    with errors_reported(debug):
        stores = show_cache(cache_dir)
        for one in stores:
            typer.echo(printable(f"{one.store_root}: {decimal(one.n_bytes)} in {_count(one.n_files, 'file')}"))
        typer.echo(f"{_count(len(stores), 'store')}, {decimal(sum(one.n_bytes for one in stores))} in all")


@app.command("clear")
def clear_command(
    store: Annotated[str | None, typer.Argument(help="URL of a store; all of them unless it is given.")] = None,
    cache_dir: CacheDir = None,
    debug: Debug = False,
) -> None:
    """Remove what the cache has of STORE, or of all stores.

    Nothing of the store itself is changed. Trainings that run fetch again what they need.
    """
    with errors_reported(debug):
        typer.echo(f"removed {_count(clear_cache(cache_dir, store), 'file')}")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
