"""The options that several commands share: one spelling, one form of values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from noether.data.zarr_store.cli import load_command
from noether.data.zarr_store.cli.app import COMMANDS
from noether.data.zarr_store.cli.field_options import field_names
from noether.data.zarr_store.errors import ArgumentError


def options() -> Iterator[tuple[str, Any]]:
    """Every option of every command, as the name of the command and the option."""
    for name in COMMANDS:
        loaded = load_command(name)
        for command in getattr(loaded, "commands", {name: loaded}).values():
            yield from ((name, one) for one in command.params if one.param_type_name == "option")


def test_options_that_name_fields_are_spelled_the_same() -> None:
    names = {(name, tuple(one.opts), one.metavar) for name, one in options() if one.name in {"field", "exclude_field"}}
    with_fields = {"add-fields", "bench", "cache", "copy", "export", "plot", "remove", "stats"}
    assert names == {
        *((name, ("--field",), "FIELD") for name in with_fields),
        ("stats", ("--exclude-field",), "FIELD"),
    }
    assert not [one.opts for _, one in options() if {"--fields", "--exclude", "--samples"} & set(one.opts)]


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (None, None),
        ([], None),
        (["a"], ["a"]),
        (["a,b", "c"], ["a", "b", "c"]),
        (["a, b", " a"], ["a", "b"]),
    ],
)
def test_field_names_accept_commas_and_repeats(texts: list[str] | None, names: list[str] | None) -> None:
    assert field_names(texts) == names


@pytest.mark.parametrize("text", ["", ",", "a,", "a,,b"])
def test_field_names_refuse_empty_names(text: str) -> None:
    with pytest.raises(ArgumentError, match=r"^--exclude-field: expected a name such as surface_pressure"):
        field_names([text], "--exclude-field")
