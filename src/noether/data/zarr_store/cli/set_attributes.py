"""``noether-zarr set-attributes``."""

from __future__ import annotations

from typing import Annotated

import typer

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.core import printable
from noether.data.zarr_store.upkeep import read_attribute_table, set_attributes


@command("set-attributes")
def set_attributes_command(
    store: Annotated[str, typer.Argument(help="Directory or URL of the store.")],
    table: Annotated[str, typer.Argument(help="CSV file with a header and a row for each sample, or JSON file.")],
    id_column: Annotated[
        str | None, typer.Option(help="Column of the sample ids (default: sample_id, or else id).")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove all other attributes that these samples have.")
    ] = False,
    storage_option: StorageOption = None,
    debug: Debug = False,
) -> None:
    """Set attributes of samples of STORE from TABLE; no chunk is read or written.

    Numbers become numbers, and empty cells are left out. JSON is an object {sample_id: {name: value}}. Where STORE
    lacks a sample of TABLE, nothing is changed. The same command again completes one that was interrupted.
    """
    with errors_reported(debug, "run the same command again to set the rest"):
        options = parse_options(storage_option, "--storage-option")
        attributes = read_attribute_table(table, id_column=id_column)
        changed = set_attributes(store, attributes, replace=replace, storage_options=options)
        names = ", ".join(dict.fromkeys(name for values in attributes.values() for name in values))
        typer.echo(printable(f"{len(changed):,} of {len(attributes):,} samples changed; attributes: {names or 'none'}"))
