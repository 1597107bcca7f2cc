"""The patterns of the paths of files of one kind, and the ids of samples that come from them. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from noether.data.zarr_store.sources.inspection.file_kinds import FileKind, VariableKind
from noether.data.zarr_store.sources.patterns import PathPattern

__all__ = ["UNWRITABLE", "KindPattern", "common_id", "natural_order", "placeholders_of"]

# Patterns have no escape for these.
UNWRITABLE = re.compile(r"[{}*\\]")

_PLACEHOLDERS = {"number": "n", "name": "case", "split": "split"}
_LATER_PLACEHOLDERS = {"number": "t", "name": "name", "split": "split"}
_NUMBER = ":number}"


@dataclass(frozen=True, slots=True)
class KindPattern:
    """A kind of files, with the placeholders that stand for its variables.

    Attributes
    ----------
    kind : FileKind
        The files.
    placeholders : tuple of str
        A placeholder for each variable, ``*`` among them for a split that is no part of the ids.
    """

    kind: FileKind
    placeholders: tuple[str, ...]

    @property
    def components(self) -> list[str]:
        """The components of its pattern."""
        return [
            "".join(_literal(piece) if isinstance(piece, str) else self.placeholders[piece] for piece in component)
            for component in self.kind.components
        ]

    @property
    def pattern(self) -> str:
        """The pattern of their paths."""
        return "/".join(self.components)

    def takes_too(self, keys: Sequence[str]) -> str | None:
        """Return a file of another kind that the pattern matches, as run_{n}.vtp does run_1_ground.vtp."""
        pattern = PathPattern.parse(self.pattern)
        others = [key for key in keys if key not in self.kind.rows and pattern.match(key) is not None]
        return min(others, key=natural_order, default=None)

    def with_numbers(self) -> KindPattern:
        """Return it with placeholders for numbers alone, where its variables are numbers."""
        kinds = zip(self.placeholders, self.kind.variables, strict=True)
        return replace(
            self,
            placeholders=tuple(one.replace("}", _NUMBER) if kind == "number" else one for one, kind in kinds),
        )

    @property
    def own_id(self) -> str:
        """The pattern of sample ids that these files alone would have: the components that have all placeholders."""
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
    """Return a placeholder for each variable: ``*`` for a split, unless it is to be part of the ids."""
    names: list[str] = []
    for kind in variables:
        if kind == "split" and not keeps_split:
            names.append("*")
            continue
        choices = [_PLACEHOLDERS[kind], _LATER_PLACEHOLDERS[kind], *(f"{_PLACEHOLDERS[kind]}{i}" for i in range(3, 99))]
        names.append(next(f"{{{name}}}" for name in choices if f"{{{name}}}" not in names))
    return tuple(names)


def common_id(written: Sequence[KindPattern]) -> str:
    """Return the pattern of sample ids for several kinds of files: the placeholders alone where they disagree."""
    ids = {one.own_id for one in written}
    if len(ids) == 1:
        return ids.pop()
    return "/".join(one.replace(_NUMBER, "}") for one in written[0].placeholders if one != "*")


def _up_to_last_placeholder(text: str) -> str:
    return text[: text.rfind("}") + 1]


def _literal(text: str) -> str:
    # Where a pattern cannot have a character, it takes any.
    return UNWRITABLE.sub("*", text)


def natural_order(text: str) -> list[tuple[int, str]]:
    """Return a key to sort names by, with numbers in them by their values."""
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in re.split("([0-9]+)", text)]
