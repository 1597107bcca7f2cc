"""``noether-zarr remove``."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.filesize import decimal

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.cli.field_options import field_names, field_option
from noether.data.zarr_store.core import printable
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.upkeep import RemovedGroup, remove_fields, remove_samples


@command("remove")
def remove_command(
    store: Annotated[str, typer.Argument(help="Directory or URL of the store.")],
    sample: Annotated[list[str] | None, typer.Option(help="Sample to remove. May be repeated.")] = None,
    field: Annotated[list[str] | None, field_option("Field to remove from all samples, such as volume_cp")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    storage_option: StorageOption = None,
    debug: Debug = False,
) -> None:
    """Remove samples from STORE, or fields from all its samples, with what manifest and chunk index say of them.

    Either all that is named is removed or, where STORE lacks one of it, nothing. The same command again finishes a
    removal that was interrupted. A conversion from a source that still has a sample converts it again.
    """
    with errors_reported(debug, "run the same command again to finish the removal"):
        options = parse_options(storage_option, "--storage-option")
        fields = field_names(field)
        if bool(sample) == bool(fields):
            raise ArgumentError("expected either --sample or --field, at least once")
        if sample:
            _remove_samples(store, sample, options, dry_run=dry_run)
        else:
            _remove_fields(store, fields or [], options, dry_run=dry_run)


def _remove_samples(store: str, samples: list[str], options: dict[str, Any], *, dry_run: bool) -> None:
    verb = _verb(dry_run=dry_run)

    def show(group: RemovedGroup) -> None:
        what = f"{group.n_objects:,} objects, {decimal(group.n_bytes)}" if group.n_objects else "nothing was there"
        typer.echo(printable(f"{verb} {group.sample_id}: {what}"))

    groups = remove_samples(store, samples, dry_run=dry_run, on_group=show, storage_options=options)
    for group in groups if dry_run else ():
        show(group)
    n_bytes = sum(group.n_bytes for group in groups)
    typer.echo(f"{verb} {len(groups):,} sample{'' if len(groups) == 1 else 's'}, {decimal(n_bytes)} in all")


def _remove_fields(store: str, fields: list[str], options: dict[str, Any], *, dry_run: bool) -> None:
    for one in remove_fields(store, fields, dry_run=dry_run, storage_options=options):
        samples = f"{one.n_samples:,} sample{'' if one.n_samples == 1 else 's'}"
        what = f"{one.n_objects:,} objects of {samples}, {decimal(one.n_bytes)}"
        typer.echo(printable(f"{_verb(dry_run=dry_run)} {one.field}: {what}"))


def _verb(*, dry_run: bool) -> str:
    return "would remove" if dry_run else "removed"
