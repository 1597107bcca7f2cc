"""Completion in the shell: commands, options and known values."""

from __future__ import annotations

import os
import subprocess

import pytest
from typer.testing import CliRunner

from noether.data.zarr_store.cli import app
from noether.data.zarr_store.cli.app import COMMANDS
from noether.data.zarr_store.sources import shipped_mappings
from noether.data.zarr_store.sources.presets import PRESETS
from noether.data.zarr_store.upkeep.verify import LEVELS
from support.trees import COMMAND, call


def completed(line: str) -> list[str]:
    """The words that bash is offered at the end of a line."""
    words = line.split(" ")
    protocol = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_NOETHER_ZARR_COMPLETE": "complete_bash"}
    return CliRunner().invoke(app, [], env=protocol, prog_name="noether-zarr").stdout.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("noether-zarr ", list(COMMANDS)),
        ("noether-zarr con", ["convert"]),
        ("noether-zarr cache ", ["fill", "show", "clear"]),
        ("noether-zarr convert in out --pre", ["--preset"]),
        ("noether-zarr convert in out --preset ", list(PRESETS)),
        ("noether-zarr convert in out --preset dr", ["drivaerml", "drivaernet"]),
        ("noether-zarr add-fields store in --mapping ", list(shipped_mappings())),
        ("noether-zarr add-fields store in --compare ", ["some", "all"]),
        ("noether-zarr verify store --level ", list(LEVELS)),
        ("noether-zarr info store --log-level ", ["debug", "info", "warning", "error"]),
    ],
)
def test_bash_is_offered_the_words_that_fit(line: str, words: list[str]) -> None:
    assert completed(line) == words


@pytest.mark.slow
def test_the_script_completes_in_bash() -> None:
    script = call("--show-completion", "bash").stdout
    ask = 'COMP_WORDS=(noether-zarr cop); COMP_CWORD=1; _noether_zarr_completion "$0"; echo "${COMPREPLY[@]}"'
    shell = ["bash", "--norc", "-c", f"{script}\n{ask}", str(COMMAND)]
    ran = subprocess.run(shell, capture_output=True, text=True, check=True, env=dict(os.environ))
    assert ran.stdout.split() == ["copy"]
