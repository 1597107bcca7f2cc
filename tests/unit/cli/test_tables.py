"""The layouts of tables: each fits its width, and no layout loses a value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from noether.data.zarr_store.cli.tables import Column, layout_of

COLUMNS = [Column("field", "name"), Column("", "name"), Column("largest error"), Column("reason", "text")]
ROWS = [
    ["volume_distance_to_surface", "x", "0.00098", "the chunk is damaged"],
    ["surface_pressure", "", "exact", ""],
]
WORDS = st.lists(st.text("abcxyz_/.", min_size=1, max_size=12), max_size=6).map(" ".join)
CELLS = st.tuples(
    st.text("abcxyz_-/.", min_size=1, max_size=60), st.just(""), st.from_regex(r"[0-9]{1,6}", fullmatch=True), WORDS
)


def test_a_table_that_fits_has_boxes() -> None:
    assert layout_of(COLUMNS, ROWS, 100) == layout_of(COLUMNS, ROWS, None)
    assert layout_of(COLUMNS, ROWS, None) == [
        "┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━┳━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━┓",
        "┃ field                      ┃   ┃ largest error ┃ reason               ┃",
        "┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━╇━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━┩",
        "│ volume_distance_to_surface │ x │       0.00098 │ the chunk is damaged │",
        "│ surface_pressure           │   │         exact │                      │",
        "└────────────────────────────┴───┴───────────────┴──────────────────────┘",
    ]


def test_a_narrower_table_has_wrapped_names() -> None:
    assert layout_of(COLUMNS, ROWS, 54) == [
        "                         largest",
        "field                      error  reason",
        "────────────────────  ─  ───────  ────────────────────",
        "volume_distance_to_   x  0.00098  the chunk is damaged",
        "surface",
        "surface_pressure           exact",
        "",
    ]


def test_the_narrowest_table_has_a_block_for_each_row() -> None:
    assert layout_of(COLUMNS, ROWS, 34) == [
        "volume_distance_to_surface x",
        "  largest error  0.00098",
        "  reason         the chunk is",
        "                 damaged",
        "surface_pressure",
        "  largest error  exact",
        "",
    ]


@given(rows=st.lists(CELLS, max_size=4), width=st.integers(40, 130))
def test_no_layout_loses_a_value(rows: list[tuple[str, ...]], width: int) -> None:
    lines = layout_of(COLUMNS, rows, width)
    assert max(map(cell_len, lines), default=0) <= width
    shown = sorted("".join(lines).translate(dict.fromkeys(map(ord, "┏━┳┓┃┡╇┩│└─┴┘ "))))
    for row in rows:
        for cell in row:
            for letter in cell.replace(" ", ""):
                assert letter in shown
                shown.remove(letter)


@pytest.mark.parametrize("width", [None, 60])
def test_a_table_without_rows_has_its_titles(width: int | None) -> None:
    assert any("largest" in line for line in layout_of(COLUMNS, [], width))
