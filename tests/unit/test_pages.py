"""The pages name files and functions that exist, and their links lead somewhere."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import noether.data.zarr_store
from noether.data.zarr_store import implementation
from support.call_tree import calls_of_read, calls_of_write
from support.links import broken_links
from support.repository import ROOT

PACKAGE = Path(noether.data.zarr_store.__file__).parent
DESIGN = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
# `reading.fetch:Fetcher.read`, also in the call trees, and `codec/csrc/module.c:encode`
FUNCTIONS = sorted(set(re.findall(r"(?:`|^ *)([a-z_]+(?:\.[a-z_]+)*:\w[\w.]*)(?:`|$)", DESIGN, flags=re.MULTILINE)))
C_FUNCTIONS = sorted(set(re.findall(r"`([\w/]+\.c:\w+)`", DESIGN)))
PATH = r"`((?:[\w.-]+/)+(?:[\w.-]+\.(?:py|pyi|c|h|md|toml))?|[\w-]+\.(?:py|md|toml|txt))`"

PAGES = [ROOT / "README.md", *(ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY"))]
PAGES += sorted((ROOT / "docs").glob("*.md"))


def paths_of(text: str) -> list[str]:
    """Return the paths that a page has in backticks: files, and directories that end with a slash."""
    return sorted(set(re.findall(PATH, text)))


def exists(path: str) -> bool:
    """Return whether a path exists in the package, in the schemas beside it, or in the repository."""
    return any((root / path).exists() for root in (PACKAGE, PACKAGE.parent, ROOT))


def has_function(named: str) -> bool:
    """Return whether a module of the package has a function, class or method."""
    module, _, qualified = named.partition(":")
    found = importlib.import_module(f"noether.data.zarr_store.{module}")
    for name in qualified.split("."):
        if not hasattr(found, name):
            return False
        found = getattr(found, name)
    return True


def test_design_names_functions_that_exist() -> None:
    assert len(FUNCTIONS) > 100
    assert [named for named in FUNCTIONS if not has_function(named)] == []


def test_design_names_functions_of_c_that_exist() -> None:
    assert len(C_FUNCTIONS) > 5
    sources = {named: (PACKAGE / named.partition(":")[0]).read_text(encoding="utf-8") for named in C_FUNCTIONS}
    missing = [named for named, text in sources.items() if f"{named.partition(':')[2]}(" not in text]
    assert missing == []


@pytest.mark.parametrize("text", [DESIGN, CONTRIBUTING], ids=["design", "contributing"])
def test_page_names_paths_that_exist(text: str) -> None:
    assert len(paths_of(text)) > 20
    assert [path for path in paths_of(text) if not exists(path)] == []


@pytest.mark.skipif(implementation != "native", reason="the page draws the way through the compiled module")
def test_design_names_every_function_of_a_write_and_a_read(tmp_path: Path) -> None:
    """`cd tests && python -m support.call_tree` brings the page up to date."""
    calls = [*calls_of_write(tmp_path / "store"), *calls_of_read(tmp_path / "store")]
    assert len({call.name for call in calls}) > 200
    assert sorted({call.name for call in calls} - set(FUNCTIONS)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_of_a_page_lead_to_a_file_and_a_heading(page: Path) -> None:
    assert broken_links(page.read_text(encoding="utf-8"), page) == []
