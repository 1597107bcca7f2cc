"""Path patterns of kinds of files, and the patterns of sample ids derived from them. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from noether.data.zarr_store.sources.inspection.file_kinds import FileKind, VariableKind
from noether.data.zarr_store.sources.patterns import PathPattern

__all__ = ["UNWRITABLE", "KindPattern", "common_id", "natural_order", "placeholders_of"]

# Characters that a pattern cannot escape.
UNWRITABLE = re.compile(r"[{}*\\]")

_PLACEHOLDERS = {"number": "n", "name": "case", "split": "split"}
_LATER_PLACEHOLDERS = {"number": "t", "name": "name", "split": "split"}
_NUMBER = ":number}"


@dataclass(frozen=True, slots=True)
class KindPattern:
    """A kind of files, with placeholders for its variables.

    Attributes
    ----------
    kind : FileKind
        The kind of files.
    placeholders : tuple of str
        One placeholder per variable; ``*`` for a split that is not part of the ids.
    """

    kind: FileKind
    placeholders: tuple[str, ...]

    @property
    def components(self) -> list[str]:
        """Components of the pattern."""
        return [
            "".join(_literal(piece) if isinstance(piece, str) else self.placeholders[piece] for piece in component)
            for component in self.kind.components
        ]

    @property
    def pattern(self) -> str:
        """Pattern of the paths."""
        return "/".join(self.components)

    def takes_too(self, keys: Sequence[str]) -> str | None:
        """Return a file of another kind that the pattern matches too: run_{n}.vtp also matches run_1_ground.vtp."""
        pattern = PathPattern.parse(self.pattern)
        others = [key for key in keys if key not in self.kind.rows and pattern.match(key) is not None]
        return min(others, key=natural_order, default=None)

    def with_numbers(self) -> KindPattern:
        """Return a copy in which placeholders of numeric variables match only numbers."""
        kinds = zip(self.placeholders, self.kind.variables, strict=True)
        return replace(
            self,
            placeholders=tuple(one.replace("}", _NUMBER) if kind == "number" else one for one, kind in kinds),
        )

    @property
    def own_id(self) -> str:
        """Pattern of sample ids for this kind alone: the first path component that has all placeholders.

        If no component has all, the pattern joins the components that together have all placeholders.
        """
        if any(one.endswith(_NUMBER) for one in self.placeholders):
            return replace(self, placeholders=tuple(one.replace(_NUMBER, "}") for one in self.placeholders)).own_id
        named = [one for one in self.placeholders if one != "*"]
        components = self.components
        components[-1] = _up_to_last_placeholder(components[-1])
        for component in components:
            if all(one in component for one in named):
                return component.replace("*", "_")
        wanted, chosen = list(named), []
        for component in components:
            if any(one in component for one in wanted):
                chosen.append(component.replace("*", "_"))
                wanted = [one for one in wanted if one not in component]
        return "/".join(chosen)


def placeholders_of(variables: Sequence[VariableKind], keeps_split: bool) -> tuple[str, ...]:
    """Return one placeholder per variable: ``*`` for a split, unless `keeps_split` makes it part of the ids."""
    names: list[str] = []
    for kind in variables:
        if kind == "split" and not keeps_split:
            names.append("*")
            continue
        choices = [_PLACEHOLDERS[kind], _LATER_PLACEHOLDERS[kind], *(f"{_PLACEHOLDERS[kind]}{i}" for i in range(3, 99))]
        names.append(next(f"{{{name}}}" for name in choices if f"{{{name}}}" not in names))
    return tuple(names)


def common_id(written: Sequence[KindPattern]) -> str:
    """Return the pattern of sample ids for several kinds; only the placeholders, if their own patterns differ."""
    ids = {one.own_id for one in written}
    if len(ids) == 1:
        return ids.pop()
    return "/".join(one.replace(_NUMBER, "}") for one in written[0].placeholders if one != "*")


def _up_to_last_placeholder(text: str) -> str:
    return text[: text.rfind("}") + 1]


def _literal(text: str) -> str:
    # * replaces a character that a pattern cannot contain.
    return UNWRITABLE.sub("*", text)


def natural_order(text: str) -> list[tuple[int, str]]:
    """Return a key for sorting names, with numbers in them sorted by value."""
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in re.split("([0-9]+)", text)]
