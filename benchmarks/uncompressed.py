"""Draws from a store without compression, and from MosaicML Streaming, which can only read whole records."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.data import FIELDS, Arrays
from benchmarks.formats import Prepared
from benchmarks.results import Case, Row
from benchmarks.settings import DRAW_POINTS, REPOSITORY
from benchmarks.timing import order_of
from benchmarks.verification import require_draw, require_equal

__all__ = ["race_uncompressed"]

MOSAICML = "MosaicML Streaming, records of 16,384"

# -P: leave out the script's directory, whose modules have the names of other packages.
_SCRIPT = ("-P", REPOSITORY / "benchmarks" / "draw_process.py")
_PYTHON_OF_MOSAICML = REPOSITORY / ".venv-mosaicml" / "bin" / "python"
_NOT_THERE = "not installed in .venv-mosaicml; see CONTRIBUTING.md"


def race_uncompressed(stores: Sequence[Prepared], repetitions: int) -> Case:
    """Compare draws from uncompressed stores (level 0) with reads of records that have as many points as a draw.

    Each contender is its own process, and they take turns. Each process measures the time of the draw alone.

    Parameters
    ----------
    stores : sequence of Prepared
        The same sample at level 0, in chunks of different sizes.
    repetitions : int
        Number of draws of each contender.
    """
    prepared = stores[0]
    commands: dict[str, list[str | Path]] = {
        f"noether, level 0, chunks of {one.chunk_points:,}": [sys.executable, *_SCRIPT, "noether", one.store_root]
        for one in stores
    }
    ours = list(commands)
    if _PYTHON_OF_MOSAICML.exists():
        commands[MOSAICML] = [_PYTHON_OF_MOSAICML, *_SCRIPT, "mosaicml", _write_records(prepared)]
    seconds = _race(prepared, commands, repetitions)
    peer = Row(MOSAICML, seconds.get(MOSAICML, []), error=None if MOSAICML in commands else _NOT_THERE)
    case = Case("no compression", "s", [*(Row(name, seconds[name]) for name in ours), peer])
    for name in ours:
        case.faster(MOSAICML, at_least=1.2, ours=name)
    return case


def _write_records(prepared: Prepared) -> Path:
    """Write records of the size of a draw, in stored order. They are kept for the next benchmark."""
    records = prepared.hdf5.with_name(f"mosaicml-{DRAW_POINTS}")
    if not (records / "index.json").exists():
        files = [prepared.npy_files[field] for field in FIELDS]
        command: list[str | Path] = [_PYTHON_OF_MOSAICML, *_SCRIPT, "write-mosaicml", records]
        subprocess.run([*command, str(DRAW_POINTS), *files], check=True)
    return records


def _race(prepared: Prepared, commands: dict[str, list[str | Path]], repetitions: int) -> dict[str, list[float]]:
    """Time the processes in turn, in a different order each time; see `timing.race`."""
    names, n_records = list(commands), prepared.n_points // DRAW_POINTS
    with _processes(commands) as processes:
        for name, process in processes.items():
            _verify(name, process, prepared)
        seconds: dict[str, list[float]] = {name: [] for name in names}
        for repetition in range(repetitions):
            record = int(np.random.default_rng([repetition, 1]).integers(n_records))
            for place in order_of(repetition, len(names)):
                name = names[place]
                number = record if name == MOSAICML else repetition
                seconds[name].append(float(_ask(processes[name], str(number))))
    return seconds


def _verify(name: str, process: subprocess.Popen[str], prepared: Prepared) -> None:
    """Compare the first draw of a process with the source."""
    path = prepared.hdf5.with_name("draw-of-process.npz")
    _ask(process, f"0 {path}")
    with np.load(path) as loaded:
        found: Arrays = {field: loaded[field] for field in FIELDS}
    path.unlink()
    if name == MOSAICML:
        require_equal(name, found, prepared.expected(slice(0, DRAW_POINTS)))
    require_draw(name, found, prepared, DRAW_POINTS)


@contextmanager
def _processes(commands: dict[str, list[str | Path]]) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Start a process for each command, and stop them on exit."""
    pipe, started = subprocess.PIPE, {}
    try:
        for name, command in commands.items():
            started[name] = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        for name, process in started.items():
            if _read_line(process) != "ready":
                raise RuntimeError(f"{name}: {commands[name]} did not start")
        yield started
    finally:
        for process in started.values():
            process.communicate()


def _ask(process: subprocess.Popen[str], line: str) -> str:
    if process.stdin is None:
        raise TypeError("expected a pipe")
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    return _read_line(process)


def _read_line(process: subprocess.Popen[str]) -> str:
    return "" if process.stdout is None else process.stdout.readline().strip()
