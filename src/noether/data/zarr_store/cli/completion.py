"""Values that the shell completes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

__all__ = ["completes"]


def completes(values: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a function that lists the values that begin with the text typed so far, for `typer.Option`."""
    known = list(values)

    def matching(incomplete: str) -> list[str]:
        return [value for value in known if value.startswith(incomplete)]

    return matching
