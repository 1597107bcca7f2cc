"""How commands that work on many samples are told who does the work."""

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

from noether.data.zarr_store.convert.executors import DaskExecutor
from noether.data.zarr_store.errors import ArgumentError

__all__ = [
    "SOME_FAILED",
    "DaskOption",
    "LimitOption",
    "PartOption",
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
        help="Processes that work at the same time; auto, the default: as many as cores, memory and room for "
        "temporary files allow; 0: all in this one, for debugging.",
    ),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="Fail a sample that takes longer than this many seconds."),
]
DaskOption = Annotated[str | None, typer.Option(metavar="ADDRESS", help="Work on the Dask cluster of this scheduler.")]
PartOption = Annotated[
    str | None,
    typer.Option(metavar="K/N", help="Take the K-th of N parts of the samples; other runs take the others."),
]
LimitOption = Annotated[int | None, typer.Option(help="Take only the first so many samples.")]


def wanted_workers(text: str | None, timeout: float | None, dask: str | None) -> int | Literal["auto"]:
    """Return the number of worker processes of this machine, or that it is to be chosen."""
    if dask is not None:
        for option, value in (("--workers", text), ("--timeout", timeout)):
            if value is not None:
                raise ArgumentError(f"{option}: not with --dask, whose workers are the cluster's own")
        return 0
    if text is None or text == "auto":
        return "auto"
    try:
        return int(text)
    except ValueError:
        raise ArgumentError(f"--workers: expected a whole number or auto, got {text!r}") from None


def part_of(text: str | None) -> tuple[int, int] | None:
    """Return number and count of the parts that ``--part`` names."""
    if text is None:
        return None
    numbers = re.fullmatch(r"(\d+)/(\d+)", text)
    if numbers is None:
        raise ArgumentError(f"--part: expected K/N such as 3/16, got {text!r}")
    return int(numbers[1]), int(numbers[2])


@contextmanager
def opened_executor(address: str | None) -> Iterator[Executor | None]:
    """Yield the executor of a Dask cluster; None without an address."""
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
    """Take SIGTERM for Ctrl-C: batch systems send it some time before they kill."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # only there can it be changed
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
