"""Numbers with their nouns, for messages and descriptions."""

from __future__ import annotations

__all__ = ["count_of"]


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 sample``, ``2,041 points``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
