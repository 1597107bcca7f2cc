"""Untrusted JSON documents, parsed in bounded time and memory. Pure."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json, to_json

__all__ = ["MAX_VALUES", "parse_document", "require_few_values"]

MAX_VALUES = 1 << 17
"""Maximum number of values in a document, or in one sample of a manifest. A value can become a Python object, or an
error that names it; either can be a hundred times as large as its text."""


def parse_document(document: bytes, *, max_values: int = MAX_VALUES, finite: bool = True) -> Any:
    """Parse untrusted JSON.

    Parameters
    ----------
    document : bytes
        The text, in UTF-8. It can be nested up to 200 levels deep.
    max_values : int
        Maximum number of values. The commas are counted, including commas in strings.
    finite : bool
        Whether to refuse ``NaN`` and ``Infinity``, which are not valid JSON. A number that is too large for a float
        becomes infinite in any case.

    Raises
    ------
    ValueError
        The document is not valid JSON, or has too many values.
    """
    _require_few(document.count(b","), max_values)
    try:
        return from_json(document, allow_inf_nan=not finite)
    except ValueError as error:
        raise ValueError(f"Invalid JSON: {error}") from error


def require_few_values(content: Any, where: str) -> None:
    """Raise `ValueError` if parsed JSON has more than `MAX_VALUES` values; see `parse_document`."""
    _require_few(to_json(content).count(b","), MAX_VALUES, f" {where}")


def _require_few(n_commas: int, max_values: int, where: str = "") -> None:
    if n_commas >= max_values:
        raise ValueError(f"expected at most {max_values:,} values{where}, got over {n_commas:,}")
