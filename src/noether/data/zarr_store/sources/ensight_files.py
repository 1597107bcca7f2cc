"""The files of an EnSight case at one time step, also where a file holds several, one after the other."""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass
from pathlib import Path

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources.ensight_case import CaseEntry, parse_case
from noether.data.zarr_store.sources.steps import Step, Steps

__all__ = ["CaseAtStep", "case_at_step", "extract_step", "files_of_case", "step_ranges"]

_BEGIN, _END = b"BEGIN TIME STEP", b"END TIME STEP"
_RECORD_BYTES = 80
# In files of Fortran the length of a record stands before and after it.
_FORTRAN_LENGTHS = (_RECORD_BYTES.to_bytes(4, "little"), _RECORD_BYTES.to_bytes(4, "big"))
_COPY_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class CaseAtStep:
    """A case at one time step.

    Attributes
    ----------
    header : list of str
        Lines of the section FORMAT.
    entries : list of CaseEntry
        Geometry and variables with the files of the step; none of a text that is no case.
    steps : Steps
        All time steps of the case.
    """

    header: list[str]
    entries: list[CaseEntry]
    steps: Steps


def case_at_step(path: Path, step: Step, where: str) -> CaseAtStep:
    """Read a case, a local file, at a step; parameters and errors are those of `EnSightCase.at_step`."""
    case = parse_case(_text_of(path), where)
    if not case.header or not case.entries:
        return CaseAtStep(case.header, [], Steps())

    def read(name: str) -> str:
        return _text_of(path.parent / name)

    return CaseAtStep(case.header, case.at_step(step, read, where), case.steps(read))


def files_of_case(path: Path) -> list[Path]:
    """Return the files that a case, a local file, names, but those whose names have a step's number."""
    return [path.parent / name for name in parse_case(_text_of(path), path.name).names() if "*" not in name]


def _text_of(path: Path) -> str:
    # Names of files are bytes.
    return path.read_text(errors="surrogateescape") if path.is_file() else ""


def extract_step(source: Path, index: int, target: Path, where: str) -> None:
    """Write a step of a file as a file of its own, which VTK reads.

    VTK's reader of files of several steps does not end where a file has fewer steps than its case says, or none.

    Parameters
    ----------
    source : Path
        A file that holds several steps.
    index : int
        Which of them, counted from 0.
    target : Path
        A new file.
    where : str
        Names sample and files, to begin an error with.

    Raises
    ------
    SourceError
        The file is not there, or does not hold that step.
    """
    ranges = step_ranges(source, index, where)
    with source.open("rb") as file, target.open("wb") as written:
        for start, stop in ranges:
            file.seek(start)
            for position in range(start, stop, _COPY_BYTES):
                written.write(file.read(min(_COPY_BYTES, stop - position)))


def step_ranges(source: Path, index: int, where: str) -> list[tuple[int, int]]:
    """Return where a file has what comes before all steps, and a step; parameters are those of `extract_step`."""
    if not source.is_file() or not source.stat().st_size:
        raise SourceError(f"{where}: {source.name} is not there, or empty; add it")
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        first = begin = data.find(_BEGIN)
        for count in range(index):
            following = data.find(_BEGIN, begin + 1) if begin >= 0 else -1
            if following < 0:
                raise SourceError(_lacking(source, index, count + (begin >= 0), where))
            begin = following
        end = data.find(_END, begin + 1) if begin >= 0 else -1
        if end < 0:
            raise SourceError(_lacking(source, index, index, where))
        before, after = _frame(data, begin)
        return [(0, first - before), (begin + after, end - before)]


def _frame(data: mmap.mmap, begin: int) -> tuple[int, int]:
    """Return how many bytes of the record at `begin` lie before it, and how many after the beginning of its text."""
    line = re.compile(re.escape(_BEGIN) + rb"[ \t]*\r?\n").match(data, begin)
    if line is not None:
        return 0, line.end() - begin
    if begin >= 4 and data[begin - 4 : begin] in _FORTRAN_LENGTHS:
        return 4, _RECORD_BYTES + 4
    return 0, _RECORD_BYTES


def _lacking(source: Path, index: int, count: int, where: str) -> str:
    return (
        f"{where}: {source.name} holds {count:,} whole time steps ({_BEGIN.decode()} … {_END.decode()}), and step "
        f"{index} of it is asked for, counted from 0; correct the sections TIME and FILE, or write the file again"
    )
