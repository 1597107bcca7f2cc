"""docs/errors.md, which lists every error with its remedy, is that of the code."""

from __future__ import annotations

import re

from support.errors_table import COMMAND, PAGE, REMEDIES, error_kinds, page, rows


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), f"write docs/errors.md again: {COMMAND}"


def test_every_error_has_a_message_and_a_remedy() -> None:
    table = rows()
    assert {row.kind for row in table} >= set(REMEDIES) - {"WorkerDiedError"}
    assert len(table) > 400
    for row in table:
        assert row.remedy
        assert not re.search(r"\{\w*\}$|\n", row.message)


def test_the_remedies_of_classes_are_of_all_classes() -> None:
    assert list(REMEDIES) == error_kinds()
