"""The command `info`, and what belongs to no command."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest

from noether.data.zarr_store import __version__
from noether.data.zarr_store.codec import implementation
from noether.data.zarr_store.upkeep.summary import summarize
from support.s3_server import S3Server
from support.trees import call, save_runs

PRESET = ("--preset", "ahmedml", "--workers", "0")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("info")
    save_runs(root / "tree", ["part/run_1", "run_2"])
    ran = call("convert", root / "tree", root / "store", *PRESET, "--chunk-points", 64)
    assert ran.code == 0, ran.output
    return root / "store"


def without_fidelity(store: Path, copy: Path) -> Path:
    manifest = json.loads((store / "manifest.json").read_text())
    for entry in manifest["samples"].values():
        del entry["fidelity"]
    copy.mkdir()
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def cells(table: str, name: str) -> list[str]:
    """The cells of the row that begins with a name."""
    [row] = [line for line in table.splitlines() if line.startswith(f"│ {name} ")]
    return [cell.strip() for cell in row.strip("│").split("│")]


@pytest.mark.parametrize("sample", [[], ["part/run_1"]], ids=["store", "sample"])
def test_json_is_the_summary(store: Path, sample: list[str]) -> None:
    ran = call("info", store, *sample, "--json")
    assert (ran.code, ran.stderr) == (0, "")
    assert json.loads(ran.stdout) == asdict(summarize(store, *sample))


def test_the_table_of_a_store_shows_its_figures(store: Path) -> None:
    ran = call("info", store)
    summary = summarize(store)
    surface = summary.domains[0]
    assert ran.code == 0
    assert ran.stdout.splitlines()[0] == f"ahmedml: 2 samples in {store}"
    assert ran.stdout.splitlines()[1].endswith("blosc-zstd-5, checksums on, shuffled by hash-v1 with seed 0")
    assert f"in {summary.n_objects} objects" in ran.stdout
    assert surface.source_bytes is not None
    assert cells(ran.stdout, "surface")[1:6] == ["2", "150", "64", "6", "2"]
    assert cells(ran.stdout, "surface")[-1] == f"{surface.stored_bytes / surface.source_bytes:.2f}"
    position, pressure = cells(ran.stdout, "surface_position"), cells(ran.stdout, "surface_pressure")
    assert (position[1], position[-3:]) == ("float32", ["exact", "exact", "0"])
    error = surface.fields[1].max_abs_error
    assert (pressure[1], pressure[-3]) == ("float16", f"{error:.2g}")


def test_the_table_of_a_sample_shows_its_attributes(store: Path) -> None:
    ran = call("info", store, "part/run_1")
    assert ran.stdout.splitlines()[0] == f"ahmedml: sample part/run_1 in {store}"
    assert ran.stdout.splitlines()[2].startswith("design_parameters: [25.0, ")
    assert cells(ran.stdout, "volume")[1:3] == ["1", "150"]


def test_unknown_figures_are_question_marks(store: Path, tmp_path: Path) -> None:
    ran = call("info", without_fidelity(store, tmp_path / "bare"))
    assert ran.code == 0
    assert cells(ran.stdout, "surface_pressure")[-5:] == ["?"] * 5
    assert cells(ran.stdout, "surface")[-2:] == ["?", "?"]


def test_no_row_is_cut_where_there_is_no_terminal(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = call("info", store).stdout
    monkeypatch.setenv("COLUMNS", "40")
    assert call("info", store).stdout == wide


def test_brackets_and_colons_in_names_are_printed_as_they_are(tmp_path: Path) -> None:
    sample_id = "[red]run[/red]:car:"
    save_runs(tmp_path / "tree", [sample_id])
    converted = call("convert", tmp_path / "tree", tmp_path / "store", *PRESET)
    assert converted.code == 0
    assert f"[1/1] {sample_id} converted" in converted.stderr
    assert f"sample {sample_id} in" in call("info", tmp_path / "store", sample_id).stdout


@pytest.mark.s3
def test_storage_options_reach_the_file_system(tmp_path: Path, s3_server: S3Server, s3_root: str) -> None:
    options = [f"--storage-option={key}={value}" for key, value in s3_server.obstore_options.items()]
    assert call("convert", save_runs(tmp_path / "tree"), s3_root, *PRESET, *options).code == 0
    ran = call("info", s3_root, "run_2", "--json", *options)
    summary = summarize(s3_root, "run_2", storage_options=s3_server.obstore_options)
    assert json.loads(ran.stdout) == asdict(summary)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(["run_1"], 1, "error: sample 'run_1' is not in the store; did you mean", id="unknown sample"),
        pytest.param(["run_2", "--storage-option", "a=b"], 2, "error: storage_options: a local path", id="options"),
        pytest.param(["run_2", "more"], 2, "unexpected extra argument", id="too many arguments"),
    ],
)
def test_a_wrong_call_ends_with_its_code_and_a_line(store: Path, arguments: list[str], code: int, message: str) -> None:
    ran = call("info", store, *arguments)
    assert (ran.code, ran.stdout) == (code, "")
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "not found, so .* is no store; check the path, or convert", id="none"),
        pytest.param("{", "not a valid manifest: Invalid JSON", id="no JSON"),
        pytest.param('{"format_version": 99}', "format_version: format version 99 is not known", id="newer"),
    ],
)
def test_a_directory_without_a_store_ends_with_1(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    plain, debug = call("info", tmp_path), call("info", tmp_path, "--debug")
    assert (plain.code, plain.stdout, plain.stderr.count("\n")) == (1, "", 1)
    assert re.search(f"^error: .*{message}", plain.stderr)
    assert "Traceback" in debug.stderr


def test_version_prints_version_and_implementation() -> None:
    ran = call("--version")
    assert (ran.code, ran.stdout) == (0, f"noether-zarr {__version__} ({implementation})\n")


def test_help_lists_commands_and_options() -> None:
    assert all(command in call("--help").stdout for command in ("convert", "info"))
    assert "Exit codes: 0 all samples are converted" in " ".join(call("convert", "--help").stdout.split())
    assert "--json" in call("info", "--help").stdout


def test_an_unknown_command_ends_with_2() -> None:
    """Without a command, the help is shown."""
    assert "convert" in call().output
    unknown = call("transmute")
    assert unknown.code == 2
    assert "No such command 'transmute'" in unknown.stderr
