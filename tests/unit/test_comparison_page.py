"""The figures of the page that compares the library with others are those of the benchmarks."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from support.repository import ROOT

PAGE = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
BENCHMARKS = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
ROW = r"^\| .*\d.* \|$"
NOT_WAYS_TO_STORE = ("decoding alone", "one range request")


@dataclass(frozen=True)
class Table:
    """A table of figures of the page, and the table of the benchmarks that its title names."""

    title: str
    anchor: str
    part: str
    command: str
    rows: list[str]

    @property
    def measured(self) -> list[str]:
        """The rows of the table of the benchmarks; none if there is no such table."""
        section = BENCHMARKS.partition(f'<a id="{self.anchor}"></a>\n\n## {self.title}\n')[2].partition("\n<a id=")[0]
        parts = re.split(r"^### ", section, flags=re.MULTILINE)
        named = [part for part in parts if part.partition("\n")[0].lower() == self.part]
        return rows_of(named[0].partition("\n\nCompression")[0]) if named else []


def rows_of(text: str) -> list[str]:
    return re.findall(ROW, text, flags=re.MULTILINE)


def tables() -> list[Table]:
    """Return the tables of the section with the figures."""
    section = PAGE.partition("\n## Figures\n")[2].partition("\n## ")[0]
    title = r"^\[(.+?)\]\(benchmarks\.md#(\w+)\), (.+), `(.+)`:\n\n((?:\|.*\n)+)"
    found = re.findall(title, section, flags=re.MULTILINE)
    assert len(rows_of(section)) == sum(len(rows_of(rows)) for *_, rows in found)
    return [Table(heading, anchor, part, command, rows_of(rows)) for heading, anchor, part, command, rows in found]


@pytest.mark.parametrize("table", tables(), ids=lambda table: f"{table.anchor}, {table.part}")
def test_figures_of_the_comparison_are_those_of_the_benchmarks(table: Table) -> None:
    assert table.rows
    assert [row for row in table.rows if row not in table.measured] == []


@pytest.mark.parametrize("table", tables(), ids=lambda table: f"{table.anchor}, {table.part}")
def test_the_comparison_leaves_out_no_faster_contender(table: Table) -> None:
    left_out = [row for row in table.measured if row not in table.rows]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in left_out]
    faster = [name for name, _, _, over_ours, *_ in cells if float(over_ours) < 1]
    assert [name for name in faster if not name.startswith(NOT_WAYS_TO_STORE)] == []


@pytest.mark.parametrize("table", tables(), ids=lambda table: f"{table.anchor}, {table.part}")
def test_the_command_of_the_comparison_runs_the_section(table: Table) -> None:
    assert table.command == f"./scripts/bench --full --only {table.anchor}"


def test_the_comparison_has_tables_of_draws_whole_samples_storage_and_writes() -> None:
    assert {table.anchor for table in tables()} == {"draws", "whole", "s3", "write"}


def test_the_saving_by_compression_is_that_of_the_benchmarks() -> None:
    compression = BENCHMARKS.partition("\nCompression of the generated sample")[2].partition("\n<sub>")[0]
    stored = [float(row.strip("| ").split("|")[-1]) for row in rows_of(compression)]
    assert len(stored) == 4
    smallest, largest = (round(100 * (1 - share)) for share in (max(stored), min(stored)))
    assert f"compression saves {smallest} to {largest} % of the bytes" in PAGE


def test_every_peer_of_the_comparison_has_a_section_and_a_source() -> None:
    features = PAGE.partition("\n## Features\n")[2].partition("\n## ")[0]
    _, ours, *peers = re.findall(r"^\| .+ \|$", features, flags=re.MULTILINE)
    assert "this library" in ours
    assert len(peers) == 8
    assert [row for row in peers if "https://" not in row] == []
    sections = PAGE.partition("\n## One by one\n")[2].partition("\n## ")[0].split("\n### ")[1:]
    assert len(sections) == 9  # .pt and .npy files are two
    for section in sections:
        assert " made for " in section, section
        assert " better than this library " in section, section
        assert "Choose " in section, section
