"""`--log-level`: what a command asks of its storage, on stderr."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest

from noether.data.zarr_store.cli import load_command
from noether.data.zarr_store.cli.app import COMMANDS
from support.reading import write_runs
from support.s3_server import S3Server
from support.trees import call, finish, save_runs, start

LINE = re.compile(r"\d\d:\d\d:\d\d\.\d{3} DEBUG \[(\d+)\] (read|write|list|look for|delete) .* in \d+\.\d ms, try \d+")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("logged") / "store", "run_1", chunk_points=1024)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_option(name: str) -> None:
    made = load_command(name)
    for command in getattr(made, "commands", {name: made}).values():
        assert "--log-level" in [option for one in command.params for option in one.opts]


@pytest.mark.parametrize("before", [True, False], ids=["before the command", "behind it"])
def test_requests_are_lines_on_stderr_and_the_output_stays_as_it_is(store: Path, before: bool) -> None:
    option = ["--log-level", "debug"]
    ran = call(*option, "info", store, "--json") if before else call("info", store, "--json", *option)
    lines = ran.stderr.splitlines()
    assert "read manifest.json: " in lines[0]
    assert len(lines) >= 2
    assert all(LINE.fullmatch(line) for line in lines)
    assert json.loads(ran.stdout) == json.loads(call("info", store, "--json").stdout)


def test_a_higher_level_hides_requests(store: Path) -> None:
    assert call("info", store, "--log-level", "info").stderr == ""


def test_the_level_ends_with_the_command(store: Path) -> None:
    logger = logging.getLogger("noether.data.zarr_store")
    assert (logger.level, logger.handlers) == (logging.NOTSET, [])
    call("--log-level", "debug", "info", store, "--log-level", "info")
    assert (logger.level, logger.handlers) == (logging.NOTSET, [])
    assert call("info", store).stderr == ""


def test_another_level_is_refused_with_those_that_there_are(store: Path) -> None:
    ran = call("info", store, "--log-level", "loud")
    assert ran.code == 2
    for word in ("--log-level", "loud", "debug", "warning"):
        assert word in ran.stderr


@pytest.mark.slow
def test_worker_processes_log_to_object_storage_and_tell_no_secret(
    tmp_path: Path, s3_server: S3Server, s3_root: str
) -> None:
    tree = save_runs(tmp_path / "tree")
    options = s3_server.obstore_options
    pairs = [f"{name}={value}" for name, value in options.items() if isinstance(value, str)]
    given = [word for pair in pairs for word in ("--storage-option", pair)]
    ran = finish(
        start("convert", tree, s3_root, "--preset", "ahmedml", "--workers", "1", *given, "--log-level", "debug")
    )
    assert ran.code == 0, ran.output
    found = [match for line in ran.stderr.splitlines() if (match := LINE.fullmatch(line))]
    assert len({match[1] for match in found}) >= 2  # processes
    assert any("write run_1.zarr/zarr.json" in match[0] for match in found)
    assert not any(options[name] in ran.output for name in options if "secret" in name)
