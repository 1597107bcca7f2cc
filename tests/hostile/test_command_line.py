"""The command with any arguments, and hostile stores: one line, an exit code, and no control characters."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from noether.data.zarr_store.cli import app
from support.bounds import bounded
from support.hostile_stores import edit_json, fresh_copy, make_small_store
from support.lanes import few_fast

EXIT_CODES = {0, 1, 2, 3, 4}
ESCAPE = "\x1b]0;pwned\x07"

COMMANDS = st.sampled_from(["convert", "info", "index", "merge", "copy", "verify", "export", "stats", "split"])
OPTIONS = st.sampled_from(
    ["--filemap", "--preset", "--chunk-points", "--shard-points", "--field-dtype", "--seed", "--part", "--json",
     "--level", "--storage-option", "--limit", "--workers=0", "--dry-run", "--debug", "--fraction", "--split",
     "--field", "--exclude-field", "--sample", "--mapping", "--"]
)  # fmt: skip
VALUES = st.sampled_from(
    ["", "0", "-1", "1e400", "nan", "9" * 5000, "/dev/null", "C:\\x", "a=b", "=", "a=", "{", '{"a": NaN}',
     "key=[[[[", "float16", "s1", "S1", "\udcff", ESCAPE, "x" * 5000, "1/0", "0/0", "2/1", "http://[", "file://",
     "memory://\n"]
) | st.text(st.characters(exclude_characters="\x00/."), max_size=6)  # fmt: skip


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small_store(tmp_path_factory.mktemp("cli") / "store")


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output + result.stderr


@pytest.mark.filterwarnings("ignore")
@given(COMMANDS, st.lists(OPTIONS | VALUES | st.just("STORE"), max_size=6))
def test_any_arguments_end_in_an_exit_code(
    intact: Path, tmp_path_factory: pytest.TempPathFactory, command: str, arguments: list[str]
) -> None:
    base = tmp_path_factory.getbasetemp()
    root = str(fresh_copy(intact, base / "any"))
    with pytest.MonkeyPatch.context() as patch, bounded(1 << 30):
        (base / "here").mkdir(exist_ok=True)
        patch.chdir(base / "here")
        code, output = run(command, *(root if argument == "STORE" else argument for argument in arguments))
    event(f"{command}: {code}")
    assert code in EXIT_CODES, output
    assert "unexpected error" not in output


def test_an_error_shows_a_path_with_control_characters_escaped(tmp_path: Path) -> None:
    (tmp_path / ESCAPE).mkdir()
    code, output = run("convert", str(tmp_path / ESCAPE), str(tmp_path / "store"), "--preset", "ahmedml")
    assert code == 1
    assert "/\\x1b]0;pwned\\x07: no sample found" in output
    assert not {"\x1b", "\x07"} & set(output)


def test_attributes_with_control_characters_are_shown_escaped(intact: Path, tmp_path: Path) -> None:
    root = fresh_copy(intact, tmp_path / "store")
    attributes = {"note": ESCAPE, ESCAPE: 1, "list": [ESCAPE]}
    edit_json(root / "manifest.json", lambda manifest: manifest["samples"]["s1"].update(attributes=attributes))
    code, output = run("info", str(root), "s1")
    assert code == 0
    assert "note: \\x1b]0;pwned\\x07" in output
    assert not {"\x1b", "\x07"} & set(output)
    _, as_json = run("info", str(root), "s1", "--json")
    assert json.loads(as_json)["attributes"] == attributes
    assert "\x1b" not in as_json


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda manifest: manifest.update(dataset_name=ESCAPE), id="dataset"),
        pytest.param(lambda manifest: manifest.update(splits={ESCAPE: []}), id="split"),
        pytest.param(lambda manifest: manifest["samples"].update({ESCAPE: {}}), id="sample"),
        pytest.param(lambda manifest: manifest["samples"]["s1"].update(fidelity={ESCAPE: 1}), id="key of a sample"),
        pytest.param(lambda manifest: manifest["domains"].update({ESCAPE: 1}), id="domain"),
    ],
)
def test_names_with_control_characters_are_refused_and_shown_escaped(
    intact: Path, tmp_path: Path, change: object
) -> None:
    root = fresh_copy(intact, tmp_path / "store")
    edit_json(root / "manifest.json", change)  # type: ignore[arg-type]  # a function, of the cases above
    code, output = run("info", str(root))
    assert code == 1
    assert output.startswith("error: ")
    assert "pwned" in output
    assert not {"\x1b", "\x07"} & set(output)


@pytest.mark.parametrize("name", few_fast([f"run{ESCAPE}".encode(), b"run\xff", "run\u202e".encode(), b"run\n1"]))
def test_directories_with_control_characters_are_refused_by_name(tmp_path: Path, name: bytes) -> None:
    """All other directories are converted."""
    for directory in (name, b"fine"):
        sample = tmp_path / "source" / os.fsdecode(directory)
        sample.mkdir(parents=True)
        np.save(sample / "p.npy", np.ones((5, 3), np.float32))
    filemap = tmp_path / "files.json"
    filemap.write_text('{"surface_position": "p.npy"}')
    code, output = run(
        "convert", str(tmp_path / "source"), str(tmp_path / "store"), "--filemap", str(filemap), "--workers", "0"
    )
    assert code == 3
    assert "failed: sample id 'run" in output
    assert not {"\x1b", "\x07", "\u202e"} & set(output)
    assert [path.name for path in (tmp_path / "store").glob("*.zarr")] == ["fine.zarr"]


@pytest.mark.parametrize("command", ["verify", "repair"])
@pytest.mark.parametrize(
    "place", [pytest.param("s1.zarr/run{}/note", id="a note"), pytest.param("run{}.zarr/zarr.json", id="damage")]
)
def test_objects_with_control_characters_are_shown_escaped(
    intact: Path, tmp_path: Path, place: str, command: str
) -> None:
    root = fresh_copy(intact, tmp_path / "store")
    path = root / place.format(ESCAPE)
    path.parent.mkdir()
    path.write_text("{}")
    _, output = run(command, str(root))
    assert "run\\x1b]0;" in output
    assert not {"\x1b", "\x07"} & set(output)


def test_merge_refuses_a_group_with_control_characters_in_its_name(intact: Path, tmp_path: Path) -> None:
    root = fresh_copy(intact, tmp_path / "store")
    (root / f"run{ESCAPE}.zarr").mkdir()
    (root / f"run{ESCAPE}.zarr" / "zarr.json").write_text("{}")
    code, output = run("merge", str(root))
    assert code == 3
    assert "run\\x1b]0;" in output
    assert not {"\x1b", "\x07"} & set(output)
