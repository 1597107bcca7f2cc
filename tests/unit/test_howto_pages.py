"""The tables of the how-to pages are what the code says, and the figures are those that scripts compute."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import chunk_sizes, dataset_table, page_tables
from noether.data.zarr_store.core import Grid
from noether.data.zarr_store.sampling import count_draws
from noether.data.zarr_store.upkeep.verify.findings import FindingKind, Findings
from support.repository import ROOT

# Bytes of chunks depend slightly on the version of zstd.
RELATIVE = 0.02


def cells(table: str) -> list[list[str]]:
    """Return the rows of a table in Markdown, without the rule."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return [rows[0], *rows[2:]]


def number(cell: str) -> float:
    return float(re.sub(r"[^0-9.]", "", cell))


def findings() -> dict[str, tuple[str, str]]:
    """Return severity and remedy by kind of finding, with the words of the report."""
    collected = Findings("STORE")
    for kind in FindingKind.__args__:  # type: ignore[attr-defined]
        collected.add(kind, "")
    return {one.kind.replace("_", " "): (one.severity, one.way_out) for one in collected.sorted()}


def test_damage_page_names_every_finding_beside_its_remedy() -> None:
    page = (ROOT / "docs" / "damage.md").read_text(encoding="utf-8")
    _, kept, lost = re.split(r"^\*\*The content is (?:still there|lost)\.\*\*", page, flags=re.MULTILINE)
    lost, _, others = lost.partition("\nNotes are not damage")
    found = {
        name: "kept" if f"`{name}`" in kept else "lost" if f"`{name}`" in lost else f"`{name}`" in others
        for name in findings()
    }
    expected = {
        name: True if severity != "damage" else "lost" if "--source" in way_out else "kept"
        for name, (severity, way_out) in findings().items()
    }
    assert found == expected


def test_dataset_tables_are_those_of_the_script() -> None:
    """`python -m benchmarks.dataset_table` brings the page up to date. It also has the planned memory."""
    assert page_tables.read_table(dataset_table.PAGE, "sizes") == dataset_table.size_table()
    assert page_tables.read_table(dataset_table.PAGE, "preprocessed") == dataset_table.conversion_table()
    assert page_tables.read_table(dataset_table.PAGE, "published") == dataset_table.raw_table()
    assert [one.name for one in dataset_table.DATASETS if dataset_table.Work.of(one).memory > 200e6] == []


def test_dataset_page_has_a_command_for_every_dataset() -> None:
    page = (ROOT / "docs" / dataset_table.PAGE).read_text(encoding="utf-8")
    for dataset in dataset_table.DATASETS:
        options = (dataset.preset and f"--preset {dataset.preset}", dataset.mapping and f"--mapping {dataset.mapping}")
        assert [option for option in options if option and option not in page] == []
        assert f"## {dataset.name}\n" in page


def test_numbers_of_different_draws_are_those_of_the_plan() -> None:
    """`python -m benchmarks.chunk_sizes` brings the page up to date."""
    head, *rows = cells(page_tables.read_table(chunk_sizes.PAGE, "draws"))
    assert [number(row[0]) for row in rows] == list(chunk_sizes.CHUNKS)
    for row in rows:
        grid = Grid.fit(chunk_sizes.N_POINTS, int(number(row[0])))
        for column, drawn in enumerate(chunk_sizes.DRAWS):
            least = -(-drawn // grid.chunk_points) * grid.chunk_points / drawn
            most = least + grid.chunk_points / drawn
            assert least - 0.01 <= number(row[1 + column]) <= most + 0.01
            assert number(row[1 + len(chunk_sizes.DRAWS) + column]) == count_draws(grid, drawn)
    assert head[-1] == f"draws of {chunk_sizes.DRAWS[-1]:,}"


@pytest.mark.slow
def test_counts_of_chunk_sizes_are_those_of_the_script(tmp_path: Path) -> None:
    """`python -m benchmarks.chunk_sizes` brings the page up to date."""
    counts = [chunk_sizes.count(tmp_path / "store", tmp_path, chunk_points) for chunk_points in chunk_sizes.CHUNKS]
    assert page_tables.read_table(chunk_sizes.PAGE, "draws") == chunk_sizes.draws_table(counts)
    for name, table in (("bytes", chunk_sizes.bytes_table), ("fields", chunk_sizes.fields_table)):
        page, computed = cells(page_tables.read_table(chunk_sizes.PAGE, name)), cells(table(counts))
        assert page[0] == computed[0]
        for written, expected in zip(page[1:], computed[1:], strict=True):
            assert list(map(number, written)) == pytest.approx(list(map(number, expected)), rel=RELATIVE)
