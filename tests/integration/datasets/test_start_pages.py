"""The pages of the documentation site for new users: their commands and programs run, their figures are measured."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from support.repository import ROOT
from support.trees import call

START = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
FAIRNESS = (ROOT / "docs" / "fairness.md").read_text(encoding="utf-8")


def code_of(page: str, language: str) -> str:
    """Return the only code block of a page in a language."""
    [code] = re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    return str(code)


def test_the_start_page_reaches_the_first_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*code_of(START, "console").removeprefix("$ noether-zarr ").split()).code == 0
    found: dict[str, Any] = {}
    exec(code_of(START, "python"), found)
    assert found["batch"]["volume_velocity"].shape == (2, 2048, 3)
    assert found["batch"]["surface_pressure"].shape == (2, 512)


def test_the_program_of_the_fairness_page_counts_every_point_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(code_of(FAIRNESS, "python"), {})
    smallest, largest = map(float, capsys.readouterr().out.split())
    assert -4 < smallest < -1
    assert 1 < largest < 4


def test_the_figures_of_the_start_page_are_those_of_the_benchmarks() -> None:
    benchmarks = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    measured = benchmarks.partition("### Chunks of 4,096\n")[2].partition("\n### ")[0].splitlines()
    rows = re.findall(r"^\| .*\d.* \|$", START, flags=re.MULTILINE)
    assert len(rows) == 5
    assert [row for row in rows if row not in measured] == []
