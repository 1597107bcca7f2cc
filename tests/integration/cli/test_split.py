"""Splits on the command line: `split`, `convert --split-file`, and what `info` shows of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from noether.data.zarr_store import StoreManifest
from noether.data.zarr_store.manifest.splits import split_samples
from support.s3_server import S3Server
from support.trees import call, save_runs

PRESET = ("--preset", "ahmedml", "--workers", "0")
RUNS = [f"run_{i}" for i in range(1, 7)]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_runs(tmp_path_factory.mktemp("split") / "tree", RUNS)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Options for a list of training samples, one of which does not exist, and one of test samples."""
    (tmp_path / "train.txt").write_text("# official\nrun_1\nrun_2\nrun_77\n")
    (tmp_path / "test.txt").write_text("run_3\n")
    return [f"--split-file={name}={tmp_path / name}.txt" for name in ("train", "test")]


def splits_of(store: Path) -> dict[str, list[str]]:
    return StoreManifest.load(str(store)).splits


def test_split_records_splits_and_prints_their_sizes(tree: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert call("convert", tree, store, *PRESET).code == 0
    ran = call("split", store, "--test", 0.3, "--validation", 0.2, "--seed", 4)
    splits = split_samples(RUNS, test=0.3, validation=0.2, seed=4)
    train, validation, test = (len(ids) for ids in splits.values())
    assert ran.code == 0, ran.output
    assert ran.stdout == (
        f"6 samples: train {train} ({train / 6:.1%}), validation {validation} ({validation / 6:.1%}), "
        f"test {test} ({test / 6:.1%})\n"
    )
    assert splits_of(store) == splits
    assert f"splits: train {train}, validation {validation}, test {test}\n" in call("info", store).stdout
    [name] = [name for name, ids in splits.items() if "run_1" in ids]
    assert f"splits: {name}\n" in call("info", store, "run_1").stdout


def test_an_empty_split_is_refused_with_the_option_that_makes_exact_counts(tree: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert call("convert", tree, store, *PRESET).code == 0
    refused = call("split", store, "--test", 0.1)
    assert refused.code == 2
    assert refused.stderr == (
        f"error: {store}: The test split is empty: with 6 samples and a fraction of 0.1 a hash-based split can be. "
        "Use `--exact`, or another seed (1 works).\n"
    )
    ran = call("split", store, "--test", 0.1, "--exact")
    assert (ran.code, ran.stdout) == (0, "6 samples: train 5 (83.3%), test 1 (16.7%)\n")
    assert splits_of(store) == split_samples(RUNS, test=0.1, exact=True)


@pytest.mark.slow
def test_split_moves_samples_only_with_overwrite(tree: Path, tmp_path: Path, files: list[str]) -> None:
    store = tmp_path / "store"
    assert call("convert", tree, store, *PRESET, *files).code == 0
    refused = call("split", store, "--test", 0.3, "--seed", 3)
    assert (refused.code, refused.stdout) == (2, "")
    assert "error: the store has splits (train 2, test 1), and" in refused.stderr
    assert call("split", store, "--test", 0.3, "--seed", 3, "--overwrite").code == 0
    assert splits_of(store) == split_samples(RUNS, test=0.3, seed=3)


@pytest.mark.s3
def test_split_reaches_a_store_in_object_storage(tree: Path, s3_server: S3Server, s3_root: str) -> None:
    options = [f"--storage-option={key}={value}" for key, value in s3_server.obstore_options.items()]
    assert call("convert", tree, s3_root, *PRESET, *options).code == 0
    assert call("split", s3_root, "--test", 0.3, "--seed", 3, *options).code == 0
    manifest = StoreManifest.load(s3_root, storage_options=s3_server.obstore_options)
    assert manifest.splits == split_samples(RUNS, test=0.3, seed=3)


@pytest.mark.slow
def test_convert_records_splits_and_notes_missing_samples(tree: Path, tmp_path: Path, files: list[str]) -> None:
    store = tmp_path / "store"
    ran = call("convert", tree, store, *PRESET, *files)
    assert ran.code == 0, ran.output
    assert "note: split 'train': 1 of the 3 ids in" in ran.stdout
    assert splits_of(store) == {"train": ["run_1", "run_2"], "test": ["run_3"]}
    assert "splits: train 2, test 1\n" in call("info", store).stdout
    manifest = json.loads((store / "manifest.json").read_text())
    assert (store / manifest["sample_index"]).is_file()


def test_a_conversion_of_what_is_complete_still_records_splits(tree: Path, tmp_path: Path, files: list[str]) -> None:
    store = tmp_path / "store"
    call("convert", tree, store, *PRESET)
    index = StoreManifest.load(str(store)).index_name
    assert call("convert", tree, store, *PRESET, *files).code == 0
    assert splits_of(store) == {"train": ["run_1", "run_2"], "test": ["run_3"]}
    assert StoreManifest.load(str(store)).index_name == index


def test_a_split_may_list_samples_that_are_not_converted_yet(tree: Path, tmp_path: Path, files: list[str]) -> None:
    store = tmp_path / "store"
    assert call("convert", tree, store, *PRESET, *files, "--limit", 1).code == 0
    assert splits_of(store)["train"] == ["run_1", "run_2"]
    assert "splits: train 2 (1 not in the store), test 1 (1 not in the store)\n" in call("info", store).stdout


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("train", "error: --split-file: expected NAME=FILE, got 'train'"),
        ("train=nowhere.txt", "error: split 'train': cannot read nowhere.txt (No such file or directory)"),
    ],
)
def test_a_wrong_split_file_ends_the_conversion_before_it_begins(
    tree: Path, tmp_path: Path, option: str, message: str
) -> None:
    ran = call("convert", tree, tmp_path / "store", *PRESET, "--split-file", option)
    assert ran.code == 2
    assert message in ran.stderr
    assert not (tmp_path / "store").exists()
