"""Joining arrays whose names say that they are the components of one vector. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from noether.data.zarr_store.sources.inspection.contents import FoundArray

__all__ = ["join_components"]

# The component is at the end of the name, with or without a separator, or at its start, as in x_velocity of Fluent.
_LETTERS = re.compile(r"(?P<name>.*?)[_:. -]?\[?(?P<component>[xyzXYZ])\]?")
_FIRST_LETTERS = re.compile(r"(?P<component>[xyzXYZ])[_-](?P<name>.+)")
_NUMBERS = re.compile(r"(?P<name>.*?)[_:. -]?\[?(?P<component>[012])\]?")


def join_components(
    arrays: Sequence[FoundArray], is_vector: Callable[[FoundArray, str], bool]
) -> list[tuple[FoundArray, tuple[str, ...]]]:
    """Return the arrays of a file, with the three components of each vector joined into one array.

    Parameters
    ----------
    arrays : sequence of FoundArray
        Arrays in the order of the file.
    is_vector : callable
        Takes an array of three components and its name, and returns whether the name is that of a vector.

    Returns
    -------
    list of (FoundArray, tuple of str)
        Each array with the names of its three components, or with its own name.
    """
    joined: dict[str, tuple[FoundArray, tuple[str, ...]]] = {}
    for pattern, labels in ((_LETTERS, "xyz"), (_FIRST_LETTERS, "xyz"), (_NUMBERS, "012")):
        found: dict[tuple[str, tuple[object, ...]], dict[str, FoundArray]] = {}
        for array in arrays:
            folder, _, bare = array.name.rpartition("/")
            match = pattern.fullmatch(bare)
            if match is not None and array.shape[1:] in {(), (1,)} and array.dtype.startswith("float"):
                name = f"{folder}/{match['name']}".lstrip("/")
                around = bare[: match.start("component")], bare[match.end("component") :], match["component"].isupper()
                of_vector = found.setdefault((name, (around, array.shape, array.dtype)), {})
                of_vector[match["component"].lower()] = array
        for (name, _), components in found.items():
            if set(components) != set(labels):
                continue
            three = [components[label] for label in labels]
            bare = name.rpartition("/")[2]
            called = name if bare else f"{name}xyz"
            vector = _joined(three, called)
            if is_vector(vector, called):
                joined |= {array.name: (vector, tuple(one.name for one in three)) for array in three}
    result: list[tuple[FoundArray, tuple[str, ...]]] = []
    for array in arrays:
        one = joined.get(array.name, (array, (array.name,)))
        if one not in result:
            result.append(one)
    return result


def _joined(components: Sequence[FoundArray], name: str) -> FoundArray:
    lows = [one.minimum for one in components if one.minimum is not None]
    highs = [one.maximum for one in components if one.maximum is not None]
    first = components[0]
    return replace(
        first,
        name=name,
        shape=(first.shape[0], len(components)),
        minimum=min(lows, default=None),
        maximum=max(highs, default=None),
        n_nan=sum(one.n_nan for one in components),
    )
