"""``noether-zarr merge``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from noether.data.zarr_store.cli.app import Debug, StorageOption, command, errors_reported, parse_options
from noether.data.zarr_store.cli.output import JsonOption, Output, echo
from noether.data.zarr_store.core import count_of
from noether.data.zarr_store.upkeep import merge_groups

SOME_REFUSED = 3
_MAX_NAMED = 5


@command("merge")
def merge_command(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Directory or URL of the store.")],
    storage_option: StorageOption = None,
    as_json: JsonOption = False,
    debug: Debug = False,
) -> None:
    """List all samples in the manifest.

    Every complete group below STORE is added to its manifest, and the chunk index is written. Use this command after
    conversions with --part, or if the manifest was lost.

    Exit codes: 0 all samples are listed, 3 some groups do not belong to this store, 2 wrong usage, 1 the store cannot
    be read.
    """
    out = Output(as_json)
    with errors_reported(debug):
        report = merge_groups(store, storage_options=parse_options(storage_option, "--storage-option"))
        out.line(f"{len(report.added):,} added, {len(report.updated):,} updated, {len(report.unchanged):,} unchanged")
        if report.is_new:
            out.note(
                "note: there was no manifest, so the new one has no splits; set them with noether-zarr split, or with "
                "convert --split-file"
            )
        if report.missing:
            what = f"{count_of(len(report.missing), 'sample')} of the manifest without a group"
            out.note(f"note: {what}: {_named(report.missing)}; convert them again")
        if report.removing:
            what = f"left out {count_of(len(report.removing), 'sample')} whose removal is unfinished"
            out.note(f"note: {what}: {_named(report.removing)}; finish it with noether-zarr repair {store}")
        for reason in report.refused.values():
            echo(f"refused: {reason}", err=True)
        out.document({"store_root": store, **asdict(report)})
        if report.refused:
            raise typer.Exit(SOME_REFUSED)


def _named(sample_ids: Sequence[str]) -> str:
    return ", ".join(sample_ids[:_MAX_NAMED]) + (", …" if len(sample_ids) > _MAX_NAMED else "")
