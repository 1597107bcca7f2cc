"""EnSight files that hold several time steps, one after the other: one step of them as a file of its own."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

from noether.data.zarr_store.errors import SourceError

__all__ = ["extract_step"]

_BEGIN, _END = b"BEGIN TIME STEP", b"END TIME STEP"
_RECORD_BYTES = 80
# In files of Fortran the length of a record stands before and after it.
_FORTRAN_LENGTHS = (_RECORD_BYTES.to_bytes(4, "little"), _RECORD_BYTES.to_bytes(4, "big"))
_COPY_BYTES = 16 << 20


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
        with target.open("wb") as written:
            for start, stop in ((0, first - before), (begin + after, end - before)):
                for position in range(start, stop, _COPY_BYTES):
                    written.write(data[position : min(position + _COPY_BYTES, stop)])


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
