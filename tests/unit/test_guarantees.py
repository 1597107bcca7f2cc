"""Every promise of the documentation names tests that are there, one of which is in the fast lane."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache

from support.repository import ROOT

TEXT = (ROOT / "docs" / "guarantees.md").read_text()
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| promise |")]
NAMED = re.findall(r"`(tests/[^`…]*::[^`…]*)`", TEXT)
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
MARKERS = [marker.partition(":")[0] for marker in SETTINGS["markers"]]
# Promises by their first words, and why no test in the fast lane holds them.
NOT_IN_FAST_LANE = {
    "A conversion that is killed (`kill -9`) at any moment": "it takes seconds until it was killed often enough",
    "An `add-fields` that is killed": "as above",
    "A store in a public bucket": "it needs a server of its own",
    "A restarted server": "the server takes seconds to start",
    "A conversion that the network defeats": "it takes seconds until one has given up",
    "So does the newest zarr-python": "it needs another Python",
}


@cache
def functions_of(file: str) -> dict[str, ast.FunctionDef]:
    """Return the test functions of a file by name."""
    found = [node for node in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(node, ast.FunctionDef)]
    return {node.name: node for node in found if node.name.startswith("test_")}


@cache
def marks_of(file: str) -> str:
    """Return the source of the marks that a file gives to all its tests."""
    for node in ast.parse((ROOT / file).read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            return ast.unparse(node.value)
    return ""


def is_in_fast_lane(named: str) -> bool:
    """Return whether neither a test nor its file carries a marker; of some of its cases, it may be others."""
    file, _, name = named.partition("::")
    decorators = [ast.unparse(one) for one in functions_of(file)[name].decorator_list]
    marks = [marks_of(file), *(one for one in decorators if not one.startswith("pytest.mark.parametrize("))]
    return not any(re.search(rf"\bmark\.{marker}\b", one) for marker in MARKERS for one in marks)


def promise_of(row: str) -> str:
    return row.split("|")[1].strip()


def named_by(row: str) -> list[str]:
    return [named for named in NAMED if f"`{named}`" in row]


def is_there(named: str) -> bool:
    file, _, name = named.partition("::")
    return (ROOT / file).is_file() and name in functions_of(file)


def test_the_tests_that_promises_name_are_there() -> None:
    assert [named for named in NAMED if not is_there(named)] == []


def test_each_promise_names_a_test() -> None:
    assert [row for row in ROWS if not named_by(row) and "`./scripts/test-matrix`" not in row] == []


def test_the_fast_lane_has_a_test_of_each_promise_but_a_few() -> None:
    missing = [row for row in ROWS if not any(map(is_in_fast_lane, named_by(row)))]
    excused = [row for row in ROWS if promise_of(row).startswith(tuple(NOT_IN_FAST_LANE))]
    assert missing == excused
    assert len(excused) == len(NOT_IN_FAST_LANE)


def test_the_fast_lane_leaves_out_what_carries_a_marker() -> None:
    without = " and ".join(f"not {marker}" for marker in MARKERS)
    assert f'fast="{without}"' in (ROOT / "scripts" / "test").read_text()


def test_there_are_promises() -> None:
    assert len(ROWS) > 50
