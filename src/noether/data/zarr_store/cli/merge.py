"""``noether-zarr merge``."""

from __future__ import annotations

from typing import Annotated

import typer

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.core import printable
from noether.data.zarr_store.upkeep import merge_groups

SOME_REFUSED = 3
_MAX_NAMED = 5


@command("merge")
def merge_command(
    store: Annotated[str, typer.Argument(help="Directory or URL of the store.")],
    storage_option: StorageOption = None,
    debug: Debug = False,
) -> None:
    """Unite the samples that are there with the manifest of STORE, and make its chunk index.

    For stores that several runs wrote, each a part, and for those whose manifest was lost. Exit codes: 0 all are
    united, 3 some groups are none of this store.
    """
    with errors_reported(debug):
        report = merge_groups(store, storage_options=parse_options(storage_option, "--storage-option"))
        typer.echo(f"{len(report.added)} added, {len(report.updated)} updated, {len(report.unchanged)} as before")
        if report.missing:
            named = ", ".join(report.missing[:_MAX_NAMED]) + (", …" if len(report.missing) > _MAX_NAMED else "")
            typer.echo(
                f"note: in the manifest but not there, {len(report.missing)} in all: {named}; convert them again"
            )
        if report.removing:
            typer.echo(
                printable(
                    f"note: passed over, since their removal has not ended, {len(report.removing)} in all: "
                    f"{', '.join(report.removing[:_MAX_NAMED])}; finish it: noether-zarr repair {store}"
                )
            )
        for reason in report.refused.values():
            typer.echo(printable(f"refused: {reason}"), err=True)
        if report.refused:
            raise typer.Exit(SOME_REFUSED)
