"""Worker processes run calls, and the death of one does not affect the others."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

import support
from noether.data.zarr_store.convert.executors import ProcessExecutor
from noether.data.zarr_store.errors import ArgumentError, MissingDependencyError, WorkerDiedError, WorkerError
from support import calls

WAIT_SECONDS = 60.0


@contextmanager
def held_open(path: Path) -> Iterator[IO[bytes]]:
    """Read from a named pipe that `calls.hold_open` has opened; fail if no process opens it."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as pipe:
        assert select.select([pipe], [], [], WAIT_SECONDS)[0], "no process has opened the pipe"
        assert pipe.read(1) == b"."
        yield pipe


def is_closed(pipe: IO[bytes]) -> bool:
    """Return whether all writers of a pipe have ended, or end soon."""
    return bool(select.select([pipe], [], [], WAIT_SECONDS)[0]) and pipe.read() == b""


@pytest.fixture(scope="module")
def shared() -> Iterator[ProcessExecutor]:
    """One worker for all tests that do not change it, or that expect its replacement."""
    executor = ProcessExecutor(1)
    yield executor
    executor.terminate()


@pytest.mark.slow
def test_a_call_returns_the_result_of_the_function(shared: ProcessExecutor) -> None:
    assert shared.submit(calls.give, value={"a": (1, None)}).result() == {"a": (1, None)}


def test_calls_run_in_one_other_process(shared: ProcessExecutor) -> None:
    first, second = (shared.submit(calls.pid).result() for _ in range(2))
    assert first == second != os.getpid()


@pytest.mark.parametrize(
    "error",
    [KeyError("pMean"), MissingDependencyError("h5py", "reading", "hdf5"), WorkerDiedError("it was stopped", 7)],
    ids=lambda error: type(error).__name__,
)
def test_a_call_raises_the_error_of_the_function(shared: ProcessExecutor, error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        shared.submit(calls.fail, error).result()
    assert (str(raised.value), vars(raised.value)) == (str(error), vars(error))


def test_an_unpicklable_exception_keeps_its_type_and_message(shared: ProcessExecutor) -> None:
    with pytest.raises(WorkerError, match=r"MeshLibraryError: volume\.vtu:9: no such cell"):
        shared.submit(calls.fail_as_a_library_does).result()


def test_an_unpicklable_result_is_an_error(shared: ProcessExecutor) -> None:
    with pytest.raises(Exception, match="Can't pickle local object 'give_what_cannot_be_sent"):
        shared.submit(calls.give_what_cannot_be_sent).result()


def test_an_unpicklable_function_is_refused_at_once(shared: ProcessExecutor) -> None:
    with pytest.raises(Exception, match=r"pickle|local object"):
        shared.submit(lambda: None)


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("killed", "the worker process was killed by SIGKILL: the system does this when memory is short"),
        pytest.param(
            "crashed", "the worker process was killed by SIGSEGV: a library crashed", marks=pytest.mark.faults
        ),
        pytest.param("exited", "the worker process exited with code 7", marks=pytest.mark.faults),
    ],
)
def test_a_process_that_dies_is_named_with_its_reason_and_replaced(
    shared: ProcessExecutor, act: str, reason: str
) -> None:
    before = shared.submit(calls.pid).result()
    with pytest.raises(WorkerDiedError, match=reason) as died:
        shared.submit(calls.act, act).result()
    assert died.value.pid == before
    assert shared.submit(calls.pid).result() != before


def test_a_crash_in_a_library_shows_where_it_was_called(shared: ProcessExecutor) -> None:
    with pytest.raises(WorkerDiedError) as died:
        shared.submit(calls.act, "crashed").result()
    [note] = died.value.__notes__
    assert "Segmentation fault" in note
    assert "in crashed" in note


@pytest.mark.faults
def test_the_kill_of_an_idle_process_fails_no_call(shared: ProcessExecutor) -> None:
    first = shared.submit(calls.pid).result()
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert shared.submit(calls.pid).result() != first


@pytest.mark.slow
def test_a_large_function_is_pickled_once_and_sent_to_each_process_once(shared: ProcessExecutor) -> None:
    large, before = calls.Large(), calls.Large.pickled
    seen = {shared.submit(large).result() for _ in range(3)}
    assert [times for _, times in seen] == [1]
    with pytest.raises(WorkerDiedError):
        shared.submit(calls.act, "killed").result()
    assert shared.submit(large).result()[1] == 1
    assert calls.Large.pickled == before + 1


@pytest.mark.faults
def test_temporary_files_are_removed_even_after_a_kill(shared: ProcessExecutor, tmp_path: Path) -> None:
    with pytest.raises(WorkerDiedError):
        shared.submit(calls.leave_temporary_file_and_die, tmp_path / "told").result()
    left = Path((tmp_path / "told").read_text())
    assert left.parent.name.startswith("noether-zarr-worker-")
    assert not left.parent.exists()


@pytest.mark.faults
def test_a_timeout_stops_only_its_own_call() -> None:
    with ProcessExecutor(2, timeout=3) as executor:
        hung, *others = [executor.submit(calls.act, "hung"), *(executor.submit(calls.pid) for _ in range(3))]
        with pytest.raises(WorkerDiedError, match="stopped after the timeout of 3 s") as died:
            hung.result()
        assert died.value.pid not in {other.result() for other in others}


@pytest.mark.faults
def test_termination_ends_processes_that_ignore_signals(tmp_path: Path) -> None:
    """The running call fails, and the waiting calls are cancelled."""
    executor = ProcessExecutor(1)
    os.mkfifo(tmp_path / "pipe")
    under_way, waiting = executor.submit(calls.hold_open, str(tmp_path / "pipe")), executor.submit(calls.give)
    with held_open(tmp_path / "pipe") as pipe:
        executor.terminate()
        assert is_closed(pipe)  # the process has closed the pipe
    with pytest.raises(WorkerDiedError, match="SIGKILL"):
        under_way.result(0)
    with pytest.raises(CancelledError):
        waiting.result(0)


@pytest.mark.slow
def test_shutdown_finishes_submitted_calls_and_refuses_others() -> None:
    executor = ProcessExecutor(1)
    futures = [executor.submit(calls.give, number) for number in range(3)]
    executor.shutdown()
    assert [future.result(0) for future in futures] == [0, 1, 2]
    with pytest.raises(RuntimeError, match="shut down"):
        executor.submit(calls.give)


@pytest.mark.faults
def test_a_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    environment = {**os.environ, "PYTHONPATH": str(Path(support.__file__).parents[1]), "TMPDIR": str(tmp_path)}
    with (
        subprocess.Popen([sys.executable, calls.__file__, tmp_path / "pipe"], env=environment) as parent,
        held_open(tmp_path / "pipe") as pipe,
    ):
        parent.kill()
        assert is_closed(pipe)
    assert list(tmp_path.glob("noether-zarr-worker-*")) == []


@pytest.mark.faults
def test_processes_that_cannot_start_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Python runs this file when it starts.
    """The error names the exit code of the processes."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif '--multiprocessing-fork' in sys.orig_argv: os._exit(5)"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with ProcessExecutor(1) as executor:
        future = executor.submit(calls.give)
        with pytest.raises(
            WorkerError, match=r"no worker process can be started .3 attempts; .* exited with code 5.*__main__"
        ):
            future.result(WAIT_SECONDS)


def test_no_process_starts_without_a_temporary_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/nowhere")
    with ProcessExecutor(1) as executor, pytest.raises(WorkerError, match=r"temporary files.*/nowhere"):
        executor.submit(calls.give).result()


@pytest.mark.parametrize("workers", [0, -1, 1.5])
def test_workers_are_at_least_one(workers: int) -> None:
    with pytest.raises(ArgumentError, match=f"workers: expected a whole number of at least 1, got {workers}"):
        ProcessExecutor(workers)
