"""The files of an EnSight case at one time step. A file can hold several time steps, one after the other."""

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
# Fortran writes the length of a record before and after it.
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
        Geometry and variables with the files of the step; empty if the text is not a case.
    steps : Steps
        All time steps of the case.
    """

    header: list[str]
    entries: list[CaseEntry]
    steps: Steps


def case_at_step(path: Path, step: Step, where: str) -> CaseAtStep:
    """Read a local case file at one step. Parameters and errors are the same as for `EnSightCase.at_step`."""
    case = parse_case(_text_of(path), where)
    if not case.header or not case.entries:
        return CaseAtStep(case.header, [], Steps())

    def read(name: str) -> str:
        return _text_of(path.parent / name)

    return CaseAtStep(case.header, case.at_step(step, read, where), case.steps(read))


def files_of_case(path: Path) -> list[Path]:
    """Return the files that a local case file names; names with ``*``, which differ between steps, are left out."""
    return [path.parent / name for name in parse_case(_text_of(path), path.name).names() if "*" not in name]


def _text_of(path: Path) -> str:
    # Names of files are bytes, in any encoding.
    return path.read_text(errors="surrogateescape") if path.is_file() else ""


def extract_step(source: Path, index: int, target: Path, where: str) -> None:
    """Write one step of a file to a new file, which VTK reads.

    VTK's reader for files of several steps never returns if the file has no steps, or fewer steps than its case says.

    Parameters
    ----------
    source : Path
        File that holds several steps.
    index : int
        Index of the step in the file, from 0.
    target : Path
        Path of the new file.
    where : str
        Sample and file; errors begin with it.

    Raises
    ------
    SourceError
        The file does not exist, or does not hold that step.
    """
    ranges = step_ranges(source, index, where)
    with source.open("rb") as file, target.open("wb") as written:
        for start, stop in ranges:
            file.seek(start)
            for offset in range(start, stop, _COPY_BYTES):
                written.write(file.read(min(_COPY_BYTES, stop - offset)))


def step_ranges(source: Path, index: int, where: str) -> list[tuple[int, int]]:
    """Return the byte range before the first step, and the byte range of one step.

    Parameters and errors are the same as for `extract_step`.
    """
    if not source.is_file() or not source.stat().st_size:
        raise SourceError(f"{where}: {source.name} does not exist or is empty; add the file")
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        first = begin = data.find(_BEGIN)
        for count in range(index):
            following = data.find(_BEGIN, begin + 1) if begin >= 0 else -1
            _require_step(following, source, index, count + (begin >= 0), where)
            begin = following
        end = data.find(_END, begin + 1) if begin >= 0 else -1
        _require_step(end, source, index, index, where)
        before, after = _frame(data, begin)
        return [(0, first - before), (begin + after, end - before)]


def _frame(data: mmap.mmap, begin: int) -> tuple[int, int]:
    """Return two sizes of a record: the bytes before its text, which starts at `begin`, and the bytes from there on."""
    line = re.compile(re.escape(_BEGIN) + rb"[ \t]*\r?\n").match(data, begin)
    if line is not None:
        return 0, line.end() - begin
    if begin >= 4 and data[begin - 4 : begin] in _FORTRAN_LENGTHS:
        return 4, _RECORD_BYTES + 4
    return 0, _RECORD_BYTES


def _require_step(offset: int, source: Path, index: int, count: int, where: str) -> None:
    """Raise `SourceError` if the file holds only `count` steps, so that an offset of step `index` is negative."""
    if offset < 0:
        raise SourceError(
            f"{where}: {source.name} holds {count:,} whole time steps (BEGIN TIME STEP … END TIME STEP); expected "
            f"step {index}, counted from 0; correct the sections TIME and FILE, or write the file again"
        )
