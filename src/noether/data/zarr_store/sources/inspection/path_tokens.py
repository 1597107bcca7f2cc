"""Splitting names of files and directories into texts, numbers and known values. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

__all__ = ["Token", "affixes", "split_name", "words_of"]

# A number can have a sign at the start of a word, decimals and an exponent: "run_1", "0.15", "aoa_-5", "1e-05".
_NUMBER = re.compile(r"(?:(?<![A-Za-z0-9.)\]-])-)?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+(?![A-Za-z0-9]))?")
_WORD = re.compile("[A-Za-z0-9]+")
_SEPARATORS = "_-. "


@dataclass(frozen=True, slots=True)
class Token:
    """One piece of a name.

    Attributes
    ----------
    kind : {"text", "number", "known"}
        Fixed text, a number, or the value of a variable that is known from a parent directory.
    text : str
        Text of the token.
    variable : int or None
        Index of the known variable.
    """

    kind: Literal["text", "number", "known"]
    text: str
    variable: int | None = None

    @property
    def shape(self) -> tuple[str, str, int | None]:
        """Key that the corresponding tokens of similar names share."""
        return (self.kind, self.text if self.kind == "text" else "", self.variable)


def split_name(name: str, known: Mapping[int, str] | None = None) -> list[Token]:
    """Split a name into tokens.

    Parameters
    ----------
    name : str
        One component of a path.
    known : mapping of int to str, optional
        Values of known variables; they are matched as whole words.
    """
    return list(_split(name, tuple((known or {}).items())))


@lru_cache(maxsize=1 << 16)
def _split(name: str, known: tuple[tuple[int, str], ...]) -> tuple[Token, ...]:
    for variable, value in sorted(known, key=lambda one: len(one[1]), reverse=True):
        start = _find_word(name, value)
        if start >= 0:
            rest = tuple(one for one in known if one[0] != variable)
            middle = Token("known", value, variable)
            return (*_split(name[:start], rest), middle, *_split(name[start + len(value) :], known))
    tokens: list[Token] = []
    end = 0
    for found in _NUMBER.finditer(name):
        if found.start() > end:
            tokens.append(Token("text", name[end : found.start()]))
        tokens.append(Token("number", found[0]))
        end = found.end()
    if end < len(name):
        tokens.append(Token("text", name[end:]))
    return tuple(tokens)


def _find_word(text: str, word: str) -> int:
    """Return the offset of the first occurrence of a word with no letter or digit beside it, or -1."""
    start = text.find(word)
    while start >= 0:
        around = text[max(0, start - 1) : start] + text[start + len(word) : start + len(word) + 1]
        if not any(letter.isascii() and letter.isalnum() for letter in around):
            return start
        start = text.find(word, start + 1)
    return -1


def affixes(names: Sequence[str]) -> tuple[str, str]:
    """Return the common prefix and the common suffix of all names, each up to a separator."""
    before = _common_start(names)
    before = before[: 1 + max(before.rfind(one) for one in _SEPARATORS)]
    rests = [name[len(before) :][::-1] for name in names]
    after = _common_start(rests)[::-1]
    first = min((after.find(one) for one in _SEPARATORS if one in after), default=len(after))
    return before, after[first:]


def _common_start(texts: Sequence[str]) -> str:
    low, high = min(texts), max(texts)
    return next((low[:i] for i, letter in enumerate(low) if letter != high[i]), low)


def words_of(text: str) -> list[str]:
    """Return the words of a text: sequences of letters and digits."""
    return _WORD.findall(text)
