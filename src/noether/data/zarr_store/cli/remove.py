"""``noether-zarr remove``."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.filesize import decimal

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.cli.field_options import field_names, field_option
from noether.data.zarr_store.cli.output import JsonOption, Output
from noether.data.zarr_store.cli.run_options import DryRunOption
from noether.data.zarr_store.core import count_of
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.upkeep import RemovedGroup, remove_fields, remove_samples


@command("remove")
def remove_command(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Directory or URL of the store.")],
    sample: Annotated[
        list[str] | None, typer.Option(metavar="SAMPLE", help="Sample to remove. May be repeated.")
    ] = None,
    field: Annotated[list[str] | None, field_option("Field to remove from all samples, such as volume_cp")] = None,
    dry_run: DryRunOption = False,
    storage_option: StorageOption = None,
    as_json: JsonOption = False,
    debug: Debug = False,
) -> None:
    """Remove samples or fields.

    A sample is removed with its entries in the manifest, the splits and the chunk index. A field is removed from all
    samples. If STORE lacks one of the names, nothing is removed. The same command again finishes a removal that was
    interrupted. A later conversion converts a removed sample again if the source still has it.
    """
    out = Output(as_json)
    with errors_reported(debug, "run the same command again to finish the removal"):
        options = parse_options(storage_option, "--storage-option")
        fields = field_names(field)
        if bool(sample) == bool(fields):
            raise ArgumentError("expected either --sample or --field, at least once; name samples or fields, not both")
        if sample:
            _remove_samples(store, sample, options, out, dry_run=dry_run)
        else:
            _remove_fields(store, fields or [], options, out, dry_run=dry_run)


def _remove_samples(store: str, samples: list[str], options: dict[str, Any], out: Output, *, dry_run: bool) -> None:
    verb = _verb(dry_run=dry_run)

    def show(group: RemovedGroup) -> None:
        size = f"{group.n_objects:,} objects, {decimal(group.n_bytes)}" if group.n_objects else "no objects left"
        out.line(f"{verb} {group.sample_id}: {size}")

    groups = remove_samples(store, samples, dry_run=dry_run, on_group=show, storage_options=options)
    for group in groups if dry_run else ():
        show(group)
    n_bytes = sum(group.n_bytes for group in groups)
    out.line(f"{verb} {count_of(len(groups), 'sample')}, {decimal(n_bytes)} in all")
    out.document({"store_root": store, "is_dry_run": dry_run, "n_bytes": n_bytes, "samples": groups})


def _remove_fields(store: str, fields: list[str], options: dict[str, Any], out: Output, *, dry_run: bool) -> None:
    removed = remove_fields(store, fields, dry_run=dry_run, storage_options=options)
    for one in removed:
        size = f"{one.n_objects:,} objects of {count_of(one.n_samples, 'sample')}, {decimal(one.n_bytes)}"
        out.line(f"{_verb(dry_run=dry_run)} {one.field}: {size}")
    n_bytes = sum(one.n_bytes for one in removed)
    out.document({"store_root": store, "is_dry_run": dry_run, "n_bytes": n_bytes, "fields": removed})


def _verb(*, dry_run: bool) -> str:
    return "would remove" if dry_run else "removed"
