"""`--json` of every command: one document on stdout, and nothing else there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether.data.zarr_store.cli import load_command
from noether.data.zarr_store.cli.app import COMMANDS
from noether.data.zarr_store.viewing import page
from support.near import as_remote
from support.trees import call, save_runs

PRESET = ("--preset", "ahmedml", "--workers", "0")

# A call of each command on the store of `places`, and keys that its document must have. Names in braces are paths.
CALLS: dict[str, tuple[list[str], set[str]]] = {
    "add-fields": (
        ["{store}", "{tree}", "--filemap", "{later}", "--workers", "0"],
        {"store_root", "fields", "n_converted", "seconds", "joined", "pending", "samples", "only_in_store"},
    ),
    "add-fields --dry-run": (
        ["{store}", "{tree}", "--filemap", "{later}", "--dry-run"],
        {"store_root", "fields", "n_workers", "samples", "n_complete", "only_in_source"},
    ),
    "bench": (["{store}", "--workers", "0", "--seconds", "0.01"], {"store_root", "samples_per_second", "limit"}),
    "cache fill": (["{remote}", "--cache-dir", "{cache}"], {"store_root", "samples", "left_out", "n_fetched"}),
    "cache show": (["--cache-dir", "{cache}"], {"n_bytes", "stores"}),
    "cache clear": (["--cache-dir", "{cache}"], {"n_files"}),
    "convert": (
        ["{tree}", "{new}", *PRESET],
        {"store_root", "n_converted", "n_skipped", "n_failed", "seconds", "is_indexed", "warnings", "samples"},
    ),
    "convert --dry-run": (
        ["{tree}", "{new}", *PRESET, "--dry-run"],
        {"store_root", "n_samples", "domains", "memory_bytes", "workers", "failures"},
    ),
    "copy": (["{store}", "{new}"], {"store_root", "destination", "n_copied", "n_skipped", "n_bytes", "samples"}),
    "demo": (
        ["{new}"],
        {"directory", "simulations", "vtk", "store_root", "n_samples", "n_bytes", "commands", "python"},
    ),
    "export": (["{store}", "run_1", "{npz}"], {"path", "arrays", "domain", "association", "parts", "left_out"}),
    "index": (["{store}"], {"store_root", "chunk_index", "missing_arrays"}),
    "info": (["{store}"], {"store_root", "n_samples", "domains", "splits"}),
    "inspect": (["{tree}", "--mapping", "{new}"], {"root", "files", "mapping", "n_samples"}),
    "merge": (["{store}"], {"store_root", "added", "updated", "unchanged", "missing", "refused", "removing"}),
    "merge-stats": (["{stats}", "--output", "{new}.json"], {"statistics", "written"}),
    "plot": (["{store}", "run_1", "{new}.png", "--field", "surface_pressure"], {"path"}),
    "remove": (["{store}", "--sample", "run_2"], {"store_root", "is_dry_run", "n_bytes", "samples"}),
    "remove --field": (["{store}", "--field", "volume_sdf"], {"store_root", "is_dry_run", "n_bytes", "fields"}),
    "repair": (["{store}"], {"is_sound", "before", "actions", "failures", "after"}),
    "set-attributes": (["{store}", "{table}"], {"store_root", "n_samples", "changed", "attributes"}),
    "split": (["{store}", "--test", "0.5", "--exact"], {"store_root", "n_samples", "splits"}),
    "stats": (["{store}", "--output-flat", "{new}.json"], {"store_root", "origin", "statistics", "written"}),
    "verify": (["{store}"], {"is_sound", "store_root", "level", "findings", "seconds"}),
    "view": (["--export", "{new}"], {"page"}),
}


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Paths of a source, a store, a cache, statistics and a table; and a page, which is built with npm elsewhere."""
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("<!doctype html>")
    monkeypatch.setattr(page, "_PAGE", tmp_path / "page")
    tree, store, stats = save_runs(tmp_path / "tree"), tmp_path / "store", tmp_path / "stats.json"
    for run in tree.iterdir():
        np.save(run / "cp.npy", np.load(run / "surface_pressure.npy") / 2)
    (tmp_path / "later.json").write_text(
        json.dumps({"surface_position": "surface_position_vtp.npy", "surface_cp": {"file": "cp.npy"}})
    )
    assert call("convert", tree, store, *PRESET).code == 0
    assert call("stats", store, "--output", stats).code == 0
    assert call("cache", "fill", as_remote(store), "--cache-dir", tmp_path / "cache").code == 0
    (tmp_path / "table.csv").write_text("id,mach\nrun_1,0.3\n")
    paths = {name: str(tmp_path / name) for name in ("tree", "store", "new", "cache")}
    files = {"npz": "out.npz", "stats": "stats.json", "table": "table.csv", "later": "later.json"}
    return paths | {name: str(tmp_path / file) for name, file in files.items()} | {"remote": as_remote(store)}


def all_commands() -> set[str]:
    loaded = {name: load_command(name) for name in COMMANDS}
    return {
        name if subcommand is None else f"{name} {subcommand}"
        for name, command in loaded.items()
        for subcommand in getattr(command, "commands", [None])
    }


def test_every_command_is_called_here() -> None:
    assert {name.partition(" --")[0] for name in CALLS} == all_commands()


@pytest.mark.parametrize("name", CALLS)
def test_stdout_is_one_document(places: dict[str, str], name: str) -> None:
    arguments, keys = CALLS[name]
    ran = call(*name.partition(" --")[0].split(), *(text.format(**places) for text in arguments), "--json")
    assert ran.code == 0, ran.output
    document = json.loads(ran.stdout, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert keys <= document.keys()
    assert all(key == key.lower() and key.isidentifier() for key in document)


def test_a_failed_sample_is_in_the_document_and_on_stderr(tmp_path: Path) -> None:
    tree = save_runs(tmp_path / "tree")
    (tree / "run_2" / "surface_pressure.npy").write_bytes(b"broken")
    ran = call("convert", tree, tmp_path / "store", *PRESET, "--json")
    document: dict[str, Any] = json.loads(ran.stdout)
    assert (ran.code, document["n_converted"], document["n_failed"]) == (3, 1, 1)
    [failed] = [one for one in document["samples"] if one["outcome"] == "failed"]
    assert failed["sample_id"] == "run_2"
    assert f"failed: {failed['reason']}" in ran.stderr.splitlines()


def test_an_error_leaves_stdout_empty(tmp_path: Path) -> None:
    ran = call("info", tmp_path, "--json")
    assert (ran.code, ran.stdout) == (1, "")
    assert ran.stderr.startswith("error: ")


def test_notes_go_to_stderr(tmp_path: Path) -> None:
    """Without `--json`, they are on stdout."""
    tree, note = save_runs(tmp_path / "tree"), "note: other parts are missing"
    plain = call("convert", tree, tmp_path / "plain", *PRESET, "--part", "1/2")
    ran = call("convert", tree, tmp_path / "store", *PRESET, "--part", "1/2", "--json")
    assert note in plain.stdout
    assert note in ran.stderr
    assert json.loads(ran.stdout)["is_indexed"] is False
