"""A second conversion skips unchanged samples, and converts changed or requested samples."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether.data.zarr_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.convert import ConversionReport, Mode, Outcome, convert
from noether.data.zarr_store.core.document_checksum import with_checksum
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.sources import TreeSource
from support.bad_sources import RaisingSource
from support.lanes import few_fast
from support.trees import TREE_FILEMAP, identities, save_array, save_runs, visible_files

IDS = ["run_1", "run_2", "run_3"]
PRESSURE = "surface_pressure.npy"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return save_runs(tmp_path / "tree", IDS)


@pytest.fixture
def store(tmp_path: Path, tree: Path) -> Path:
    """A store with all samples of the tree."""
    run(tree, tmp_path / "store")
    return tmp_path / "store"


def run(tree: Path, store: Path, mode: Mode = "resume", **settings: Any) -> ConversionReport:
    writer = ZarrStoreWriter(store, TREE_FILEMAP, "ahmed", **{"chunk_points": 64, **settings})
    return convert(TreeSource(tree, TREE_FILEMAP), writer, mode=mode)


def ids(report: ConversionReport, outcome: Outcome) -> list[str]:
    return [result.sample_id for result in report.having(outcome)]


def replace_at_the_same_size(file: Path) -> None:
    before = file.stat()
    save_array(file, -np.load(file))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


@pytest.mark.slow
def test_a_changed_file_of_the_same_size_is_converted_again(tree: Path, store: Path) -> None:
    replace_at_the_same_size(tree / "run_2" / PRESSURE)
    report = run(tree, store)
    assert (ids(report, "converted"), ids(report, "skipped")) == (["run_2"], ["run_1", "run_3"])
    stored = ZarrChunkReader(store).read_arrays("run_2", order="original", fields=["surface_pressure"])
    np.testing.assert_allclose(stored["surface_pressure"], np.load(tree / "run_2" / PRESSURE).ravel(), rtol=1e-3)
    assert ids(run(tree, store), "skipped") == IDS


def test_a_tree_copied_with_its_times_is_unchanged(tree: Path, store: Path) -> None:
    tree.rename(tree.with_name("elsewhere"))
    assert ids(run(tree.with_name("elsewhere"), store), "skipped") == IDS


def test_a_field_that_comes_from_another_file_is_a_change(tree: Path, store: Path) -> None:
    (tree / "run_1" / PRESSURE).rename(tree / "run_1" / "p.npy")
    filemap = TREE_FILEMAP.model_copy(update={"surface_pressure": "p.npy"})
    writer = ZarrStoreWriter(store, filemap, "ahmed", chunk_points=64)
    assert ids(convert(TreeSource(tree, filemap), writer, limit=1), "converted") == ["run_1"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", few_fast([{"chunk_points": {"surface": 50}}, {"chunk_points": 50}, {"shard_points": 64}])
)
def test_samples_with_other_grids_are_converted_again(tree: Path, store: Path, settings: dict[str, Any]) -> None:
    assert ids(run(tree, store, **settings), "converted") == IDS
    assert ids(run(tree, store, **settings), "skipped") == IDS


def test_a_missing_fingerprint_counts_as_unchanged(tree: Path, store: Path) -> None:
    for file in (*store.glob("*.zarr/zarr.json"), store / "manifest.json"):
        text = file.read_text()
        assert '"fingerprint"' in text
        # A manifest of another version, with a valid checksum.
        zeroed = re.sub(r'"crc32c": "[0-9a-f]{8}"', '"crc32c": "00000000"', text.replace('"fingerprint"', '"other"'))
        file.write_bytes(with_checksum(zeroed.encode()))
    assert ids(run(tree, store), "skipped") == IDS


def test_fingerprints_survive_a_lost_manifest(tree: Path, store: Path) -> None:
    """The fingerprint is stored in the group of the sample."""
    (store / "manifest.json").unlink()
    replace_at_the_same_size(tree / "run_2" / PRESSURE)
    assert ids(run(tree, store), "converted") == ["run_2"]


def test_overwriting_converts_all_samples_to_the_same_bytes(tree: Path, store: Path) -> None:
    before, files = visible_files(store), identities(store, "*.zarr/**/*")
    assert ids(run(tree, store, "overwrite"), "converted") == IDS
    assert visible_files(store) == before
    assert not files.items() & identities(store, "*.zarr/**/*").items()


def test_a_retry_visits_only_failed_samples(tree: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    writer = ZarrStoreWriter(store, TREE_FILEMAP, "ahmed", chunk_points=64)
    convert(RaisingSource(tree, TREE_FILEMAP, {"run_1": OSError(5, "I/O")}), writer, limit=2)
    assert [result.sample_id for result in run(tree, store, "retry-failed").results] == ["run_1"]
    assert list(StoreManifest.load(str(store)).samples) == ["run_1", "run_2"]
    assert run(tree, store, "retry-failed").results == []


def test_a_retry_needs_a_report(tree: Path, store: Path) -> None:
    (store / "conversion.json").unlink()
    with pytest.raises(
        ArgumentError, match=r"store: mode 'retry-failed': expected a record of convert .* got no such file"
    ):
        run(tree, store, "retry-failed")


def test_an_unknown_mode_is_refused(tree: Path, store: Path) -> None:
    with pytest.raises(ArgumentError, match="mode: expected one of resume, retry-failed, overwrite, got 'again'"):
        run(tree, store, "again")  # type: ignore[arg-type]  # an invalid value on purpose


def test_a_complete_sample_survives_a_later_failure(tree: Path, store: Path) -> None:
    """A new conversion of the sample fails, and the stored sample stays unchanged."""
    before = visible_files(store)
    (tree / "run_2" / PRESSURE).write_bytes(b"broken")
    assert ids(run(tree, store), "failed") == ["run_2"]
    assert visible_files(store) == before
    assert json.loads((store / "conversion.json").read_bytes())["samples"]["run_2"]["outcome"] == "failed"
