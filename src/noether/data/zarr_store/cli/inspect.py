"""``noether-zarr inspect``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from noether.data.zarr_store.cli.app import Debug, command, errors_reported, parse_options
from noether.data.zarr_store.cli.display import print_inspection
from noether.data.zarr_store.cli.source_options import SourceOption
from noether.data.zarr_store.core import printable
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.sources.inspection import inspect


@command("inspect")
def inspect_command(
    path: Annotated[str, typer.Argument(metavar="FILE_OR_DIR", help="File, or directory of samples; path or URL.")],
    mapping: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the proposed mapping.toml there (default: print it).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    source_option: SourceOption = None,
    debug: Debug = False,
) -> None:
    """List what a file, or the first sample of a directory, holds: shapes, dtypes, ranges, NaN. Propose a mapping."""
    with errors_reported(debug, "nothing was written"):
        found = inspect(path, parse_options(source_option, "--source-option"))
        if mapping is not None:
            _write_new(mapping, found.mapping)
        if as_json:
            typer.echo(json.dumps(asdict(found), indent=2))
            return
        print_inspection(found, Console(markup=False, emoji=False, highlight=False))
        if found.n_samples == 0:
            typer.echo("\nno domain is complete: the comments of the mapping say what is missing", err=True)
        if mapping is None:
            typer.echo(
                f"\nA mapping.toml for these files; check it before use:\n\n{printable(found.mapping)}", nl=False
            )
        else:
            typer.echo(f"the proposed mapping is in {mapping}; check it before use")


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ArgumentError(f"--mapping {path}: cannot be written ({error.strerror}); name another file") from error
