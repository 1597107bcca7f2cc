"""Patterns of file names with placeholders: ``run_{n}/boundary_{n}.vtp``. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from noether.data.zarr_store.errors import ArgumentError

__all__ = ["PART", "PathPattern"]

# The placeholder that numbers the pieces of a file.
PART = "part"

# Regular expressions of the kinds of placeholders: "{n:number}" matches a number, "{n}" any name.
_KINDS = {"": "[^/]+", ":number": r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"}

_TOKEN = re.compile(r"\{([^{}]*)\}|(\*)|([{}])|([^{}*]+)")


@dataclass(frozen=True, slots=True)
class PathPattern:
    """Pattern of paths below a source's root.

    ``{name}`` matches one or more characters except ``/``. ``{name:number}`` matches a number. A name that is used
    again matches the same text. ``{part}`` matches only digits. ``*`` matches any number of characters except ``/``.

    Attributes
    ----------
    text : str
        Text of the pattern.
    names : tuple of str
        Names of its placeholders.
    """

    text: str
    names: tuple[str, ...]
    _regex: re.Pattern[str]

    @classmethod
    def parse(cls, text: str) -> PathPattern:
        """Parse a pattern.

        Raises
        ------
        ArgumentError
            A brace is not closed, a placeholder has no valid name, or the path leads out of the root.
        """
        if not text or text.startswith("/") or "\\" in text or {"", ".", ".."} & set(text.split("/")):
            raise ArgumentError(
                f"{text!r}: expected a path below the source's root; write, for example, 'run_{{n}}/surface.vtp'"
            )
        names: list[str] = []
        pieces = []
        for placeholder, star, brace, literal in _TOKEN.findall(text):
            name, colon, kind = placeholder.partition(":")
            if brace or not ((name.isidentifier() and colon + kind in _KINDS) or star or literal):
                raise ArgumentError(
                    f"{text!r}: expected placeholders such as {{n}} or {{n:number}}; write a name in braces"
                )
            if name and name not in names:
                names.append(name)
                pieces.append(f"(?P<{name}>{'[0-9]+' if name == PART else _KINDS[colon + kind]})")
            else:
                pieces.append(f"(?P={name})" if name else "[^/]*" if star else re.escape(literal))
        return cls(text, tuple(names), re.compile("".join(pieces)))

    def match(self, path: str) -> dict[str, str] | None:
        """Return the values of the placeholders in `path`, or None if it does not match."""
        found = self._regex.fullmatch(path)
        return None if found is None else found.groupdict()

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the path with values in place of the placeholders."""
        return re.sub(r"\{(\w+)(?::\w+)?\}", lambda name: values[name[1]], self.text)
