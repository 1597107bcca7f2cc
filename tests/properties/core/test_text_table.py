"""A table that a CSV writer wrote is read back, with every separator."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store.core import parse_text_table

NAMES = st.lists(st.text("abé0 ().[]", min_size=1).map("x{}y".format), min_size=2, max_size=5, unique=True)
CELLS = st.text("a1é ,;\t|\"'\n", max_size=6).map(str.strip)


@given(st.data(), NAMES, st.sampled_from([",", ";", "\t", "|"]), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_written_table_is_read_back(
    data: st.DataObject, names: list[str], separator: str, line_end: str, ends_in_separator: bool
) -> None:
    row = st.lists(CELLS, min_size=len(names), max_size=len(names)).filter(any)
    rows = data.draw(st.lists(row, max_size=4))
    text = io.StringIO(newline="")
    extra = [""] if ends_in_separator else []
    csv.writer(text, delimiter=separator, lineterminator=line_end).writerows([one + extra for one in [names, *rows]])
    table = parse_text_table(text.getvalue())
    assert list(table.names) == names
    assert [list(one.cells) for one in table.rows] == rows
