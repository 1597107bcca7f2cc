"""The notebooks run from an empty directory, as a reader runs them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from support.notebooks import NOTEBOOKS
from support.repository import ROOT

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

CELL_SECONDS = 300


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_in_an_empty_directory(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cell succeeds, also those that run a command; `docs/notebook_commands.py` checks its exit code."""
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "notebook_commands.py", startup)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    directory = tmp_path / "empty"
    directory.mkdir()
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=CELL_SECONDS, kernel_name="python3", resources={"metadata": {"path": str(directory)}}
    ).execute()
    printed = [
        output.text for cell in notebook.cells for output in cell.get("outputs", ()) if output.output_type == "stream"
    ]
    assert printed
    assert [text for text in printed if "False" in text] == []  # comparisons of the reader, such as "equal: True"
