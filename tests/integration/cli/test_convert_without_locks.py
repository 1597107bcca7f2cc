"""`convert` into a file system that has no locks, as NFS without a lock daemon and Lustre without flock."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from noether.data.zarr_store import StoreManifest
from support.trees import finish, save_runs, start, visible_files

PRESET = ("--preset", "ahmedml", "--workers", "0")
# Every lock of the process fails with the number that the environment names.
FAILING_FLOCK = """
#include <errno.h>
#include <stdlib.h>
int flock(int descriptor, int operation) {
    (void)descriptor;
    (void)operation;
    errno = atoi(getenv("FLOCK_ERROR"));
    return -1;
}
"""
CODES = {"ENOLCK": 37, "ENOTSUPP": 524, "ENOSYS": 38}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that takes the place of flock(2)."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc, which compiles a library that has locks fail: apt-get install gcc")
    directory = tmp_path_factory.mktemp("flock")
    (directory / "flock.c").write_text(FAILING_FLOCK)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", "flock.so", "flock.c"], cwd=directory, check=True)
    return directory / "flock.so"


@pytest.mark.slow
@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_parts_at_the_same_time_lose_nothing_and_say_once_that_there_are_no_locks(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    tree = save_runs(tmp_path / "tree", ["run_1", "run_2", "run_3", "run_4"])
    assert finish(start("convert", tree, tmp_path / "alone", *PRESET)).code == 0
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("FLOCK_ERROR", str(code))
    store = tmp_path / "store"
    running = [start("convert", tree, store, *PRESET, "--part", part) for part in ("1/2", "2/2")]
    for ran in [finish(one) for one in running]:
        assert ran.code == 0, ran
        [said] = [line for line in ran.stderr.splitlines() if "warning" in line.lower()]
        assert said.startswith(f"warning: {store}: this file system has no locks (")
    assert list(StoreManifest.load(str(store)).samples) == ["run_1", "run_2", "run_3", "run_4"]
    assert finish(start("merge", store)).code == 0
    assert visible_files(store) == visible_files(tmp_path / "alone")


@pytest.mark.slow
def test_worker_processes_do_not_warn_again(tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker takes the chunk index out of the manifest before it replaces the first sample."""
    tree, store = save_runs(tmp_path / "tree"), tmp_path / "store"
    assert finish(start("convert", tree, store, *PRESET)).code == 0
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("FLOCK_ERROR", str(CODES["ENOLCK"]))
    ran = finish(start("convert", tree, store, *PRESET[:2], "--workers", 1, "--overwrite"))
    assert ran.code == 0, ran
    assert ran.stderr.count("this file system has no locks") == 1
    assert ran.stderr.startswith(f"warning: {store}: ")
