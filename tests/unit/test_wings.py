"""Each wing is entered by its face: what its `__init__` does not list is private to it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import noether.data.zarr_store
from support.repository import ROOT

PREFIX = "noether.data.zarr_store."
PACKAGE = Path(noether.data.zarr_store.__file__).parent
# Published paths inside of a wing are faces of their own.
INNER_FACES = {
    "convert.executors",
    "datasets.transforms",
    "sources.inspection",
    "sources.presets",
    "upkeep.repair",
    "upkeep.verify",
}


def imports_of(source: Path) -> Iterator[str]:
    """The modules of the package that a file imports from, relative to the package."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PREFIX):
            yield node.module.removeprefix(PREFIX)


def test_no_wing_reaches_into_another() -> None:
    intruders = [
        f"{source.relative_to(PACKAGE)} imports {module}"
        for source in PACKAGE.rglob("*.py")
        for module in imports_of(source)
        if "." in module
        and module not in INNER_FACES
        and module.partition(".")[0] != source.relative_to(PACKAGE).parts[0]
    ]
    assert not intruders


def test_examples_and_benchmarks_use_the_faces_alone() -> None:
    intruders = [
        f"{source.relative_to(ROOT)} imports {module}"
        for directory in ("examples", "benchmarks")
        for source in (ROOT / directory).rglob("*.py")
        for module in imports_of(source)
        if "." in module and module not in INNER_FACES
    ]
    assert not intruders
