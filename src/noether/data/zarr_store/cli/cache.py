"""``noether-zarr cache``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.filesize import decimal

from noether.data.zarr_store.cli import help_text
from noether.data.zarr_store.cli.app import Debug, StorageOption, errors_reported, group, parse_options
from noether.data.zarr_store.cli.field_options import field_names, field_option
from noether.data.zarr_store.cli.output import JsonOption, Output, echo
from noether.data.zarr_store.core import count_of
from noether.data.zarr_store.upkeep import clear_cache, fill_cache, show_cache

_MAX_NAMED = 5

CacheDir = Annotated[
    str | None,
    typer.Option("--cache-dir", metavar="PATH", help="Directory of the cache (default: NOETHER_ZARR_CACHE_DIR)."),
]

app = group("cache", "Manage the cache of remote chunks.")


@app.command("fill", cls=help_text.Command)
def fill_command(
    store: Annotated[str, typer.Argument(metavar="STORE", help="URL of the store.")],
    split: Annotated[str | None, typer.Option(metavar="SPLIT", help="Fetch only the samples of this split.")] = None,
    sample: Annotated[
        list[str] | None, typer.Option(metavar="SAMPLE", help="Fetch only this sample. May be repeated.")
    ] = None,
    field: Annotated[list[str] | None, field_option("Fetch only this field")] = None,
    cache_dir: CacheDir = None,
    cache_limit: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Largest size of the cache, such as '200 GB' (default: NOETHER_ZARR_CACHE_LIMIT, or else 100 GB).",
        ),
    ] = None,
    storage_option: StorageOption = None,
    as_json: JsonOption = False,
    debug: Debug = False,
) -> None:
    """Fetch chunks of a store into the cache.

    Later reads of these chunks send no requests. The same command again fetches the chunks that are missing.

    Exit codes: 0 all chunks are in the cache, 1 the cache has no room for all, or a read failed, 2 wrong usage.
    """
    out = Output(as_json)
    with errors_reported(debug):
        filled = fill_cache(
            store,
            cache_dir=cache_dir,
            cache_limit=cache_limit,
            split=split,
            sample_ids=sample or None,
            fields=field_names(field),
            storage_options=parse_options(storage_option, "--storage-option"),
            on_sample=lambda sample_id, n_bytes: out.line(f"{sample_id}: {decimal(n_bytes)}"),
        )
        out.line(
            f"{count_of(len(filled.samples), 'sample')} in the cache, {decimal(filled.n_bytes)}; "
            f"{decimal(filled.n_fetched)} fetched"
        )
        out.document({"store_root": store, **asdict(filled)})
        if filled.left_out:
            echo(
                f"no room for {count_of(len(filled.left_out), 'sample')}: {', '.join(filled.left_out[:_MAX_NAMED])}"
                f"{', …' if len(filled.left_out) > _MAX_NAMED else ''}; "
                "raise --cache-limit, or name a --split or --field",
                err=True,
            )
            raise typer.Exit(1)


@app.command("show", cls=help_text.Command)
def show_command(cache_dir: CacheDir = None, as_json: JsonOption = False, debug: Debug = False) -> None:
    """Show the size of the cache by store."""
    out = Output(as_json)
    with errors_reported(debug):
        stores = show_cache(cache_dir)
        for one in stores:
            out.line(f"{one.store_root}: {decimal(one.n_bytes)} in {count_of(one.n_files, 'file')}")
        n_bytes = sum(one.n_bytes for one in stores)
        out.line(f"{count_of(len(stores), 'store')}, {decimal(n_bytes)} in all")
        out.document({"n_bytes": n_bytes, "stores": stores})


@app.command("clear", cls=help_text.Command)
def clear_command(
    store: Annotated[
        str | None, typer.Argument(metavar="STORE", help="URL of the store (default: all stores).")
    ] = None,
    cache_dir: CacheDir = None,
    as_json: JsonOption = False,
    debug: Debug = False,
) -> None:
    """Remove files from the cache.

    The stores are not changed. A training that is running fetches its chunks again.
    """
    out = Output(as_json)
    with errors_reported(debug):
        n_files = clear_cache(cache_dir, store)
        out.line(f"removed {count_of(n_files, 'file')}")
        out.document({"n_files": n_files})
