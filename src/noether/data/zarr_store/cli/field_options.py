"""The options ``--field`` and ``--exclude-field`` of all commands, spelled the same way everywhere."""

from __future__ import annotations

from typing import Any

import typer

from noether.data.zarr_store.errors import ArgumentError

__all__ = ["field_names", "field_option"]


def field_option(help_text: str, option: str = "--field") -> Any:
    """Return an option that names fields; `field_names` reads its values."""
    return typer.Option(option, metavar="FIELD", help=f"{help_text}. May be repeated; a,b names two fields.")


def field_names(texts: list[str] | None, option: str = "--field") -> list[str] | None:
    """Return the field names in the values of an option, each name once; None if there are no values.

    Raises
    ------
    ArgumentError
        A name is empty.
    """
    names = [name.strip() for text in texts or () for name in text.split(",")]
    if "" in names:
        raise ArgumentError(f"{option}: expected a name such as surface_pressure, got an empty name; write NAME,NAME")
    return list(dict.fromkeys(names)) or None
