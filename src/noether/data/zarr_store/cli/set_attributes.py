"""``noether-zarr set-attributes``."""

from __future__ import annotations

from typing import Annotated

import typer

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.cli.output import JsonOption, Output
from noether.data.zarr_store.upkeep import read_attribute_table, set_attributes


@command("set-attributes")
def set_attributes_command(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Directory or URL of the store.")],
    table: Annotated[
        str, typer.Argument(metavar="PATH", help="CSV file with a header and a row for each sample, or JSON file.")
    ],
    id_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column of the sample ids (default: sample_id, or else id).")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Remove all other attributes of these samples.")] = False,
    storage_option: StorageOption = None,
    as_json: JsonOption = False,
    debug: Debug = False,
) -> None:
    """Set attributes of samples.

    The table is a CSV file or a JSON object {sample_id: {name: value}}. In CSV, numeric cells become numbers, and empty
    cells are left out. If STORE lacks one of the samples, nothing is changed. No chunk is read or written. The same
    command again completes a change that was interrupted.
    """
    out = Output(as_json)
    with errors_reported(debug, "run the same command again to set the remaining attributes"):
        options = parse_options(storage_option, "--storage-option")
        attributes = read_attribute_table(table, id_column=id_column)
        changed = set_attributes(store, attributes, replace=replace, storage_options=options)
        names = list(dict.fromkeys(name for values in attributes.values() for name in values))
        out.line(f"{len(changed):,} of {len(attributes):,} samples changed; attributes: {', '.join(names) or 'none'}")
        out.document({"store_root": store, "n_samples": len(attributes), "changed": changed, "attributes": names})
