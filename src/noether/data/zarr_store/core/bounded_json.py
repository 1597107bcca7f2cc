"""JSON documents from elsewhere, parsed in bounded time and memory. Pure."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json, to_json

__all__ = ["MAX_VALUES", "parse_document", "require_few_values"]

MAX_VALUES = 1 << 17
"""Most values of a document, or of a sample in a manifest. Each can become an object in Python, or an error that
names it, a hundred times as large as its text."""


def parse_document(document: bytes, *, max_values: int = MAX_VALUES, finite: bool = True) -> Any:
    """Parse JSON that may be anything.

    Parameters
    ----------
    document : bytes
        The text, in UTF-8. It may be nested 200 deep.
    max_values : int
        Most values that it may have, as its commas tell: those in strings count as well.
    finite : bool
        Whether to refuse ``NaN`` and ``Infinity``, which are no JSON. A number that is too large for a float becomes
        infinite in any case.

    Raises
    ------
    ValueError
        It is no JSON, or has too many values.
    """
    _require_few(document.count(b","), max_values)
    try:
        return from_json(document, allow_inf_nan=not finite)
    except ValueError as error:
        raise ValueError(f"Invalid JSON: {error}") from error


def require_few_values(content: Any, where: str) -> None:
    """Raise `ValueError` where JSON that is parsed already has more than `MAX_VALUES`; see `parse_document`."""
    _require_few(to_json(content).count(b","), MAX_VALUES, f" {where}")


def _require_few(n_commas: int, max_values: int, where: str = "") -> None:
    if n_commas >= max_values:
        raise ValueError(f"over {n_commas:,} values{where}; expected at most {max_values:,}")
