"""Time sets and file sets of an EnSight case: they map a step of the case to a file, and to a step in it. Pure."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from noether.data.zarr_store.sources.steps import Steps

__all__ = ["LINE", "MAX_DIGITS", "FileSet", "TimeSet", "Timeline", "parse_file_sets", "parse_time_sets", "unquoted"]

LINE = re.compile(r"([A-Za-z_][A-Za-z_ ]*):(.*)")
# Largest number of digits of a number in a case.
MAX_DIGITS = 18

Read = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class TimeSet:
    """One time set.

    Attributes
    ----------
    n_steps : int
        Number of steps.
    times : tuple of float
        Times of the steps; empty if the case does not list them.
    numbers : tuple of int
        File number of each step; empty if the case does not list them.
    start : int or None
        File number of the first step; None if the case lists the file numbers.
    increment : int
        Difference of the file numbers of two successive steps.
    numbers_file, times_file : str or None
        Files that list the file numbers and the times.
    """

    n_steps: int = 1
    times: tuple[float, ...] = ()
    numbers: tuple[int, ...] = ()
    start: int | None = None
    increment: int = 1
    numbers_file: str | None = None
    times_file: str | None = None

    @property
    def files(self) -> list[str]:
        """Files that list the file numbers and the times."""
        return [name for name in (self.numbers_file, self.times_file) if name is not None]

    def number_of_file(self, index: int, read: Read) -> int | None:
        """Return the file number of a step; None if the set does not state it."""
        if self.start is not None:
            return self.start + index * self.increment
        numbers: Sequence[int] = self.numbers
        if not numbers and self.numbers_file is not None:
            numbers = _integers(read(self.numbers_file).split())
        return numbers[index] if index < len(numbers) else None

    def known_times(self, read: Read) -> tuple[float, ...]:
        """Return the time of each step; an empty tuple if the time of any step is unknown."""
        times: Sequence[float] = self.times
        if not times and self.times_file is not None:
            times = _numbers(read(self.times_file).split())
        return tuple(times[: self.n_steps]) if len(times) >= self.n_steps else ()


@dataclass(frozen=True, slots=True)
class FileSet:
    """One file set: files that hold several steps each.

    Attributes
    ----------
    files : tuple of (int or None, int)
        File number and number of steps of each file. The file number is None in a set of one file.
    """

    files: tuple[tuple[int | None, int], ...]

    @property
    def n_steps(self) -> int:
        """Number of steps of all files."""
        return sum(n_steps for _, n_steps in self.files)

    def place(self, index: int) -> tuple[int | None, int] | None:
        """Return the number of the file that holds a step, and the step's index in it; None if no file holds it."""
        for number, n_steps in self.files:
            if index < n_steps:
                return number, index
            index -= n_steps
        return None


@dataclass(frozen=True, slots=True)
class Timeline:
    """The steps of a case, merged from the steps of its time sets.

    A time set of one step is constant. If the other time sets differ, the case has one step for each of their times,
    in ascending order. At each of these times, a time set has its latest step that is not later, or else its first
    step. VTK reads them in the same way.

    Attributes
    ----------
    steps : Steps
        Steps of the case.
    times : dict of int to tuple of float
        Times of each time set by its number; empty unless the time sets differ.
    """

    steps: Steps
    times: dict[int, tuple[float, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, time_sets: Mapping[int, TimeSet], read: Read) -> Timeline:
        """Return the timeline of the time sets that determine files."""
        changing = {number: one for number, one in time_sets.items() if one.n_steps > 1}
        if not changing:
            times = next((one.known_times(read) for one in time_sets.values()), ())
            return cls(Steps(min(len(time_sets), 1), times))
        all_times = {number: one.known_times(read) for number, one in changing.items()}
        known = {times for times in all_times.values() if times}
        if len({one.n_steps for one in changing.values()}) == 1 and len(known) <= 1:
            return cls(Steps(next(iter(changing.values())).n_steps, next(iter(known), ())))
        if any(not times or list(times) != sorted(set(times)) for times in all_times.values()):
            counts = ", ".join(f"set {number} has {one.n_steps:,} steps" for number, one in changing.items())
            return cls(Steps(problem=f"the times of its time sets do not increase or are not listed ({counts})"))
        union = tuple(sorted({time for times in all_times.values() for time in times}))
        return cls(Steps(len(union), union), all_times)

    def index(self, number: int, n_steps: int, step: int | None) -> int:
        """Return the step of a time set at a step of the case.

        Parameters
        ----------
        number : int
            Number of the time set.
        n_steps : int
            Number of steps of the time set.
        step : int or None
            Step of the case; None returns the last step of the time set.
        """
        if step is None or n_steps == 1:
            return n_steps - 1
        if number not in self.times:
            return step
        return max(bisect_right(self.times[number], self.steps.times[step]) - 1, 0)


def parse_time_sets(lines: Iterable[str]) -> dict[int, TimeSet]:
    """Parse the lines of a section TIME."""
    sets: dict[int, dict[str, list[str]]] = {}
    # A case with one time set need not number it.
    number = 1
    words: list[str] = []
    for line in lines:
        found = LINE.fullmatch(line)
        if found is None:
            words += line.split()  # a list of numbers continues on this line
        elif found[1] == "time set":
            number = (_integers(found[2].split()[:1]) or [1])[0]
            words = sets.setdefault(number, {}).setdefault("", [])
        else:
            words = sets.setdefault(number, {}).setdefault(found[1], [])
            words += found[2].split() if not found[1].endswith("file") else [unquoted(found[2].strip())]
    return {number: _time_set(keys) for number, keys in sets.items()}


def _time_set(keys: dict[str, list[str]]) -> TimeSet:
    numbers = _integers(keys.get("filename numbers", []))
    start = _integers(keys.get("filename start number", [])[:1])
    increment = _integers(keys.get("filename increment", [])[:1])
    n_steps = _integers(keys.get("number of steps", [])[:1]) or [len(numbers) or len(keys.get("time values", [])) or 1]
    return TimeSet(
        max(n_steps[0], 1),
        tuple(_numbers(keys.get("time values", []))),
        tuple(numbers),
        start[0] if start else None,
        increment[0] if increment else 1,
        next(iter(keys.get("filename numbers file", [])), None),
        next(iter(keys.get("time values file", [])), None),
    )


def parse_file_sets(lines: Iterable[str]) -> dict[int, FileSet]:
    """Parse the lines of a section FILE."""
    sets: dict[int, list[tuple[int | None, int]]] = {}
    number, index = 1, None
    for line in lines:
        found = LINE.fullmatch(line)
        value = _integers(found[2].split()[:1]) if found is not None else []
        if found is None or not value:
            continue
        if found[1] == "file set":
            number, index = value[0], None
        elif found[1] == "filename index":
            index = value[0]
        elif found[1] == "number of steps":
            sets.setdefault(number, []).append((index, value[0]))
    return {number: FileSet(tuple(files)) for number, files in sets.items()}


def unquoted(text: str) -> str:
    """Return the name between quotes, or all of the text if it has no quotes. Both can contain blanks."""
    quoted = re.match(r'"([^"]*)"', text)
    return quoted[1] if quoted else text


def _integers(words: Iterable[str]) -> list[int]:
    return [int(word) for word in words if re.fullmatch(f"[0-9]{{1,{MAX_DIGITS}}}", word)]


def _numbers(words: Iterable[str]) -> list[float]:
    """Return the words as numbers; an empty list if any word is not a finite number."""
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []
