"""Splits from files and in a manifest: recorded splits, refused ones, and notices."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from noether.data.zarr_store.errors import ArgumentError, ManifestError
from noether.data.zarr_store.manifest import StoreManifest
from noether.data.zarr_store.manifest.splits import read_split_files, save_splits, split_samples, split_store
from support.manifests import GRID, Json, minimal

RUNS = [f"run_{i}" for i in range(1, 21)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a store of twenty samples with a chunk index."""
    add_samples(tmp_path, RUNS)
    return tmp_path


def add_samples(root: Path, sample_ids: list[str], **keys: Any) -> None:
    file = root / "manifest.json"
    content = content_of(root) if file.exists() else minimal() | {"samples": {}}
    content |= {"chunk_index": "chunk_index-0f.npy", **keys}
    content["samples"] |= {
        sample_id: {"relpath": f"{sample_id}.zarr", "domains": {"surface": GRID}} for sample_id in sample_ids
    }
    file.write_text(json.dumps(content))
    # After a write by the library, it has all optional keys.
    StoreManifest.update(str(root), lambda there: there)


def content_of(root: Path) -> Json:
    """Return the JSON of the manifest without its checksum."""
    content: Json = json.loads((root / "manifest.json").read_text())
    return {key: value for key, value in content.items() if key != "crc32c"}


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"test": 0.0}, "test: expected a fraction between 0 and 1, got 0.0"),
        ({"test": 1.0}, "test: expected a fraction between 0 and 1, got 1.0"),
        ({"test": float("nan")}, "test: expected a fraction between 0 and 1, got nan"),
        ({"test": "0.1"}, "test: expected a fraction between 0 and 1, got '0.1'"),
        ({"test": 0.1, "validation": -0.1}, "validation: expected a fraction between 0 and 1, got -0.1"),
        ({"test": 0.1, "validation": float("nan")}, "validation: expected a fraction between 0 and 1, got nan"),
        ({"test": 0.7, "validation": 0.3}, "expected a sum of less than 1, got 0.7 [+] 0.3"),
    ],
    ids=str,
)
def test_a_fraction_out_of_its_range_is_refused(tmp_path: Path, fractions: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        split_samples(RUNS, **fractions)
    with pytest.raises(ArgumentError, match=message):
        split_store(tmp_path / "no store", **fractions)


def test_a_store_is_split_in_its_manifest_and_nothing_else_changes_there(root: Path) -> None:
    before = content_of(root)
    splits = split_store(root, test=0.2, validation=0.2, seed=1)
    assert splits == split_samples(RUNS, test=0.2, validation=0.2, seed=1)
    assert content_of(root) == before | {"splits": splits}
    assert StoreManifest.load(str(root)).chunk_index == "chunk_index-0f.npy"


def test_a_second_split_places_new_samples_and_moves_no_other(root: Path) -> None:
    before = split_store(root, test=0.2, seed=1)
    more = [f"run_{i}" for i in range(21, 61)]
    add_samples(root, more)
    after = split_store(root, test=0.2, seed=1)
    assert {name: [one for one in ids if one not in more] for name, ids in after.items()} == before
    assert sorted(one for ids in after.values() for one in ids) == sorted([*RUNS, *more])


def test_samples_change_their_split_only_with_overwrite(root: Path) -> None:
    add_samples(root, [], splits={"train": ["run_1"], "val": RUNS[1:]})
    before = content_of(root)
    message = r"the store has splits \(train 1, val 19\), and 19 samples would change their split, such as 'run_2' of "
    with pytest.raises(ArgumentError, match=message):
        split_store(root, test=0.2, seed=0)
    assert content_of(root) == before
    splits = split_store(root, test=0.2, seed=0, overwrite=True)
    assert content_of(root)["splits"] == splits


def test_an_empty_split_is_refused_with_a_seed_as_a_way_out(root: Path) -> None:
    with pytest.raises(ArgumentError) as caught:
        split_store(root, test=0.01)
    assert content_of(root)["splits"] == {}
    said = re.fullmatch(
        rf"{re.escape(str(root))}: The test split is empty: with 20 samples and a fraction of 0.01 a hash-based split "
        r"can be. Use another seed \((\d+) works\).",
        str(caught.value),
    )
    assert said
    assert all(split_store(root, test=0.01, seed=int(said[1])).values())


def test_an_empty_split_is_refused_with_exact_as_a_way_out(root: Path) -> None:
    seed = next(seed for seed in range(1000) if not split_samples(RUNS, test=0.1, seed=seed)["test"])
    with pytest.raises(ArgumentError, match=r"a fraction of 0.1 a hash-based split can be. Use `--exact`, or another"):
        split_store(root, test=0.1, seed=seed)
    assert len(split_store(root, test=0.1, seed=seed, exact=True)["test"]) == 2


def test_an_empty_split_without_a_helpful_seed_needs_other_fractions(root: Path) -> None:
    with pytest.raises(ArgumentError, match=r"a hash-based split can be. Use other fractions.$"):
        split_store(root, test=1e-9)


def test_an_exact_count_of_zero_is_refused(root: Path) -> None:
    with pytest.raises(ArgumentError, match=r"with 20 samples and a fraction of 0.01 the exact count is 0. Use other"):
        split_store(root, test=0.01, exact=True)
    assert content_of(root)["splits"] == {}


def test_exact_splits_move_samples_that_were_placed_only_with_overwrite(root: Path) -> None:
    """New samples near the limit between two splits move it."""
    split_store(root, test=0.2, seed=4, exact=True)
    before = content_of(root)["splits"]
    add_samples(root, [f"run_{i}" for i in range(21, 61)])
    with pytest.raises(ArgumentError, match="samples would change their split"):
        split_store(root, test=0.2, seed=4, exact=True)
    assert content_of(root)["splits"] == before
    assert len(split_store(root, test=0.2, seed=4, exact=True, overwrite=True)["test"]) == 12


def test_a_store_without_samples_is_not_split(tmp_path: Path) -> None:
    add_samples(tmp_path, [])
    with pytest.raises(ArgumentError, match="the store has no samples to split; convert a source first"):
        split_store(tmp_path, test=0.5)


def test_a_place_without_a_store_is_not_split(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is no store; check the path"):
        split_store(tmp_path, test=0.5)


def test_saved_splits_replace_only_splits_of_the_same_name(root: Path) -> None:
    add_samples(root, [], splits={"train": ["run_1"], "small": ["run_2"]})
    before = content_of(root)
    save_splits(root, {"train": ["run_3"], "test": ["run_4"]})
    splits = {"train": ["run_3"], "small": ["run_2"], "test": ["run_4"]}
    assert content_of(root) == before | {"splits": splits}


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("run_2\nrun_1\n", ["run_2", "run_1"]),
        ("\ufeffrun_1\r\n  run_2 \r\n\r\n", ["run_1", "run_2"]),
        ("# official\n\n  # list\nrun#1\nrun_1\nrun_1", ["run#1", "run_1"]),
    ],
    ids=["order of the file", "of Windows", "comments, blank and double lines"],
)
def test_a_split_file_has_one_id_per_line(tmp_path: Path, text: str, ids: list[str]) -> None:
    file = tmp_path / "train.txt"
    file.write_bytes(text.encode())
    assert read_split_files({"train": file}, {"run#1", *RUNS}) == ({"train": ids}, [])


def test_unknown_ids_are_left_out_and_named(tmp_path: Path) -> None:
    file = tmp_path / "train.txt"
    file.write_text("run_1\nrun_1000\nx\n")
    splits, [notice] = read_split_files({"train": file}, RUNS)
    assert splits == {"train": ["run_1"]}
    assert notice.startswith(
        f"split 'train': 2 of the 3 ids in {file} are neither in the source nor in the store: 'run_1000', 'x'; "
        "they are left out; did you mean 'run_10'"
    )


def test_splits_that_share_samples_are_named(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("train", "test", "small")}
    for file, text in zip(files.values(), ("run_1\nrun_2\nrun_3", "run_4\nrun_2", "run_5"), strict=True):
        file.write_text(text)
    splits, notices = read_split_files(files, RUNS)
    assert splits == {"train": ["run_1", "run_2", "run_3"], "test": ["run_4", "run_2"], "small": ["run_5"]}
    assert notices == ["splits 'train' and 'test' share 1 samples: 'run_2'"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "split 'train': cannot read .*train.txt .No such file or directory"),
        (b"\xff\xfe", "split 'train': .*train.txt is not UTF-8 text"),
        (b"# nothing\n\n", "split 'train': .*train.txt lists no sample; write one id per line"),
        (
            b"1\n2\n",
            "split 'train': 2 of the 2 ids in .* are neither in the source nor in the store: '1', '2'; .* run_1",
        ),
    ],
    ids=["not there", "no text", "empty", "ids of another form"],
)
def test_a_file_without_a_list_of_samples_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "train.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ArgumentError, match=message):
        read_split_files({"train": file}, RUNS)
