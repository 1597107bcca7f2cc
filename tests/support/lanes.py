"""The cases of a parametrized test that are in the fast lane of ``./scripts/test``, and a marker for the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

__all__ = ["few_fast"]


def few_fast(cases: Iterable[Any], n_fast: int = 1, *, others: pytest.MarkDecorator = pytest.mark.slow) -> list[Any]:
    """Return the cases of one parameter, with a marker on all but the first ones.

    Parameters
    ----------
    cases : iterable
        Values, or results of `pytest.param`.
    n_fast : int
        Number of cases in the fast lane.
    others : pytest.MarkDecorator
        Marker of all other cases.
    """
    made = []
    for number, case in enumerate(cases):
        known = case if isinstance(case, type(pytest.param())) else pytest.param(case)
        marks = known.marks if number < n_fast else [*known.marks, others]
        made.append(pytest.param(*known.values, marks=marks, id=known.id))
    return made
