"""Fair timing of contenders against each other in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.data import Arrays

__all__ = ["Contender", "order_of", "race"]


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Attributes
    ----------
    name : str
        Name in the table.
    read : callable of int to Arrays
        Does the work. Its argument is the number of the repetition, which seeds the draw.
    most_repetitions : int or None
        Limit of repetitions for slow contenders.
    """

    name: str
    read: Callable[[int], Arrays]
    most_repetitions: int | None = None


def race(contenders: list[Contender], repetitions: int) -> Mapping[str, list[float]]:
    """Time the contenders in turn, so that other load on the machine slows all of them.

    Each repetition has a different order, so that no contender always follows the same other one, which leaves the
    processor's caches in a particular state.

    Returns
    -------
    mapping of str to list of float
        Seconds by name of the contender.
    """
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for repetition in range(repetitions):
        for place in order_of(repetition, len(contenders)):
            contender = contenders[place]
            limit = contender.most_repetitions
            if limit is not None and repetition >= limit:
                continue
            start = time.perf_counter()
            result = contender.read(repetition)
            seconds[contender.name].append(time.perf_counter() - start)
            _require_float32(contender.name, result)
    return seconds


def order_of(repetition: int, count: int) -> list[int]:
    """Return the order of `count` contenders in a repetition; it is the same in every benchmark."""
    order: list[int] = np.random.default_rng([repetition, count]).permutation(count).tolist()
    return order


def _require_float32(name: str, result: Mapping[str, Any]) -> None:
    for field, values in result.items():
        if not isinstance(values, np.ndarray) or values.dtype != np.float32:
            raise TypeError(f"{name}: {field}: expected an array of float32, got {type(values)}")
