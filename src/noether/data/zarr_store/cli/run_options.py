"""Options of commands that work on many samples: which samples, and which processes."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Literal

import typer

from noether.data.zarr_store.cli.completion import completes
from noether.data.zarr_store.convert.executors import DaskExecutor
from noether.data.zarr_store.errors import ArgumentError

__all__ = [
    "SOME_FAILED",
    "DaskOption",
    "DryRunOption",
    "LimitOption",
    "NonFiniteOption",
    "PartOption",
    "ThreadsOption",
    "TimeoutOption",
    "WorkersOption",
    "opened_executor",
    "part_of",
    "termination_interrupts",
    "wanted_workers",
]

SOME_FAILED = 3

WorkersOption = Annotated[
    str | None,
    typer.Option(
        metavar="N|auto",
        help="Number of worker processes; 0 works in this process, for debugging "
        "(default: auto, as many as cores, memory and room for temporary files allow).",
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", help="Number of reading threads (default: one a core, 16 for a URL)."),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="Fail a sample that takes longer than this many seconds."),
]
DaskOption = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Address of the scheduler of a Dask cluster that does the work.")
]
PartOption = Annotated[
    str | None,
    typer.Option(metavar="K/N", help="Work on the K-th of N parts of the samples; other machines take the others."),
]
LimitOption = Annotated[int | None, typer.Option(metavar="N", help="Work on the first N samples only.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")]
NonFiniteOption = Annotated[
    str,
    typer.Option(
        metavar="raise|allow",
        help="Fail a sample with NaN or infinity, or store these values.",
        autocompletion=completes(("raise", "allow")),
    ),
]


def wanted_workers(text: str | None, timeout: float | None, dask: str | None) -> int | Literal["auto"]:
    """Return the number of worker processes on this machine, or "auto"."""
    if dask is not None:
        for option, value in (("--workers", text), ("--timeout", timeout)):
            if value is not None:
                raise ArgumentError(f"{option}: expected no value with --dask, got {value}; set it on the Dask cluster")
        return 0
    if text is None or text == "auto":
        return "auto"
    try:
        return int(text)
    except ValueError:
        raise ArgumentError(f"--workers: expected a whole number or auto, got {text!r}") from None


def part_of(text: str | None) -> tuple[int, int] | None:
    """Return K and N of ``--part K/N``."""
    if text is None:
        return None
    numbers = re.fullmatch(r"(\d+)/(\d+)", text)
    if numbers is None:
        raise ArgumentError(f"--part: expected K/N such as 3/16, got {text!r}")
    return int(numbers[1]), int(numbers[2])


@contextmanager
def opened_executor(address: str | None) -> Iterator[Executor | None]:
    """Yield the executor of a Dask cluster, or None without an address."""
    if address is None:
        yield None
        return
    executor = DaskExecutor(address)
    try:
        yield executor
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


@contextmanager
def termination_interrupts() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C: batch systems send it some time before they kill."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can set handlers
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
