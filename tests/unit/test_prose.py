"""The rules of prose that a program can check; CONTRIBUTING has them all."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from support.repository import ROOT

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def nodes(folder: str) -> Iterator[tuple[str, ast.AST]]:
    """Yield the path of each module below a folder with each node of its syntax tree."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield str(path.relative_to(ROOT)), node


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "examples"])
def test_no_docstring_begins_with_give(folder: str) -> None:
    """A function returns, checks, writes or yields."""
    texts = [
        (path, text)
        for path, node in nodes(folder)
        if isinstance(node, Documented) and (text := ast.get_docstring(node))
    ]
    assert texts
    assert [(path, text) for path, text in texts if text.split()[0] in ("Give", "Gives")] == []


def test_names_of_tests_are_short() -> None:
    names = [
        node.name for _, node in nodes("tests") if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert len(names) > 2000
    assert [name for name in names if len(name) > 80] == []
