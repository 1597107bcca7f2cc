"""Conversion of one large sample of ``.npy`` files by the command line: time and memory of the whole command."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from benchmarks.data import FILEMAP, SAMPLE, WIDTHS, sample_blocks
from benchmarks.earlier import BEFORE, EarlierError, earlier_library, environment_of
from benchmarks.memory import peak_unique_bytes
from benchmarks.results import Case, Comparison, Row
from benchmarks.settings import Settings
from benchmarks.timing import order_of

__all__ = ["compare_npy"]

OURS = "noether"
# The fields that solvers write most often. Vorticity would only take more time.
_FILES = FILEMAP.model_copy(update={"volume_vorticity": None})
_FIELDS = ("volume_position", "volume_pressure", "volume_velocity")
_LARGEST_PEAK_MB = 600
_MEGABYTE = 1e6


class _CommandError(RuntimeError):
    """A command failed; the message is the last line that it wrote."""


def compare_npy(settings: Settings) -> Comparison:
    """Convert the same files with the current and the earlier command, in turn: first for memory, then for time."""
    repetitions = settings.repetitions(quick=1, full=3)
    conversion = _Conversion.of(settings)
    peaks: dict[str, list[float]] = {OURS: [], BEFORE: []}
    seconds: dict[str, list[float]] = {OURS: [], BEFORE: []}
    errors: dict[str, str] = {}
    names = list(seconds)
    # Memory is measured first, which brings the files into the page cache.
    for repetition in range(2 * repetitions):
        for place in order_of(repetition, len(names)):
            name = names[place]
            if name in errors:
                continue
            try:
                if repetition < repetitions:
                    peaks[name].append(conversion.peak_bytes(name) / _MEGABYTE)
                else:
                    seconds[name].append(conversion.seconds(name))
                if repetition == 0:
                    conversion.verify()
            except (_CommandError, EarlierError) as error:
                errors[name] = str(error)
    shutil.rmtree(conversion.root, ignore_errors=True)
    times = Case("time", "s", [Row(name, seconds[name], error=errors.get(name)) for name in names])
    times.within(BEFORE, at_most=0.6)
    memory = Case("peak memory", "MB", [Row(name, peaks[name], error=errors.get(name)) for name in names])
    memory.below(_LARGEST_PEAK_MB)
    parameters = {
        "points": settings.n_npy_points,
        "source_bytes": settings.n_npy_points * sum(WIDTHS[field] for field in _FIELDS) * 4,
        "repetitions": repetitions,
    }
    return Comparison.of("npy", settings, parameters, [times, memory])


@dataclass(frozen=True)
class _Conversion:
    """The files of a sample, and the store into which both commands convert them."""

    work_dir: Path
    tree: Path
    filemap: Path
    root: Path

    @classmethod
    def of(cls, settings: Settings) -> _Conversion:
        """Write the files, which are kept for the next benchmark."""
        filemap = settings.work_dir / "npy-filemap.json"
        filemap.write_text(_FILES.model_dump_json(exclude_none=True))
        tree = _tree(settings.work_dir, settings.n_npy_points)
        return cls(settings.work_dir, tree, filemap, settings.work_dir / "converted-npy")

    def seconds(self, name: str) -> float:
        """Convert the files; return the seconds of the whole command."""
        shutil.rmtree(self.root, ignore_errors=True)
        library = self._library(name)
        start = time.perf_counter()
        self._run("convert", str(self.tree), str(self.root), library=library)
        return time.perf_counter() - start

    def peak_bytes(self, name: str) -> int:
        """Convert the files; return the peak memory of the command and its processes in bytes."""
        shutil.rmtree(self.root, ignore_errors=True)
        return self._run("convert", str(self.tree), str(self.root), library=self._library(name), watched=True)

    def verify(self) -> None:
        """Compare every value of the store with the files, using the current command."""
        self._run("verify", str(self.root), "--source", str(self.tree))

    def _library(self, name: str) -> Path | None:
        return earlier_library(self.work_dir) if name == BEFORE else None

    def _run(self, *arguments: str, library: Path | None = None, watched: bool = False) -> int:
        """Run a command; return its peak memory in bytes, or 0 if it is not watched, since watching slows it down."""
        command = [str(Path(sys.executable).with_name("noether-zarr")), *arguments, "--filemap", str(self.filemap)]
        with TemporaryFile() as output:
            with subprocess.Popen(
                command, env=environment_of(library), stdout=output, stderr=subprocess.STDOUT
            ) as process:
                peak = peak_unique_bytes(process) if watched else 0
            output.seek(0)
            lines = output.read().decode(errors="replace").strip().splitlines()
        if process.returncode:
            raise _CommandError(f"noether-zarr {arguments[0]}: {lines[-1] if lines else process.returncode}")
        return peak


def _tree(work_dir: Path, n_points: int) -> Path:
    """Write the sample in blocks, in mesh order, and wait until it is on disk. It is kept for the next benchmark."""
    tree = work_dir / f"npy-tree-{n_points}"
    if tree.exists():
        return tree
    staged = tree.with_suffix(".part")
    shutil.rmtree(staged, ignore_errors=True)
    (staged / SAMPLE).mkdir(parents=True)
    maps = {
        field: np.lib.format.open_memmap(
            staged / SAMPLE / getattr(_FILES, field), "w+", dtype=np.float32, shape=(n_points, WIDTHS[field])
        )
        for field in _FIELDS
    }
    start = 0
    for block in sample_blocks(n_points):
        stop = start + len(block["volume_position"])
        for field, mapped in maps.items():
            mapped[start:stop] = block[field]
        start = stop
    for mapped in maps.values():
        mapped.flush()
    staged.rename(tree)
    return tree
