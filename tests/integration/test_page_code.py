"""The code of the pages runs: a reader can paste it after ``noether-zarr demo``."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.page_code import DEMO, LANGUAGES, PAGES, PROMPT, SAVED, Page, make_demo, run_page
from support.repository import ROOT

ALL = [Page(path) for path in PAGES]
FAST = {"README", "docs/start"}
"""The pages for new users; each of the others takes seconds."""


def with_code() -> Iterator[Any]:
    for page in ALL:
        if any(block.is_run for block in page.blocks):
            yield pytest.param(page, id=page.name, marks=[] if page.name in FAST else [pytest.mark.slow])


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo(tmp_path_factory.mktemp("demo"))


# A loader forks its workers. Since Python 3.12, a fork of a process with threads warns.
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("page", list(with_code()))
def test_the_code_of_a_page_runs(page: Page, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not page.makes_demo:
        shutil.copytree(demo, tmp_path / DEMO)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    run_page(page)


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_every_block_of_a_page_is_run_saved_or_has_a_reason(page: Page) -> None:
    """The blocks are counted by their lines alone, so that the runner cannot overlook one."""
    blocks = page.blocks
    assert {block.language for block in blocks} <= LANGUAGES
    fences = re.findall(r"^ *(?:```|~~~)\S*$", page.text, flags=re.MULTILINE)
    assert len(fences) == 2 * len(blocks)
    commands = sum(len(block.commands) for block in blocks if block.language == "console")
    assert commands == len([line for line in page.text.split("\n") if line.lstrip().startswith(PROMPT)])
    comments = re.findall(r"<!-- *(?:not run|file|exit)\b", page.text)
    assert len(comments) == sum((b.reason is not None) + (b.file is not None) + (b.exit_code != 0) for b in blocks)


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_reasons_are_for_code_and_files_have_names(page: Page) -> None:
    for block in page.blocks:
        if block.reason is not None:
            assert block.has_code, f"line {block.line}: this block would not run anyway"
            assert len(block.reason.split()) >= 3, f"line {block.line}: expected a reason, got {block.reason!r}"
        if block.file is not None:
            assert block.language in SAVED, f"line {block.line}"
            assert block.file, f"line {block.line}"
