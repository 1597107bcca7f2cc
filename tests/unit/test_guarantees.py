"""Every promise of the documentation names tests that are there."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from support.repository import ROOT

TEXT = (ROOT / "docs" / "guarantees.md").read_text()
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| promise |")]
NAMED = re.findall(r"`(tests/[^`]*)`", TEXT)


@cache
def functions_of(file: str) -> frozenset[str]:
    """The names of the test functions of a file."""
    found = ast.walk(ast.parse((ROOT / file).read_text()))
    return frozenset(node.name for node in found if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))


@pytest.mark.parametrize("named", sorted(set(NAMED) - {"tests/hostile/"}))
def test_a_test_that_a_promise_names_is_there(named: str) -> None:
    file, _, name = named.partition("::")
    assert (ROOT / file).is_file()
    assert name in functions_of(file)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_each_promise_names_a_test(row: str) -> None:
    assert re.search(r"`(tests/[\w/]+/test_\w+\.py::test_\w+|\./scripts/test-matrix)`", row)


def test_there_are_promises() -> None:
    assert len(ROWS) > 50
