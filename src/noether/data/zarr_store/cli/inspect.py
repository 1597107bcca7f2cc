"""``noether-zarr inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from noether.data.zarr_store.cli.app import Debug, command, errors_reported, parse_options
from noether.data.zarr_store.cli.display import print_inspection
from noether.data.zarr_store.cli.output import JsonOption, Output, echo
from noether.data.zarr_store.cli.source_options import SourceOption
from noether.data.zarr_store.core import printable
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.sources.inspection import inspect


@command("inspect")
def inspect_command(
    path: Annotated[str, typer.Argument(metavar="SOURCE", help="File or directory, local or a URL.")],
    mapping: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Write the proposed mapping to this new file (default: print it)."),
    ] = None,
    source_option: SourceOption = None,
    as_json: JsonOption = False,
    debug: Debug = False,
) -> None:
    """List the arrays in source files, and propose a mapping.

    Of a directory, the files of the first sample are listed: the name, shape, dtype, range and number of NaN of each
    array. Check the proposed mapping before you convert with it.
    """
    out = Output(as_json)
    with errors_reported(debug, "nothing was written"):
        found = inspect(path, parse_options(source_option, "--source-option"))
        if mapping is not None:
            _write_new(mapping, found.mapping)
        print_inspection(found, out)
        out.document(found)
        if found.n_samples == 0:
            echo("no domain is complete; the comments in the mapping name the missing arrays", err=True)
        if mapping is not None:
            out.note(f"the proposed mapping is in {mapping}; check it before use")
        elif not as_json:
            out.line("\nA mapping.toml for these files; check it before use:\n")
            typer.echo(printable(found.mapping), nl=False)


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ArgumentError(f"--mapping {path}: cannot be written ({error.strerror}); use another path") from error
