"""The installed command in a process of its own: its exit codes, what it draws, and Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
import typer

from noether.data.zarr_store import StoreManifest
from noether.data.zarr_store.cli.app import errors_reported
from noether.data.zarr_store.statistics import calculate_store_statistics, load_statistics
from support.trees import call, finish, identities, run_on_terminal, save_runs, start

# One after the other, whatever the machine has.
PRESET = ("--preset", "ahmedml", "--workers", "1")
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def recorded(store: Path) -> list[str]:
    return list(StoreManifest.load(str(store)).samples)


def groups(store: Path) -> list[str]:
    return sorted(path.parent.stem for path in store.glob("*.zarr/zarr.json"))


def hold_back(file: Path) -> bytes:
    """Put a named pipe in the place of a file, so that a reader waits; return the bytes of the file."""
    data = file.read_bytes()
    file.unlink()
    os.mkfifo(file)
    return data


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        pytest.param(["run_2"], 3, id="some"),
        pytest.param([], 0, id="all", marks=pytest.mark.slow),
        pytest.param(["run_1", "run_2"], 1, id="none", marks=pytest.mark.slow),
    ],
)
def test_the_exit_code_says_what_was_converted(tmp_path: Path, store: Path, broken: list[str], code: int) -> None:
    tree = save_runs(tmp_path / "tree")
    for run in broken:
        (tree / run / "surface_pressure.npy").write_text("broken")
    ran = finish(start("convert", tree, store, *PRESET))
    assert ran.code == code
    assert "Traceback" not in ran.output
    assert [line.split(",")[0] for line in ran.stderr.splitlines() if line.startswith("failed")] == [
        f"failed: sample '{run}'" for run in broken
    ]


@pytest.mark.slow
def test_wrong_usage_exits_with_2() -> None:
    ran = finish(start("convert", "here", "there"))
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr.startswith(
        "error: expected one of --preset, --filemap and --mapping, got none; presets: shapenet-car"
    )


@pytest.mark.slow
def test_output_that_is_no_longer_read_is_no_error(tmp_path: Path, store: Path) -> None:
    """`noether-zarr info STORE | head -1` prints no message about the pipe."""
    assert call("convert", save_runs(tmp_path / "tree"), store, *PRESET).code == 0
    reading, writing = os.pipe()
    os.close(reading)
    process = start("info", store, stdout=writing)
    os.close(writing)
    ran = finish(process)
    assert (ran.code, ran.stderr) == (1, "")


def test_another_pipe_that_breaks_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    """The output is still read, so the command does not end without a message."""
    with pytest.raises(typer.Exit), errors_reported(debug=False):
        raise BrokenPipeError("a process has ended")
    assert "unexpected error: BrokenPipeError: a process has ended" in capfd.readouterr().err


@pytest.mark.slow
def test_statistics_are_written_although_nobody_reads_the_table(tmp_path: Path, store: Path) -> None:
    """`noether-zarr stats STORE --output stats.json | head -1` leaves the whole file."""
    assert call("convert", save_runs(tmp_path / "tree"), store, *PRESET).code == 0
    reading, writing = os.pipe()
    os.close(reading)
    process = start("stats", store, "--output", tmp_path / "s.json", stdout=writing)
    os.close(writing)
    assert finish(process).code == 1
    assert load_statistics(tmp_path / "s.json").keys() == calculate_store_statistics(store).keys()


@pytest.mark.slow
@pytest.mark.parametrize("columns", [60, 80])
def test_a_narrow_terminal_gets_every_value(tmp_path: Path, store: Path, columns: int) -> None:
    """No line but a long path is longer than the terminal, and no value is cut or missing."""
    assert call("convert", save_runs(tmp_path / "tree"), store, *PRESET).code == 0
    piped = call("info", store).stdout
    shown = ANSI.sub("", run_on_terminal("info", store, columns=columns).stdout)
    assert max(len(line) for line in shown.split("\r\n") if line != str(store)) <= columns
    cells = re.findall(r"[^│\n]+", "".join(re.findall(r"│.*\n", piped)))
    assert {cell.strip() for cell in cells} - {""} <= set(re.split(r"\s{2,}|\r\n", shown)) | set(shown.split())


@pytest.mark.slow
def test_a_stream_in_ascii_gets_tables_in_ascii(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    ran = finish(start("convert", save_runs(tmp_path / "tree"), store, *PRESET))
    assert (ran.code, ran.output.isascii()) == (0, True)
    assert "| converted |       2 |" in ran.stdout


@pytest.mark.slow
def test_into_a_pipe_each_sample_is_a_plain_line(tmp_path: Path, store: Path) -> None:
    tree = save_runs(tmp_path / "tree")
    ran = finish(start("convert", tree, store, *PRESET))
    lines = ran.stderr.splitlines()
    figures = r"\d+\.\d\d samples/s, \d+\.\d s left, 13.2 kB in, 46.\d kB out, \d+.\d MB of memory a worker"
    assert re.fullmatch(rf"\[1/2\] run_1 converted \d+\.\d\d s; {figures}", lines[0])
    assert re.match(r"\[2/2\] run_2 converted .* 0.0 s left, 26.4 kB in", lines[1])
    assert len(lines) == 2
    assert "\x1b" not in ran.output
    assert "\r" not in ran.output


@pytest.mark.slow
def test_a_terminal_shows_a_bar_with_count_time_rate_bytes_and_memory(tmp_path: Path, store: Path) -> None:
    tree = save_runs(tmp_path / "tree", ["a", "b", "[/c]", "d"])
    ran = run_on_terminal("convert", tree, store, *PRESET)
    drawn = ANSI.sub("", ran.stdout)
    assert ran.code == 0, drawn
    assert "\x1b[" in ran.stdout
    assert "━━━━" in drawn
    figures = r"\d+\.\d\d samples/s, 0.0 s left, 52.8 kB in, 1\d\d.\d kB out, \d+.\d MB of memory a worker"
    assert re.search(rf"d ━+ +4/4 +\d:\d\d:\d\d {figures}", drawn)
    assert "4 converted, 0 complete before, 0 failed" in drawn
    assert "Traceback" not in drawn


@pytest.mark.faults
def test_ctrl_c_keeps_what_is_complete_and_a_second_run_finishes(tmp_path: Path, store: Path) -> None:
    tree = save_runs(tmp_path / "tree", ["run_1", "run_2", "run_3"])
    pipe = tree / "run_3" / "surface_pressure.npy"
    data = hold_back(pipe)
    process = start("convert", tree, store, *PRESET)
    assert process.stderr is not None
    assert [process.stderr.readline().split()[1] for _ in range(2)] == ["run_1", "run_2"]
    os.killpg(process.pid, signal.SIGINT)
    ran = finish(process)
    assert ran.code == 130
    assert ran.stderr.splitlines() == ["interrupted; complete samples are kept; run the same command again to continue"]
    assert recorded(store) == groups(store) == ["run_1", "run_2"]
    before = identities(store, "*.zarr/**/*")
    pipe.unlink()
    pipe.write_bytes(data)
    again = call("convert", tree, store, *PRESET)
    assert (again.code, again.stdout.splitlines()[-1].partition(";")[0]) == (
        0,
        "1 converted, 2 complete before, 0 failed",
    )
    assert before.items() <= identities(store, "*.zarr/**/*").items()
    assert recorded(store) == groups(store) == ["run_1", "run_2", "run_3"]


@pytest.mark.faults
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "the end of a batch job"])
def test_an_interruption_with_workers_keeps_complete_samples(
    tmp_path: Path, store: Path, signal_number: signal.Signals
) -> None:
    """No traceback is shown."""
    tree = save_runs(tmp_path / "tree", ["run_1", "run_2", "run_3", "run_4"])
    pipes = [tree / name / "surface_pressure.npy" for name in ("run_3", "run_4")]
    for pipe in pipes:
        hold_back(pipe)
    process = start("convert", tree, store, *PRESET, "--workers", 2)
    assert process.stderr is not None
    assert {process.stderr.readline().split()[1] for _ in range(2)} == {"run_1", "run_2"}
    # A pipe can be opened for writing once a worker has opened it for reading.
    handles = [pipe.open("wb") for pipe in pipes]
    os.killpg(process.pid, signal_number)
    ran = finish(process)
    for handle in handles:
        handle.close()
    assert ran.code == 130
    assert ran.stderr.splitlines()[-1].startswith("interrupted; complete samples are kept")
    assert "Traceback" not in ran.output
    assert recorded(store) == groups(store) == ["run_1", "run_2"]


@pytest.mark.faults
def test_ctrl_c_while_workers_start_shows_no_traceback(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = save_runs(tmp_path / "tree")
    started = tmp_path / "started"
    os.mkfifo(started)
    # Python runs this file at its start, and so each worker before it imports anything of ours.
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nif '--multiprocessing-fork' in sys.orig_argv:\n    open({str(started)!r}, 'w').close()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    process = start("convert", tree, store, *PRESET, "--workers", 2)
    started.read_bytes()
    os.killpg(process.pid, signal.SIGINT)
    release = os.open(started, os.O_RDONLY | os.O_NONBLOCK)  # for the other worker, which may come later
    ran = finish(process)
    os.close(release)
    assert ran.code == 130
    assert ran.stderr.splitlines() == ["interrupted; complete samples are kept; run the same command again to continue"]
