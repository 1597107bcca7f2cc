"""What all commands share: the application, options, and how errors become a line and an exit code."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from noether.data.zarr_store._version import __version__
from noether.data.zarr_store.core import printable
from noether.data.zarr_store.errors import ArgumentError, StoreError

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "WRONG_USAGE",
    "Debug",
    "StorageOption",
    "app",
    "errors_reported",
    "key_values",
    "parse_options",
]

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="noether-zarr",
    help="Sharded, pre-shuffled Zarr v3 stores for CFD point data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
StorageOption = Annotated[
    list[str] | None,
    typer.Option(
        "--storage-option",
        metavar="KEY=VALUE",
        help="Option of the store's file system, such as endpoint=http://127.0.0.1:8333. May be repeated.",
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None: ...


@contextmanager
def errors_reported(
    debug: bool, interrupted: str = "what is complete is kept: run the same command again to go on"
) -> Iterator[None]:
    """Turn errors into one line and an exit code; the traceback is for those who ask for it.

    Parameters
    ----------
    debug : bool
        Whether the traceback is shown.
    interrupted : str
        What Ctrl-C left behind.
    """
    try:
        yield
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        typer.echo(f"interrupted; {interrupted}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, StoreError):
            typer.echo(printable(f"error: {error}"), err=True)
        else:
            text = f"unexpected error: {type(error).__name__}: {error} (--debug shows where)"
            typer.echo(printable(text), err=True)
        raise typer.Exit(WRONG_USAGE if isinstance(error, ArgumentError) else FAILED) from error


def key_values(pairs: list[str] | None, option: str, form: str = "KEY=VALUE") -> dict[str, str]:
    parsed = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not (key and equals and value):
            raise ArgumentError(f"{option}: expected {form}, got {pair!r}")
        parsed[key] = value
    return parsed


def parse_options(pairs: list[str] | None, option: str) -> dict[str, Any]:
    """Parse options of a file system; objects, lists and booleans are written as JSON."""
    options: dict[str, Any] = dict(key_values(pairs, option))
    for key, value in options.items():
        if value in {"true", "false"} or value[0] in "{[":
            try:
                options[key] = json.loads(value)
            except ValueError as error:
                raise ArgumentError(
                    f"{option}: {key}: expected JSON after a bracket, got {value!r} ({error})"
                ) from error
    return options
