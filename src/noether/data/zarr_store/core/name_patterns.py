"""Patterns that match names, such as the names of the parts of an EnSight mesh. Pure."""

from __future__ import annotations

import re

__all__ = ["name_matches"]

_WILDCARDS = {"*": ".*", "?": "."}


def name_matches(name: str, pattern: str) -> bool:
    """Return whether a pattern matches a whole name.

    ``*`` matches any characters, ``?`` matches one character, and all other characters match themselves. In contrast to
    a shell, brackets have no special meaning, because solvers put brackets into names.
    """
    expression = "".join(_WILDCARDS.get(text, re.escape(text)) for text in re.split(r"([*?])", pattern))
    return re.fullmatch(expression, name, re.DOTALL) is not None
