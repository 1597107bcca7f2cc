"""Parse an EnSight case, and find the files of a time step. Pure: reads no file itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources.ensight_sets import (
    LINE,
    MAX_DIGITS,
    FileSet,
    Timeline,
    TimeSet,
    parse_file_sets,
    parse_time_sets,
    unquoted,
)
from noether.data.zarr_store.sources.steps import MAX_STEPS, Step, Steps

__all__ = ["CaseEntry", "EnSightCase", "StepFile", "case_of_one_step", "parse_case"]

# Name of a file, and the index of the step in the file if it holds several steps.
StepFile = tuple[str, int | None]

_SECTIONS = {"FORMAT", "GEOMETRY", "VARIABLE", "TIME", "FILE", "MATERIAL", "BLOCK_CONTINUATION", "SCRIPTS"}
_WORD = re.compile(r'"([^"]*)"|(\S+)')
# The number of a set, followed by a description or a file. A name of a file can be a number, too.
_SET = re.compile(r"\s*([0-9]+)\s+(?=\S)")
_OPTIONS = re.compile(r"\s+(change_coords_only(\s+[0-9]+)?|changing_geometry_per_part)$")
_WILDCARDS = re.compile(r"\*+")


@dataclass(frozen=True, slots=True)
class CaseEntry:
    """One line of a case that names files.

    Attributes
    ----------
    key : str
        The words before the colon, such as ``model`` or ``scalar per element``.
    files : tuple of str
        Names of files relative to the case; ``*`` stands for the digits of a step's file number.
    description : str or None
        Name of the variable; None for geometry.
    time_set, file_set : int or None
        Numbers of the time set and the file set; None if the line names no set.
    rest : str
        Text after the files.
    step_in_file : int or None
        Index of the step in the files; None if each file holds one step.
    """

    key: str
    files: tuple[str, ...]
    description: str | None = None
    time_set: int | None = None
    rest: str = ""
    file_set: int | None = None
    step_in_file: int | None = None

    @property
    def step_files(self) -> list[StepFile]:
        """Files of the entry, each with the index of the step in it."""
        return [(name, self.step_in_file) for name in self.files]

    @property
    def set_of_files(self) -> int | None:
        """Number of the time set that determines the files; None if the files are the same at all steps."""
        if self.file_set is None and not any("*" in name for name in self.files):
            return None
        # As in VTK, a name with asterisks and without a time set belongs to time set 1.
        return 1 if self.time_set is None else self.time_set


@dataclass(slots=True)
class EnSightCase:
    """A parsed case.

    Attributes
    ----------
    header : list of str
        Lines of the section FORMAT.
    entries : list of CaseEntry
        Geometry and variables in the order of the case. Constants are left out: they have no values on a mesh.
    time_sets : dict of int to TimeSet
        Time sets by number.
    file_sets : dict of int to FileSet
        File sets by number.
    """

    header: list[str] = field(default_factory=list)
    entries: list[CaseEntry] = field(default_factory=list)
    time_sets: dict[int, TimeSet] = field(default_factory=dict)
    file_sets: dict[int, FileSet] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Return the names of all files, as written in the case."""
        return list(dict.fromkeys([name for entry in self.entries for name in entry.files] + self.files_of_sets))

    @property
    def files_of_sets(self) -> list[str]:
        """Names of the files that list the file numbers and times of time sets."""
        return [name for one in self.time_sets.values() for name in one.files]

    def steps(self, read: Callable[[str], str]) -> Steps:
        """Return the time steps. `read` is the same as for `at_step`."""
        return self._timeline(read).steps

    def at_step(self, step: Step, read: Callable[[str], str], where: str) -> list[CaseEntry]:
        """Return the entries with the files of one step.

        Parameters
        ----------
        step : int, "last" or None
            Number of a step. ``"last"`` and None select the last step of each time set.
        read : callable
            Function that returns the text of a file, named relative to the case; empty if the file does not exist.
        where : str
            Sample and file; errors begin with it.

        Raises
        ------
        SourceError
            The step does not exist, or a set does not determine the file of the step.
        """
        timeline = self._timeline(read)
        chosen = timeline.steps.choose(step, where)
        number = chosen if isinstance(step, int) else None
        return [self._entry_at(entry, timeline, number, read, where) for entry in self.entries]

    def _timeline(self, read: Callable[[str], str]) -> Timeline:
        numbers = dict.fromkeys(entry.set_of_files for entry in self.entries)
        used = {number: self.time_sets[number] for number in numbers if number in self.time_sets}
        # If no file changes, the case has one step, provided that a time set states its time.
        return Timeline.of(used or {number: one for number, one in self.time_sets.items() if one.n_steps == 1}, read)

    def _entry_at(
        self, entry: CaseEntry, timeline: Timeline, step: int | None, read: Callable[[str], str], where: str
    ) -> CaseEntry:
        number = entry.set_of_files
        if number is None:
            return entry
        _require_set("time", number, self.time_sets, entry, where)
        time_set = self.time_sets[number]
        index = timeline.index(number, time_set.n_steps, step)
        number_of_file, step_in_file = time_set.number_of_file(index, read), None
        if entry.file_set is not None:
            found = self.file_sets[entry.file_set].place(index)
            if found is None:
                raise SourceError(
                    f"{where}: file set {entry.file_set} has {self.file_sets[entry.file_set].n_steps:,} steps, but "
                    f"time set {number} has {time_set.n_steps:,}; correct the sections TIME and FILE"
                )
            number_of_file = number_of_file if found[0] is None else found[0]
            step_in_file = found[1]
        if number_of_file is None and any("*" in name for name in entry.files):
            raise SourceError(
                f"{where}: time set {number} has {time_set.n_steps:,} steps, but no file number for step {index}, "
                f"which {entry.files[0]!r} needs; correct its 'filename numbers', or its 'filename start number' and "
                "'filename increment'"
            )
        names = (_WILDCARDS.sub(lambda stars: str(number_of_file).zfill(len(stars[0])), name) for name in entry.files)
        return replace(entry, files=tuple(names), step_in_file=step_in_file)


def case_of_one_step(header: Iterable[str], entries: Sequence[CaseEntry], links: Mapping[StepFile, str]) -> str:
    """Return the text of a case without time sets.

    Parameters
    ----------
    header : iterable of str
        Lines of the section FORMAT.
    entries : sequence of CaseEntry
        Result of `EnSightCase.at_step`.
    links : mapping of StepFile to str
        Name to write for each file of the entries.
    """
    lines: dict[bool, list[str]] = {False: [], True: []}
    for entry in entries:
        words = [entry.description or "", *(links[one] for one in entry.step_files), entry.rest]
        lines[entry.description is not None].append(f"{entry.key}: {' '.join(filter(None, words))}")
    return "\n".join(["FORMAT", *header, "GEOMETRY", *lines[False], "VARIABLE", *lines[True], ""])


def parse_case(text: str, where: str) -> EnSightCase:
    """Parse a case.

    Parameters
    ----------
    text : str
        Content of the file. A text without sections is a case without entries.
    where : str
        Sample and file; errors begin with it.

    Raises
    ------
    SourceError
        A line refers to a time set or file set that the case does not define, or a set has more than a million steps.
    """
    case = EnSightCase()
    time_lines: list[str] = []
    file_lines: list[str] = []
    section = ""
    for line in (line.strip() for line in text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if line in _SECTIONS:
            section = line
        elif section == "FORMAT":
            case.header.append(line)
        elif section == "TIME":
            time_lines.append(line)
        elif section == "FILE":
            file_lines.append(line)
        elif section in {"GEOMETRY", "VARIABLE"}:
            case.entries += _entry(line, is_variable=section == "VARIABLE")
    case.time_sets, case.file_sets = parse_time_sets(time_lines), parse_file_sets(file_lines)
    for number, one in case.time_sets.items():
        if one.n_steps > MAX_STEPS:
            raise SourceError(f"{where}: time set {number} claims {one.n_steps:,} steps; correct the section TIME")
    for entry in case.entries:
        if entry.time_set is not None:
            _require_set("time", entry.time_set, case.time_sets, entry, where)
        if entry.file_set is not None:
            _require_set("file", entry.file_set, case.file_sets, entry, where)
    return case


def _require_set(kind: str, number: int, sets: Mapping[int, object], entry: CaseEntry, where: str) -> None:
    """Raise `SourceError` if the case does not define a time set or file set that an entry refers to."""
    if number not in sets:
        defined = ", ".join(map(str, sorted(sets))) or "none"
        raise SourceError(
            f"{where}: {entry.description or entry.key} refers to {kind} set {number}, which the case does not define "
            f"(its {kind} sets: {defined}); correct the section {kind.upper()}"
        )


def _entry(line: str, *, is_variable: bool) -> Iterator[CaseEntry]:
    """Yield the entry of a line; nothing if the line names no file with values on a mesh."""
    found = LINE.fullmatch(line)
    if found is None or found[1].startswith("constant per"):
        return
    key, rest = found[1], found[2]
    numbers: list[int] = []
    while len(numbers) < 2 and (number := _SET.match(rest)) and len(number[1]) <= MAX_DIGITS:
        numbers.append(int(number[1]))
        rest = rest[number.end() :]
    time_set, file_set = [*numbers, None, None][:2]
    rest = rest.strip()
    if not is_variable:
        if rest:
            yield CaseEntry(key, (unquoted(_OPTIONS.sub("", rest)),), None, time_set, file_set=file_set)
        return
    word = _WORD.match(rest)
    if word is None or not rest[word.end() :].strip():
        return
    description, rest = word[1] or word[2], rest[word.end() :].strip()
    if key.startswith("complex"):
        words = [quoted or bare for quoted, bare in _WORD.findall(rest)]
        yield CaseEntry(key, tuple(words[:2]), description, time_set, " ".join(words[2:]), file_set)
    else:
        yield CaseEntry(key, (unquoted(rest),), description, time_set, file_set=file_set)
