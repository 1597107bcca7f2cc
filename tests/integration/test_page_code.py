"""The code of the pages runs: a reader can paste it after ``noether-zarr demo``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.datasets import ZarrStoreDataset
from support.page_code import DEMO, LANGUAGES, PAGES, PROMPT, SAVED, Page, make_demo, run_page
from support.repository import ROOT

STORE = f"{DEMO}/store"
ALL = [Page(path) for path in PAGES]
FAST = {"README", "docs/start"}
"""The pages for new users; each of the others takes seconds."""


def check_first_batch(found: dict[str, Any], _printed: str) -> None:
    assert found["batch"]["volume_velocity"].shape[1:] == (2048, 3)
    assert found["batch"]["surface_pressure"].shape[1:] == (512,)


def check_fairness(_found: dict[str, Any], printed: str) -> None:
    smallest, largest = map(float, printed.split())
    assert -4 < smallest < -1
    assert 1 < largest < 4


def check_training(found: dict[str, Any], printed: str) -> None:
    batch = found["batch"]
    shapes = {name: tuple(batch[name].shape) for name in ("query_velocity", "geometry_position")}
    assert shapes == {"query_velocity": (1, 1024, 3), "geometry_position": (1, 256, 3)}  # 5 samples: the last is alone
    assert found["epoch"] == 1
    assert printed == "tensor(True)\n"


def check_frameworks(_found: dict[str, Any], printed: str) -> None:
    assert re.findall(r"tensor\((\w+)\)", printed) == ["True", "True"]


def check_statistics(found: dict[str, Any], _printed: str) -> None:
    plain = ZarrStoreDataset(STORE, num_points={"surface": None, "volume": 8192})[0]["volume_velocity"]
    assert found["velocity"]["volume_velocity"].numpy() == pytest.approx(plain.numpy(), abs=1e-4)
    assert found["item"]["volume_velocity"].numpy() != pytest.approx(plain.numpy(), abs=1)


def check_weighted_draws(found: dict[str, Any], _printed: str) -> None:
    drawn = {name: len(values) for name, values in found["item"].items() if name.startswith(("faces", "near", "fast"))}
    fields = ("position", "pressure", "velocity", "vorticity", "sdf", "weight")
    assert drawn == {"faces_position": 1024, "fast_velocity": 512} | {f"near_{name}": 4096 for name in fields}
    pressure = ZarrChunkReader(STORE).read_arrays("run_1", fields=["volume_pressure"])["volume_pressure"]
    assert abs(float(found["total"]) - pressure.sum(dtype=np.float64)) < 0.2 * np.abs(pressure).sum()


CHECKS = {
    "README": check_first_batch,
    "docs/start": check_first_batch,
    "docs/fairness": check_fairness,
    "docs/training": check_training,
    "docs/frameworks": check_frameworks,
    "docs/statistics": check_statistics,
    "docs/weighted-draws": check_weighted_draws,
}
"""The promises of pages about the results of their code, given its variables and output."""


# A loader forks its workers. Since Python 3.12, a fork of a process with threads warns.
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=[] if page.name in FAST else [pytest.mark.slow])
        for page in ALL
        if any(block.is_run for block in page.blocks)
    ],
)
def test_the_code_of_a_page_runs(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    if not page.makes_demo:
        make_demo(tmp_path)
    found = run_page(page)
    if page.name in CHECKS:
        CHECKS[page.name](found, capsys.readouterr().out)


def test_results_are_checked_of_pages_with_code() -> None:
    assert CHECKS.keys() <= {page.name for page in ALL if any(block.is_run for block in page.blocks)}


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


def page_of(directory: Path, text: str) -> Page:
    (directory / "page.md").write_text(text, encoding="utf-8")
    return Page(directory / "page.md")


def test_blocks_of_a_page_run_in_order_and_share_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saved = "<!-- file: a/b.txt -->\n```text\nhello\n```\n"
    left_out = "<!-- not run: it divides by zero -->\n```python\nx = 1 / 0\n```\n"
    first = "```python\nfrom pathlib import Path\n\nx = Path('a/b.txt').read_text()\n```\n"
    indented = "- item\n\n  ```python\n  y = x + x\n  ```\n"
    found = run_page(page_of(tmp_path, saved + left_out + first + indented))
    assert (found["x"], found["y"]) == ("hello\n", "hello\nhello\n")


def test_commands_of_a_page_run_with_their_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = ["pip install x", "noether-zarr --version > v.txt  # a comment", "noether-zarr \\\n    info nothing"]
    block = "```console\n" + "".join(f"$ {command}\n" for command in commands) + "```\n"
    run_page(page_of(tmp_path, f"<!-- exit: 1 -->\n{block}"))
    assert (tmp_path / "v.txt").read_text().startswith("noether-zarr")
    with pytest.raises(AssertionError, match=r"page\.md:4: noether-zarr info nothing\nexit code 1\n.*not found"):
        run_page(page_of(tmp_path, block))
