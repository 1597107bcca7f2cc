"""Trees of files to convert, from the first points of the bundled simulations, and the command that converts them."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from typer.testing import CliRunner

from noether.data.zarr_store.cli import app
from noether.data.zarr_store.convert.report import REPORT_NAME
from support.ahmed import AHMED, AHMED_FILEMAP, load_run

N_POINTS = 150
TREE_FILEMAP = AHMED_FILEMAP.model_copy(update={"design_parameters": "design_parameters.npy"})
OPTIONAL = frozenset({"surface_normals", "surface_area", "volume_distance_to_surface", "design_parameters"})
COMMAND = Path(sys.executable).with_name("noether-zarr")
WAIT_SECONDS = 60.0

Files = dict[str, bytes]


def save_array(path: Path, values: NDArray[Any]) -> None:
    """Save an array in the format of the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".pt":
        import torch  # `./scripts/test-matrix` runs without PyTorch

        torch.save(torch.from_numpy(values), path)
    elif path.suffix == ".npz":
        np.savez_compressed(path, values)
    else:
        np.save(path, values)


def save_run(directory: Path, run: str = "run_1", suffix: str = ".npy", n_points: int = N_POINTS) -> Path:
    """Save the first points of a bundled simulation as the directory of one sample."""
    for file in sorted((AHMED / run).glob("*.npy")):
        save_array((directory / file.name).with_suffix(suffix), np.load(file)[:n_points])
    return directory


def save_runs(root: Path, sample_ids: Iterable[str] = ("run_1", "run_2"), **settings: Any) -> Path:
    """Save bundled simulations, one after the other, under the given ids."""
    for number, sample_id in enumerate(sample_ids, start=1):
        save_run(root / sample_id, f"run_{number}", **settings)
    return root


def expected_fields(run: str = "run_1", n_points: int = N_POINTS) -> dict[str, NDArray[Any]]:
    """Return the arrays that `save_run` saves, by canonical name."""
    return {field: values[:n_points] for field, values in load_run(run).items()}


def assert_same_arrays(given: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]) -> None:
    assert given.keys() == expected.keys()
    for field, values in expected.items():
        assert given[field].dtype == values.dtype, field
        np.testing.assert_array_equal(given[field], values, err_msg=field)


def visible_files(root: Path) -> Files:
    """Return the content of all files below a directory by relative path, except locks and the report."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".lock" and path.name != REPORT_NAME
    }


def identities(root: Path, pattern: str = "*") -> dict[str, tuple[int, int]]:
    """Return inode and time of change of all matching files except the report, to detect rewritten files."""
    files = [path for path in root.rglob(pattern) if path.is_file() and REPORT_NAME not in path.name]
    found = {path: path.stat() for path in files}
    return {path.relative_to(root).as_posix(): (stat.st_ino, stat.st_mtime_ns) for path, stat in found.items()}


@dataclass(frozen=True)
class Ran:
    """Exit status and output of a command."""

    code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


def call(*arguments: object) -> Ran:
    """Run the command in this process."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return Ran(result.exit_code, result.stdout, result.stderr)


def start(
    *arguments: object, stdout: int | IO[str] = subprocess.PIPE, stderr: int | IO[str] = subprocess.PIPE
) -> subprocess.Popen[str]:
    """Start the command in its own process and process group."""
    return subprocess.Popen(
        [COMMAND, *map(str, arguments)],
        stdout=stdout,
        stderr=stderr,
        text=True,
        start_new_session=True,
        # Tests in the background ignore Ctrl-C, and their children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def finish(process: subprocess.Popen[str]) -> Ran:
    stdout, stderr = process.communicate(timeout=WAIT_SECONDS)
    return Ran(process.returncode, stdout or "", stderr or "")


def run_on_terminal(*arguments: object, columns: int = 200) -> Ran:
    """Run the command with a terminal as its output; `stdout` has all of it."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns)}
    process = subprocess.Popen(
        [COMMAND, *map(str, arguments)], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    written = bytearray()
    try:
        while block := os.read(ours, 1 << 16):
            written += block
    except OSError:  # Linux reports "input/output error" if the other end is closed
        pass
    finally:
        os.close(ours)
    return Ran(process.wait(WAIT_SECONDS), written.decode(), "")
