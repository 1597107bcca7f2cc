"""Tables as text: separators, columns, cells that are numbers, and refused tables."""

from __future__ import annotations

from typing import Any

import pytest

from noether.data.zarr_store.core import parse_text_table


def read(text: str, separator: str | None = None) -> list[dict[str, Any]]:
    table = parse_text_table(text, separator)
    return [table.values(row) for row in table.rows]


@pytest.mark.parametrize(
    "text",
    [
        "Cd\tCl\n0.3\t0.1\n",
        "Cd;Cl\r\n0.3;0.1\r\n",
        "Cd|Cl\n0.3|0.1",
        " Cd , Cl \n 0.3 , 0.1 \n",
        '"Cd", "Cl"\n0.3, 0.1\n',
        "Cd,Cl,\n0.3,0.1,\n",
        "Cd,Cl\n0.3,0.1,,\n",
        "Cd;Cl;;\n0.3;0.1\n",
        "Cd,,Cl\n0.3, ,0.1\n",
        ",Cd,Cl\n,0.3,0.1\n",
        "\n \nCd,Cl\n,\n0.3,0.1\n\n",
    ],
)
def test_all_separators_make_the_same_table(text: str) -> None:
    assert read(text) == [{"Cd": 0.3, "Cl": 0.1}]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("id;force (x, y, z)\nrun_1;7\n", ("id", "force (x, y, z)")),
        ("id\tforce (x, y)\nrun_1\t7\nrun_2\t1, 2\n", ("id", "force (x, y)")),
        ("id,a,b;c\nrun_1,1,x;y\n", ("id", "a", "b;c")),
        ('"a, b";c\n1;2\n', ("a, b", "c")),
    ],
)
def test_separator_fits_all_rows(text: str, names: tuple[str, ...]) -> None:
    assert parse_text_table(text).names == names


@pytest.mark.parametrize(
    "cell",
    ["0,3", "-1,5e-3", ",5", "1.234,5", "1,234.5", "1,234,567", "1.234.567", "1 234", "1\u202f234,5", "1'234.5"],
)
@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_ambiguous_number_is_refused(cell: str, separator: str) -> None:
    """Programs read such a number in several ways."""
    quoted = f'"{cell}"' if separator == "," else cell
    with pytest.raises(
        ValueError, match=r"^line 2, column 'Cd': expected a number with a decimal point and no thousands separators"
    ):
        read(f"run{separator}Cd\n1{separator}{quoted}\n")


@pytest.mark.parametrize("cell", ["1,2,3", "12, 34", "a 234", "v1912", "1.2.3", "10 m", "2024-05-01", "-"])
def test_text_with_digits_stays_text(cell: str) -> None:
    assert read(f"run;note\n1;{cell}\n") == [{"run": 1, "note": cell}]


REFUSED = {
    "two separators": (
        "a;b,c\n1;2,3\n",
        "two separators fit the table: the columns can be 'a;b', 'c' or 'a', 'b,c'; put quotes",
    ),
    "cells without a name": (
        "Cd,,Cl\n1,2,3\n",
        "expected a header with a different name for each column, got 'Cd', ''",
    ),
    "the index of pandas": (",Cd\n0,0.3\n", "expected a header with a different name for each column, got '', 'Cd'"),
    "a name twice": ("Cd, Cd\n1,2\n", "expected a header with a different name for each column, got 'Cd', 'Cd'"),
    "a decimal comma in a comma-separated table": (
        "Cd,Cl\n0,3,0,1\n",
        "line 2: expected 2 cells as in the header, got 4",
    ),
    "a single decimal comma": ("Cd\n0,3\n", "line 2: expected 1 cells as in the header, got 2"),
    "values without names": ("Cd,,\n1,,3\n", "expected a header with a different name for each column, got 'Cd', ''"),
    "blanks between cells": (
        "Cd  Cl\n0.3  0.1\n",
        "line 2: expected cells between commas, semicolons, tabs or vertical bars",
    ),
    "other separators in rows": ("Cd,Cl\n0.3;0.1\n", "line 2: expected 2 cells as in the header, got 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_ambiguous_table_is_refused(name: str) -> None:
    text, message = REFUSED[name]
    with pytest.raises(ValueError, match=f"^{message}"):
        read(text)


def test_explicit_separator_is_the_only_one() -> None:
    assert read("a,b,c\td\n1\t2\n", "\t") == [{"a,b,c": 1, "d": 2}]


def test_a_table_of_more_cells_than_expected_is_refused() -> None:
    for text in ("a,b,c\n1,2,3\n", "a\n1\n2\n3\n4\n"):
        with pytest.raises(ValueError, match="expected at most 5 cells, got more"):
            parse_text_table(text, max_cells=5)


def test_a_separator_is_chosen_in_linear_memory() -> None:
    """Short rows below a wide header without names have no additional cells."""
    table = parse_text_table("a" + "," * 100_000 + "\n" + "1\n" * 10_000)
    assert {len(row.cells) for row in table.rows} == {1}
