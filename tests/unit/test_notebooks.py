"""The notebooks in the repository: without outputs, formatted, and with the beginning that a reader needs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.links import broken_links
from support.notebooks import NOTEBOOKS, TUTORIALS, read_notebook
from support.repository import ROOT

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
# Clauses that stand for a noun, and other habits that CONTRIBUTING rules out.
CLAUSES = re.compile(r"\b(what (is|are|was)|one that|the one|that which|simply|just|easily|powerful)\b", re.IGNORECASE)
MOST_WORDS = 32


def test_notebooks_are_listed_with_a_link_and_in_the_toctree() -> None:
    page = (TUTORIALS / "index.md").read_text(encoding="utf-8")
    assert len(NOTEBOOKS) >= 5
    assert re.findall(r"^\| \[.+?\]\((\w+)\.ipynb\)", page, flags=re.MULTILINE) == re.findall(
        r"^(\w+)$", page, flags=re.M
    )
    assert sorted(re.findall(r"^(\w+)$", page, flags=re.MULTILINE)) == [path.stem for path in NOTEBOOKS]
    assert broken_links(page, TUTORIALS / "index.md") == []


@every_notebook
def test_notebook_has_no_outputs_and_plain_metadata(path: Path) -> None:
    content = read_notebook(path).content
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert content["metadata"] == {"kernelspec": kernel, "language_info": {"name": "python"}}
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    for cell in content["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


@every_notebook
def test_notebook_begins_with_the_installation_and_the_demo(path: Path) -> None:
    notebook = read_notebook(path)
    title, *_ = notebook.markdown[0].splitlines()
    assert title.startswith("# ")
    assert re.search(
        r"^    pip install 'noether-zarr-store\[[a-z,]+\]'.* jupyterlab$", notebook.markdown[0], flags=re.M
    )
    assert notebook.code[0] == "!noether-zarr demo"


@every_notebook
def test_links_of_a_notebook_lead_to_a_file_and_a_heading(path: Path) -> None:
    text = "\n".join(read_notebook(path).markdown)
    assert "](../" in text
    assert broken_links(text, path) == []


@every_notebook
def test_sentences_of_a_notebook_are_short_and_name_their_subject(path: Path) -> None:
    text = "\n\n".join(read_notebook(path).markdown)
    assert CLAUSES.findall(text) == []
    sentences = re.split(r"(?<=[.:;!?])\s+|\n", text)
    assert [sentence for sentence in sentences if len(sentence.split()) > MOST_WORDS] == []


def test_notebooks_are_formatted_and_linted() -> None:
    """A width of 88 keeps the cells of the site without a scroll bar."""
    ruff = [sys.executable, "-m", "ruff"]
    found = subprocess.run([*ruff, "check", "--show-files", "."], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [path for path in NOTEBOOKS if str(path) not in found.stdout] == []
    for command in (["format", "--check"], ["check"]):
        done = subprocess.run([*ruff, *command, TUTORIALS], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
