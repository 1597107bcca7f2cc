"""The library before it encoded chunks in native code, to time it against the current code.

It is checked out from the history of this repository and compiled. A process imports it instead of the current code if
it runs in the environment of `environment_of`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from tarfile import TarFile

from benchmarks.settings import REPOSITORY

__all__ = ["BEFORE", "EarlierError", "earlier_library", "environment_of"]

# The parent of aad78bc, which encodes runs of chunks in native code.
COMMIT = "70d5d91c85b2faa83c5d1872a088e8cc3571f6ac"
BEFORE = f"before (commit {COMMIT[:7]})"

_PATHS = ("pyproject.toml", "README.md", "LICENSE", "src")
_BUILD = "from setuptools import setup; setup()"
_CHECK = "import noether.data.zarr_store as package, noether.data.zarr_store.codec._native; print(package.__file__)"


class EarlierError(RuntimeError):
    """The earlier library cannot be built; the message has the reason."""


def earlier_library(work_dir: Path) -> Path:
    """Unpack and compile the earlier library. It is kept for the next benchmark.

    Returns
    -------
    Path
        The directory that holds its packages.

    Raises
    ------
    EarlierError
        The history of this checkout lacks the commit, or its compiled module cannot be built.
    """
    directory = work_dir / f"earlier-{COMMIT[:7]}"
    if not directory.exists():
        staged = directory.with_suffix(".part")
        shutil.rmtree(staged, ignore_errors=True)
        TarFile(fileobj=BytesIO(_run("git", "archive", COMMIT, *_PATHS, cwd=REPOSITORY))).extractall(
            staged, filter="data"
        )
        _run(sys.executable, "-c", _BUILD, "build_ext", "--inplace", cwd=staged)
        _require_import(staged / "src")
        staged.rename(directory)
    return directory / "src"


def environment_of(library: Path | None) -> dict[str, str]:
    """Return the environment of a process that imports `library`, or the current code if it is None."""
    environment = dict(os.environ)
    if library is not None:
        others = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([str(library), *([others] if others else [])])
    return environment


def _require_import(library: Path) -> None:
    """Check that a process imports that library and its compiled module, which a build can leave out."""
    found = _run(sys.executable, "-c", _CHECK, cwd=REPOSITORY, environment=environment_of(library))
    if not Path(found.decode().strip()).is_relative_to(library):
        raise EarlierError(f"expected the library in {library}, got {found.decode().strip()}")


def _run(*command: str, cwd: Path, environment: dict[str, str] | None = None) -> bytes:
    try:
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, check=False)
    except FileNotFoundError as error:  # no git
        raise EarlierError(f"{command[0]} is missing: {error}") from error
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise EarlierError(f"commit {COMMIT[:7]}: {' '.join(command[:2])} failed: {reason[-1]}")
    return done.stdout
