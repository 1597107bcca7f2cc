"""Training loops that end early: they resume with the same batches, and leave no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.ahmed import RUNS
from support.effort import in_full_mode
from support.reading import write_runs
from support.training_loop import EPOCHS, KILLED_AFTER, batches, start

WAIT_SECONDS = 90.0


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("training") / "store", *RUNS, chunk_points=256)


def require_no_process_left(process: subprocess.Popen[str]) -> None:
    """Wait until the loop's process group is empty: a worker may need a moment to notice the end."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    raise AssertionError("processes were left behind")


@pytest.mark.faults
@pytest.mark.parametrize("method", ["fork", "spawn"] if in_full_mode() else ["fork"])
def test_a_loop_that_was_killed_resumes_in_mid_epoch_with_the_remaining_batches(
    root: Path, tmp_path: Path, method: str
) -> None:
    state = tmp_path / "state.pt"
    complete, killed = start(root, "complete", method), start(root, "killed", method, state)
    expected = batches(complete.communicate(timeout=WAIT_SECONDS)[0])
    assert [epoch for epoch, _, _ in expected] == [epoch for epoch in EPOCHS for _ in RUNS]

    before = batches(killed.communicate(timeout=WAIT_SECONDS)[0])
    assert killed.returncode == -signal.SIGKILL
    assert before == expected[:KILLED_AFTER]
    resumed = start(root, "resumed", method, state)
    output, errors = resumed.communicate(timeout=WAIT_SECONDS)
    assert resumed.returncode == 0, errors
    assert batches(output) == expected[KILLED_AFTER:]
    for process in (complete, killed, resumed):
        require_no_process_left(process)


@pytest.mark.faults
def test_workers_of_a_fork_server_end_with_a_main_process_that_is_killed(root: Path, tmp_path: Path) -> None:
    with start(root, "killed", "forkserver", tmp_path / "state.pt") as process:
        assert process.wait(timeout=WAIT_SECONDS) == -signal.SIGKILL
        require_no_process_left(process)


INTERRUPTIONS = [
    pytest.param(False, "fork", id="the main process, with forked workers"),
    pytest.param(True, "forkserver", id="all processes, with a fork server"),
]
if in_full_mode():
    INTERRUPTIONS += [pytest.param(True, "fork"), pytest.param(False, "spawn")]


@pytest.mark.faults
@pytest.mark.parametrize(("everyone", "method"), INTERRUPTIONS)
def test_ctrl_c_leaves_no_process(root: Path, everyone: bool, method: str) -> None:
    process = start(root, "interrupted", method)
    assert process.stdout is not None
    assert batches(process.stdout.readline())
    (os.killpg if everyone else os.kill)(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == -signal.SIGINT, errors
    assert "KeyboardInterrupt" in errors
    require_no_process_left(process)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"] if in_full_mode() else ["spawn"])
def test_an_error_in_a_worker_ends_the_loop_and_leaves_no_process_behind(root: Path, method: str) -> None:
    process = start(root, "error in a worker", method)
    _, errors = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 1
    assert "ValueError: run_3 is not wanted" in errors
    require_no_process_left(process)
