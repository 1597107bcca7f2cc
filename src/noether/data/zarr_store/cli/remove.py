"""``noether-zarr remove``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.filesize import decimal

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.core import printable
from noether.data.zarr_store.upkeep import RemovedGroup, remove_samples


@command("remove")
def remove_command(
    store: Annotated[str, typer.Argument(help="Directory or URL of the store.")],
    sample: Annotated[list[str], typer.Option(help="Sample to remove. May be repeated.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    storage_option: StorageOption = None,
    debug: Debug = False,
) -> None:
    """Remove samples from STORE: their groups, and what manifest, splits and chunk index say of them.

    Either all samples are removed or, where STORE lacks one, none. The same command again finishes a removal that was
    interrupted. A conversion from a source that still has a sample converts it again.
    """
    with errors_reported(debug, "run the same command again to finish the removal"):
        verb = "would remove" if dry_run else "removed"

        def show(group: RemovedGroup) -> None:
            what = f"{group.n_objects:,} objects, {decimal(group.n_bytes)}" if group.n_objects else "nothing was there"
            typer.echo(printable(f"{verb} {group.sample_id}: {what}"))

        options = parse_options(storage_option, "--storage-option")
        groups = remove_samples(store, sample, dry_run=dry_run, on_group=show, storage_options=options)
        for group in groups if dry_run else ():
            show(group)
        n_bytes = sum(group.n_bytes for group in groups)
        typer.echo(f"{verb} {len(groups):,} sample{'' if len(groups) == 1 else 's'}, {decimal(n_bytes)} in all")
