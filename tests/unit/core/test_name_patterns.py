"""Patterns that match the names of the parts of an EnSight mesh."""

from __future__ import annotations

import pytest

from noether.data.zarr_store.core import name_matches


@pytest.mark.parametrize(
    ("name", "pattern", "matches"),
    [
        ("wall[car]", "wall[car]", True),
        ("wallc", "wall[car]", False),
        ("wall[car]", "wall[*]", True),
        ("wall[car]", "*[!x]*", False),
        ("a[!x]b", "*[!x]*", True),
        ("body 1", "body ?", True),
        ("body 12", "body ?", False),
        ("body", "body*", True),
        ("Body", "body", False),
        ("a.b", "a?b", True),
        ("a(b)+{2}\\d|^$", "a(b)+{2}\\d|^$", True),
        ("zone/wall", "*wall", True),
        ("two\nlines", "two*", True),
        ("wall", "wal", False),
        ("", "*", True),
    ],
)
def test_only_asterisk_and_question_mark_are_special(name: str, pattern: str, matches: bool) -> None:
    assert name_matches(name, pattern) == matches
