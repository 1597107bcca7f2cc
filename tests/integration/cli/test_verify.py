"""The commands `verify` and `repair`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.upkeep.repair import repair_store
from noether.data.zarr_store.upkeep.verify import verify_store
from support.damage import ARRAY, GROUP, IDS, SHARD, convert_tree, every_file, flip, put, remove
from support.s3_server import S3Server
from support.trees import call, run_on_terminal, save_runs

ROOT = f"{GROUP}/zarr.json"


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TreeSource]:
    return convert_tree(tmp_path_factory.mktemp("cli"))


@pytest.fixture
def root(converted: tuple[Path, TreeSource], tmp_path: Path) -> Path:
    return Path(shutil.copytree(converted[0], tmp_path / "store"))


@pytest.fixture
def tree(converted: tuple[Path, TreeSource]) -> str:
    return converted[1].root


def rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in table.splitlines() if line[:1] == "│"]


def test_a_sound_store_ends_with_0_and_a_line(root: Path) -> None:
    ran = call("verify", root)
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"{root}: sound; 2 samples, 89 objects, ")
    assert ran.stdout.count("\n") == 1


def test_damage_ends_with_4_a_table_and_what_to_do(root: Path) -> None:
    for damage in (flip(SHARD, 20), flip(ROOT.replace("run_2", IDS[0])), put("notes.txt")):
        damage(root)
    ran = call("verify", root)
    assert ran.code == 4
    assert ran.stdout.startswith(f"{root}: DAMAGED, 2 findings; 2 samples, 90 objects")
    assert rows(ran.stdout) == [
        ["metadata damaged", IDS[0], "", f"{IDS[0]}.zarr/zarr.json", "the document is not the zarr.json of a group"],
        [
            "chunk damaged",
            "run_2",
            "volume_velocity",
            SHARD,
            "chunk 2 is damaged: its checksum does not match its bytes",
        ],
    ]
    assert f"what to do about 1 finding: noether-zarr repair {root} --source SOURCE\n" in ran.stdout
    assert f"what to do about 1 finding: noether-zarr repair {root}\n" in ran.stdout
    assert (
        "note: notes.txt: the object does not belong to the store; no action is needed: the library ignores it\n"
        in ran.stdout
    )


def test_one_finding_is_one_finding(root: Path) -> None:
    flip(SHARD, 20)(root)
    ran = call("verify", root)
    assert ": DAMAGED, 1 finding; " in ran.stdout
    assert f"what to do: noether-zarr repair {root} --source SOURCE\n" in ran.stdout


def test_json_has_all_findings(root: Path) -> None:
    """The table has the first 40."""
    for number in range(50):
        put(f"{ARRAY}/c/{100 + number}/0")(root)
    ran = call("verify", root)
    assert len(rows(ran.stdout)) == 40
    assert "… and 10 more, which --json shows\n" in ran.stdout
    assert len(json.loads(call("verify", root, "--json").stdout)["findings"]) == 50


@pytest.mark.parametrize("key", [SHARD, None], ids=["damaged", "sound"])
def test_json_is_the_report(root: Path, key: str | None) -> None:
    if key is not None:
        flip(key, 20)(root)
    ran = call("verify", root, "--json", "--workers", 2)
    printed, report = json.loads(ran.stdout), verify_store(root).to_dict()
    del printed["seconds"], report["seconds"]
    assert printed == json.loads(json.dumps(report))
    assert ran.code == (0 if key is None else 4)


@pytest.mark.parametrize(("level", "code"), [("census", 0), ("index", 0), ("data", 4)])
def test_a_lower_level_says_what_it_does_not_see(root: Path, level: str, code: int) -> None:
    flip(SHARD, 20)(root)
    ran = call("verify", root, "--level", level)
    assert ran.code == code
    assert ("limit: " in ran.stdout) == (code == 0)


def test_samples_can_be_named(root: Path) -> None:
    flip(SHARD, 20)(root)
    assert call("verify", root, "--sample", IDS[0]).code == 0
    assert call("verify", root, "--sample", IDS[0], "--sample", "run_2").code == 4


def test_a_source_is_read_with_the_recorded_file_names(root: Path, tree: str) -> None:
    """Its path is the only option."""
    ran = call("verify", root, "--source", tree)
    assert (ran.code, "(level source)" in ran.stdout) == (0, True)
    remove("conversion.json")(root)
    assert call("verify", root, "--source", tree).code == 2
    assert call("verify", root, "--source", tree, "--preset", "ahmedml").code == 0


def test_the_mapping_of_a_source_is_requested(tmp_path: Path) -> None:
    """The report records no mapping, so both commands need it, and say so."""
    store, text = tmp_path / "store", "name = 'own'\nid = 'run_{n}'\n[domains.volume]\nfile = 'run_{n}.npz'\n"
    (tmp_path / "own.toml").write_text(f"{text}fields = {{ position = 'x', pressure = 'p' }}\n")
    np.savez(tmp_path / "run_1.npz", x=np.ones((9, 3)), p=np.ones(9))
    assert call("convert", tmp_path, store, "--mapping", tmp_path / "own.toml", "--workers", 0).code == 0
    for command in ("verify", "repair"):
        ran = call(command, store, "--source", tmp_path)
        assert (ran.code, ran.stderr.partition("; ")[2]) == (
            2,
            "name them as the conversion did, with --mapping, --preset or --filemap\n",
        )
        assert call(command, store, "--source", tmp_path, "--mapping", tmp_path / "own.toml").code == 0


def test_a_source_that_cannot_be_compared_ends_with_1(root: Path, tmp_path: Path) -> None:
    """It is not damage, and not success."""
    other = save_runs(tmp_path / "other", [IDS[0]])
    ran = call("verify", root, "--source", other)
    assert ran.code == 1
    way_out = "repair the source, or leave the sample out"
    assert f"not checked: run_2, {GROUP}: the source does not have the sample; {way_out}\n" in ran.stdout


@pytest.mark.slow
def test_progress_is_for_terminals_alone(root: Path) -> None:
    assert "reading" in run_on_terminal("verify", root).stdout
    assert "reading" not in call("verify", root).output


@pytest.mark.parametrize("command", ["verify", "repair"])
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(["--level", "deep"], 2, "error: level: expected one of census, index, data", id="level"),
        pytest.param(["--workers", "0"], 2, "error: workers: expected a whole number", id="workers"),
        pytest.param(
            ["--storage-option", "a=b"], 2, "error: storage_options: a local path takes no options", id="options"
        ),
        pytest.param(["--source", "nowhere", "--preset", "ahmedml"], 1, "nowhere does not exist", id="source"),
        pytest.param(["--source", ".", "--preset", "ahmed"], 2, "error: preset 'ahmed'", id="preset"),
    ],
)
def test_a_wrong_call_ends_with_its_code_and_a_line(
    root: Path, command: str, arguments: list[str], code: int, message: str
) -> None:
    ran = call(command, root, *arguments)
    assert (ran.code, ran.stdout, ran.stderr.count("\n")) == (code, "", 1)
    assert message in ran.stderr


def test_a_dry_run_says_what_would_be_done_and_does_nothing(root: Path, tree: str) -> None:
    flip(SHARD, 20)(root)
    flip(ROOT.replace("run_2", IDS[0]))(root)
    before = every_file(root)
    ran = call("repair", root, "--source", tree, "--dry-run")
    assert ran.code == 4
    assert every_file(root) == before
    would = [line for line in ran.stdout.splitlines() if line.startswith("would ")]
    assert would[0] == f"would write {IDS[0]}.zarr/zarr.json: the document can be restored from its copies"
    assert would[1].startswith(f"would convert {GROUP}: chunk 2 is damaged")
    assert would[2].startswith("would write sample_index-")
    assert len(would) == 3


def test_a_repair_says_what_it_does_and_verifies(root: Path, tree: str) -> None:
    before = every_file(root)
    flip(SHARD, 20)(root)
    ran = call("repair", root, "--source", tree)
    assert (ran.code, ran.stderr) == (0, "")
    first, second, verdict = ran.stdout.splitlines()
    assert first == f"convert {GROUP}: chunk 2 is damaged: its checksum does not match its bytes"
    assert (
        second
        == f"write {next(key for key in before if key.startswith('sample_index'))}: samples were added or changed"
    )
    assert verdict.startswith(f"{root}: sound; ")
    assert every_file(root) == before


@pytest.mark.slow
def test_damage_that_is_left_ends_with_4_and_names_what_failed(root: Path, tmp_path: Path) -> None:
    flip(SHARD, 20)(root)
    assert call("repair", root).code == 4
    broken = save_runs(tmp_path / "broken", IDS)
    (broken / "run_2" / "volume_cell_velocity.npy").write_bytes(b"\x93NUMPY")
    ran = call("repair", root, "--source", broken)
    assert ran.code == 4
    assert ran.stderr.startswith("failed: sample 'run_2', field volume_velocity: ")


@pytest.mark.slow
def test_json_of_a_repair_is_its_report(root: Path) -> None:
    flip(ROOT)(root)
    shutil.copytree(root, root.with_name("other"))
    ran = call("repair", root, "--json")
    printed, report = json.loads(ran.stdout), repair_store(root.with_name("other")).to_dict()
    assert printed.keys() == report.keys()
    assert (printed["actions"], printed["failures"]) == (report["actions"], {})
    assert (printed["is_sound"], printed["before"]["is_sound"], printed["after"]["is_sound"]) == (True, False, True)


@pytest.mark.s3
def test_remote_stores_are_verified_and_repaired(s3_server: S3Server, s3_root: str, tmp_path: Path) -> None:
    options = [f"--storage-option={key}={value}" for key, value in s3_server.obstore_options.items()]
    tree = save_runs(tmp_path / "tree")
    assert call("convert", tree, s3_root, "--preset", "ahmedml", "--workers", 0, *options).code == 0
    assert call("verify", s3_root, "--source", tree, *options).code == 0
    assert call("repair", s3_root, *options).code == 0
