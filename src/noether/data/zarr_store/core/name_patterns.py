"""Patterns of names, such as those of a mesh's parts. Pure."""

from __future__ import annotations

import re

__all__ = ["name_matches"]

_WILDCARDS = {"*": ".*", "?": "."}


def name_matches(name: str, pattern: str) -> bool:
    """Return whether a pattern stands for a name: ``*`` for any characters, ``?`` for one, all others for themselves.

    Solvers put brackets into names, so brackets are no set of characters, as they are for a shell.
    """
    expression = "".join(_WILDCARDS.get(text, re.escape(text)) for text in re.split(r"([*?])", pattern))
    return re.fullmatch(expression, name, re.DOTALL) is not None
