"""Conversions that are killed at random moments, and a reader that reads the store at the same time."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, get_args

import numpy as np

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.convert.report import REPORT_NAME
from support.ahmed import Arrays
from support.forks import children, has_ended
from support.places import Place
from support.trees import WAIT_SECONDS, Ran, finish, start

__all__ = ["Storm", "Watcher", "read_whole", "stored_bytes"]

Victim = Literal["all", "parent", "worker"]

# Least times of a start, and of the conversion of a sample, on any machine. Kills must be possible in all phases.
_START_SECONDS, _BETWEEN_LINES_SECONDS = 2.0, 0.2
# Pause of the reader between reads, so that it leaves processor time to the conversion.
_PAUSE_SECONDS = 0.05


def read_whole(root: str | Path, options: Mapping[str, Any] | None = None) -> dict[str, Arrays]:
    """Read all samples that a store lists at this moment."""
    reader = ZarrChunkReader(root, storage_options=options)
    return {sample_id: reader.read_arrays(sample_id, order="original") for sample_id in reader.manifest.samples}


def stored_bytes(place: Place) -> dict[str, bytes]:
    """Return all files by key, with hidden files and without locks and the report, which has times."""
    place.fs.invalidate_cache()
    found = place.fs.cat(place.fs.find(place.path))
    files = {path.removeprefix(f"{place.path}/"): data for path, data in found.items()}
    return {key: data for key, data in sorted(files.items()) if not key.endswith(".lock") and key != REPORT_NAME}


class Watcher:
    """A thread that opens a store and reads all its samples repeatedly, until the context ends.

    Attributes
    ----------
    n_reads : int
        Number of complete and correct reads.
    error : Exception or None
        Error that has ended the reads.
    """

    def __init__(
        self, root: str | Path, expected: Mapping[str, Arrays], options: Mapping[str, Any] | None = None
    ) -> None:
        self._root, self._expected, self._options = root, expected, options
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.n_reads = 0
        self.error: Exception | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        self._thread.join(WAIT_SECONDS)

    def _watch(self) -> None:
        while not self._left.is_set():
            try:
                for sample_id, arrays in read_whole(self._root, self._options).items():
                    for field, values in arrays.items():
                        np.testing.assert_array_equal(values, self._expected[sample_id][field], f"{sample_id} {field}")
            except Exception as error:  # noqa: BLE001 - the test reports any error
                self.error = error
                return
            self.n_reads += 1
            self._left.wait(_PAUSE_SECONDS)


class Storm:
    """Repeated runs of a command that are killed: all its processes, only the parent, or only a worker.

    Parameters
    ----------
    command : sequence of object
        Arguments of ``noether-zarr``, which prints a line for each sample.
    n_samples : int
        Number of samples.
    rng : random.Random
        Generator for the moments and victims.
    """

    def __init__(self, command: Sequence[object], n_samples: int, rng: random.Random) -> None:
        self._command = command
        self._n_samples = n_samples
        self._rng = rng
        self.n_kills = 0

    def calm(self) -> Ran:
        """Run the command to its end."""
        return finish(start(*self._command))

    def strike(self) -> Ran:
        """Run the command, kill it at a random moment, and wait until all its processes have ended."""
        process = start(*self._command)
        assert process.stderr is not None
        n_lines = self._rng.randint(0, self._n_samples)
        for _ in range(n_lines):
            process.stderr.readline()
        moment = self._rng.uniform(0.0, _BETWEEN_LINES_SECONDS if n_lines else _START_SECONDS)
        victim: Victim = self._rng.choice(get_args(Victim))
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            return self._kill(process, victim)
        return finish(process)

    def _kill(self, process: subprocess.Popen[str], victim: Victim) -> Ran:
        started = children(process.pid)
        workers = [pid for pid in started if "spawn_main" in _command_line(pid)]
        if victim == "worker" and workers:
            os.kill(self._rng.choice(workers), signal.SIGKILL)
        elif victim == "parent":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        self.n_kills += 1
        ran = finish(process)
        assert all(has_ended(pid) for pid in started)
        return ran


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):  # the process has ended
        return ""
