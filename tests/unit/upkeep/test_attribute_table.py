"""Tables of attributes: the values of their cells, and invalid tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.upkeep import read_attribute_table

EXPECTED = {"run_1": {"mach": 0.3, "cells": 7, "note": "a b"}, "part/run_2": {"mach": -1.5}}


def save(directory: Path, text: str | bytes, name: str = "table.csv") -> Path:
    path = directory / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ids", ["sample_id", "id"])
def test_a_table_is_read_with_any_separator(tmp_path: Path, separator: str, ids: str) -> None:
    rows = [(ids, "mach", "cells", "note"), ("run_1", "0.3", "7", "a b"), ("part/run_2", "-1.5", "", "")]
    assert read_attribute_table(save(tmp_path, "\n".join(map(separator.join, rows)))) == EXPECTED


def test_a_tsv_file_is_separated_by_tabs(tmp_path: Path) -> None:
    """Other separators in the header do not matter."""
    path = save(tmp_path, "id\tforces (x, y, z)\nrun_1\t1,2,3\n", "table.TSV")
    assert read_attribute_table(path) == {"run_1": {"forces (x, y, z)": "1,2,3"}}


def test_json_values_are_kept(tmp_path: Path) -> None:
    path = save(tmp_path, '{"run_1": {"mach": 0.3, "tags": ["a", null, true]}, "run_2": {}}', "table.json")
    assert read_attribute_table(path) == {"run_1": {"mach": 0.3, "tags": ["a", None, True]}, "run_2": {}}


def test_spreadsheet_artefacts_are_ignored(tmp_path: Path) -> None:
    """These are the byte order mark, the line ends and blank rows."""
    path = save(tmp_path, b'\xef\xbb\xbfid,note\r\n\r\n"run_1","a, ""b"""\r\n,\r\n')
    assert read_attribute_table(path) == {"run_1": {"note": 'a, "b"'}}


def test_the_id_column_can_be_named(tmp_path: Path) -> None:
    path = save(tmp_path, "mach,case,id\n0.3,run_1,9\n")
    assert read_attribute_table(path, id_column="case") == {"run_1": {"mach": 0.3, "id": 9}}


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("0", 0),
        ("-12", -12),
        ("+3", 3),
        ("007", "007"),
        ("1.", 1.0),
        (".5", 0.5),
        ("007.5", 7.5),
        ("1e3", 1000.0),
        ("-2.5E-3", -0.0025),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("true", "true"),
        ("1;5", "1;5"),
        ("٣", "٣"),
        ("12345678901234567890123", 1.2345678901234568e22),
        ("information", "information"),
        (" padded ", "padded"),
    ],
)
def test_numbers_become_numbers_and_other_cells_text(tmp_path: Path, cell: str, value: Any) -> None:
    [read] = read_attribute_table(save(tmp_path, f"id,x\nrun_1,{cell}\n"))["run_1"].values()
    assert (read, type(read)) == (value, type(value))


REFUSED: dict[str, tuple[str, str]] = {
    "a short row": ("id,a,b\nrun_1,1\n", "line 2: expected 3 cells as in the header, got 2"),
    "a long row": ("id,a\nrun_1,1\nrun_2,1,2\n", "line 3: expected 2 cells as in the header, got 3"),
    "a sample twice": (
        "id,a\nrun_1,1\nrun_1,2\n",
        "line 3: expected a different sample id in each row, got 'run_1' again",
    ),
    "no id": ("id,a\n,1\n", "line 2: expected a different sample id in each row, got ''"),
    "a column twice": ("id,a,a\nrun_1,1,2\n", "expected a header with a different name for each column"),
    "a column without a name": ("id,\nrun_1,1\n", "expected a header with a different name for each column"),
    "no column of ids": ("run,a\nrun_1,1\n", r"expected a column 'sample_id' or 'id' of sample ids; there are: a, run"),
    "no row": ("id,a\n", "expected at least one row, got none"),
    "nothing": ("", "expected a column 'sample_id' or 'id'"),
    "not a number": ("id,a\nrun_1,NaN\n", "line 2, column 'a': expected a finite number or text, got 'NaN'; leave the"),
    "infinity": ("id,a\nrun_1,-inf\n", "expected a finite number or text, got '-inf'"),
    "too large a number": ("id,a\nrun_1,1e999\n", "expected a finite number or text, got '1e999'"),
    "a quote without an end": ('id,a\nrun_1,"x\n', "cannot be parsed as a row of a table"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_invalid_table_is_refused_by_line(tmp_path: Path, name: str) -> None:
    text, message = REFUSED[name]
    with pytest.raises(ArgumentError, match=message):
        read_attribute_table(save(tmp_path, text))


@pytest.mark.parametrize("text", ["{", "[]", "{}", "7", '{"run_1": 7}', '{"run_1": {"a": NaN}}'])
def test_json_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ArgumentError, match=r"table\.json: "):
        read_attribute_table(save(tmp_path, text, "table.json"))


def test_json_has_no_id_column(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="expected no id column, since a JSON file has no columns, got 'case'"):
        read_attribute_table(save(tmp_path, '{"run_1": {}}', "table.json"), id_column="case")


def test_a_missing_id_column_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"expected a column 'cases' of sample ids; did you mean 'case'\?"):
        read_attribute_table(save(tmp_path, "case,a\nrun_1,1\n"), id_column="cases")


def test_a_binary_or_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="expected text in UTF-8"):
        read_attribute_table(save(tmp_path, b"id,\xff\n"))
    with pytest.raises(ArgumentError, match=r"the table cannot be read \(No such file or directory\); check the path"):
        read_attribute_table(tmp_path / "nowhere.csv")
