"""The figures of the pages for new users are measured; `integration/test_page_code.py` runs their code."""

from __future__ import annotations

import re

from benchmarks import cost_figure
from support.repository import ROOT

BENCHMARKS = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
MEASURED = BENCHMARKS.partition("### Chunks of 4,096\n")[2].partition("\n### ")[0].splitlines()
# The README has fewer words for the contenders than the benchmarks.
CONTENDERS = {
    "this library": "noether",
    "memory-mapped `.npy`": "floor: mapped .npy",
    "h5py": "h5py, slices",
    "tensorstore": "tensorstore",
    "zarr-python": "zarr-python, fancy",
    "`.pt` files, loaded whole": ".pt, loaded whole",
}


def test_the_figure_of_the_start_page_is_that_of_the_benchmarks() -> None:
    """`python -m benchmarks.cost_figure` makes it again after a full run of the benchmarks."""
    drawn = cost_figure.figure()
    assert cost_figure.PATH.read_text(encoding="utf-8") == drawn
    bars = re.findall(r">([^<>]+)</text>\n<rect [^>]+>\n<text [^>]+>([^<>]+)</text>", drawn)
    assert len(bars) == len(CONTENDERS)
    for label, median in bars:
        assert any(f" | {median} | " in row for row in MEASURED), label
    [anywhere] = [row for row in MEASURED if row.startswith("| zarr-python, fancy, rows anywhere |")]
    assert f"takes zarr-python {anywhere.split(' | ')[1]} ms" in (ROOT / "docs" / "start.md").read_text(
        encoding="utf-8"
    )


def test_the_figures_of_the_readme_are_those_of_the_benchmarks() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"^\| (.+?) \| ([\d.,]+) \|", readme, flags=re.MULTILINE))
    assert shown.keys() == CONTENDERS.keys()
    for name, median in shown.items():
        assert any(row.startswith(f"| {CONTENDERS[name]} | {median} |") for row in MEASURED), name
