"""The text of an EnSight case: which files it names, and which of them hold the last step. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from noether.data.zarr_store.errors import SourceError

__all__ = ["CaseEntry", "EnSightCase", "TimeSet", "parse_case"]

_SECTIONS = {"FORMAT", "GEOMETRY", "VARIABLE", "TIME", "FILE", "MATERIAL", "BLOCK_CONTINUATION", "SCRIPTS"}
_LINE = re.compile(r"([A-Za-z_][A-Za-z_ ]*):(.*)")
_WORD = re.compile(r'"([^"]*)"|(\S+)')
# A number of a set is followed by a description or a file; a file may be called by a number itself.
_SET = re.compile(r"\s*([0-9]+)\s+(?=\S)")
_OPTIONS = re.compile(r"\s+(change_coords_only(\s+[0-9]+)?|changing_geometry_per_part)$")
_WILDCARDS = re.compile(r"\*+")
# A file name has so many digits at most, and a time set so many steps.
_MAX_DIGITS = 18


@dataclass(frozen=True, slots=True)
class TimeSet:
    """One time set.

    Attributes
    ----------
    n_steps : int
        Its number of steps.
    numbers : tuple of int
        Numbers of the files, one for each step; empty where the case does not list them.
    start, increment : int or None
        First number and difference of the numbers, where the case does not list them.
    numbers_file : str or None
        File that lists the numbers.
    """

    n_steps: int = 1
    numbers: tuple[int, ...] = ()
    start: int | None = None
    increment: int = 1
    numbers_file: str | None = None


@dataclass(frozen=True, slots=True)
class CaseEntry:
    """One line of a case that names files.

    Attributes
    ----------
    key : str
        The words before the colon, such as ``model`` or ``scalar per element``.
    files : tuple of str
        Names of files, relative to the case; ``*`` stands for the digits of a step.
    description : str or None
        Name of the variable; None for geometry.
    time_set : int or None
        Number of the time set; None where the line has none.
    rest : str
        Text after the files.
    """

    key: str
    files: tuple[str, ...]
    description: str | None = None
    time_set: int | None = None
    rest: str = ""


@dataclass(slots=True)
class EnSightCase:
    """A case.

    Attributes
    ----------
    header : list of str
        Lines of the section FORMAT.
    entries : list of CaseEntry
        Geometry and variables, in the order of the case. Constants have no values on a mesh, and are left out.
    time_sets : dict of int to TimeSet
        By number.
    has_file_sets : bool
        Whether files hold several steps each.
    """

    header: list[str] = field(default_factory=list)
    entries: list[CaseEntry] = field(default_factory=list)
    time_sets: dict[int, TimeSet] = field(default_factory=dict)
    has_file_sets: bool = False

    def names(self) -> list[str]:
        """Return every name of a file as the case has it."""
        of_sets = [one.numbers_file for one in self.time_sets.values() if one.numbers_file is not None]
        return list(dict.fromkeys([name for entry in self.entries for name in entry.files] + of_sets))

    def last_step(self, read: Callable[[str], str], where: str) -> list[CaseEntry]:
        """Return the entries with the files of the last step of their own time set.

        Parameters
        ----------
        read : callable
            Returns the text of a file that is named relative to the case; empty where the file does not exist.
        where : str
            Names sample and file, to begin an error with.

        Raises
        ------
        SourceError
            A time set does not tell the number of its last file.
        """
        return [
            replace(entry, files=tuple(self._last_file(name, entry, read, where) for name in entry.files))
            for entry in self.entries
        ]

    def _last_file(self, name: str, entry: CaseEntry, read: Callable[[str], str], where: str) -> str:
        if "*" not in name:
            return name
        # As VTK does: a name with asterisks and no time set is one of the first.
        number = 1 if entry.time_set is None else entry.time_set
        if number not in self.time_sets:
            raise SourceError(_undefined(self, entry, number, where))
        last = _last_number(self.time_sets[number], read)
        if last is None:
            raise SourceError(
                f"{where}: time set {number} has {self.time_sets[number].n_steps} steps, and no number of a file for "
                f"the last one, which {name!r} needs; correct its 'filename numbers', or its 'filename start number' "
                "and 'filename increment'"
            )
        return _WILDCARDS.sub(lambda stars: str(last).zfill(len(stars[0])), name)


def parse_case(text: str, where: str) -> EnSightCase:
    """Parse a case.

    Parameters
    ----------
    text : str
        All of the file; a text without sections is a case without entries.
    where : str
        Names sample and file, to begin an error with.

    Raises
    ------
    SourceError
        A line refers to a time set that the case does not define.
    """
    case = EnSightCase()
    time_lines: list[str] = []
    section = ""
    for line in (line.strip() for line in text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if line in _SECTIONS:
            section = line
            case.has_file_sets |= section == "FILE"
        elif section == "FORMAT":
            case.header.append(line)
        elif section == "TIME":
            time_lines.append(line)
        elif section in {"GEOMETRY", "VARIABLE"}:
            case.entries += _entry(line, is_variable=section == "VARIABLE")
    case.time_sets = _time_sets(time_lines)
    for entry in case.entries:
        if entry.time_set is not None and entry.time_set not in case.time_sets:
            raise SourceError(_undefined(case, entry, entry.time_set, where))
    return case


def _undefined(case: EnSightCase, entry: CaseEntry, number: int, where: str) -> str:
    there = ", ".join(map(str, sorted(case.time_sets))) or "none"
    return (
        f"{where}: {entry.description or entry.key} refers to time set {number}, which the case does not define; its "
        f"time sets: {there}; correct the section TIME"
    )


def _entry(line: str, *, is_variable: bool) -> Iterator[CaseEntry]:
    """Yield the entry of a line; none where the line names no file with values on a mesh."""
    found = _LINE.fullmatch(line)
    if found is None or found[1].startswith("constant per"):
        return
    key, rest = found[1], found[2]
    numbers: list[int] = []
    while len(numbers) < 2 and (number := _SET.match(rest)) and len(number[1]) <= _MAX_DIGITS:
        numbers.append(int(number[1]))
        rest = rest[number.end() :]
    time_set = numbers[0] if numbers else None
    rest = rest.strip()
    if not is_variable:
        if rest:
            yield CaseEntry(key, (_unquoted(_OPTIONS.sub("", rest)),), None, time_set)
        return
    word = _WORD.match(rest)
    if word is None or not rest[word.end() :].strip():
        return
    description, rest = word[1] or word[2], rest[word.end() :].strip()
    if key.startswith("complex"):
        words = [quoted or bare for quoted, bare in _WORD.findall(rest)]
        yield CaseEntry(key, tuple(words[:2]), description, time_set, " ".join(words[2:]))
    else:
        yield CaseEntry(key, (_unquoted(rest),), description, time_set)


def _unquoted(text: str) -> str:
    """Return the name in quotes, if there are any; without quotes a name may have blanks, too."""
    quoted = re.match(r'"([^"]*)"', text)
    return quoted[1] if quoted else text


def _time_sets(lines: Iterable[str]) -> dict[int, TimeSet]:
    sets: dict[int, dict[str, list[str]]] = {}
    # A case with one time set need not number it.
    number = 1
    words: list[str] = []
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            words += line.split()  # numbers that go on
        elif found[1] == "time set":
            number = (_integers(found[2].split()[:1]) or [1])[0]
            words = sets.setdefault(number, {}).setdefault("", [])
        else:
            words = sets.setdefault(number, {}).setdefault(found[1], [])
            words += found[2].split() if not found[1].endswith("file") else [_unquoted(found[2].strip())]
    return {number: _time_set(keys) for number, keys in sets.items()}


def _time_set(keys: dict[str, list[str]]) -> TimeSet:
    numbers = _integers(keys.get("filename numbers", []))
    start = _integers(keys.get("filename start number", [])[:1])
    increment = _integers(keys.get("filename increment", [])[:1])
    n_steps = _integers(keys.get("number of steps", [])[:1]) or [len(numbers) or len(keys.get("time values", [])) or 1]
    return TimeSet(
        max(n_steps[0], 1),
        tuple(numbers),
        start[0] if start else None,
        increment[0] if increment else 1,
        next(iter(keys.get("filename numbers file", [])), None),
    )


def _last_number(time_set: TimeSet, read: Callable[[str], str]) -> int | None:
    if time_set.start is not None:
        return time_set.start + (time_set.n_steps - 1) * time_set.increment
    numbers: Iterable[int] = time_set.numbers
    if not numbers and time_set.numbers_file is not None:
        numbers = _integers(read(time_set.numbers_file).split())
    return next(iter(list(numbers)[time_set.n_steps - 1 : time_set.n_steps]), None)


def _integers(words: Iterable[str]) -> list[int]:
    return [int(word) for word in words if re.fullmatch(f"[0-9]{{1,{_MAX_DIGITS}}}", word)]
