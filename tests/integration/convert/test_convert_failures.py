"""Conversions in which some samples fail: the others are converted, and each failure has a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.convert import SampleResult, convert
from noether.data.zarr_store.errors import MissingDependencyError
from noether.data.zarr_store.sources import TreeSource
from support.bad_sources import RaisingSource
from support.lanes import few_fast
from support.trees import TREE_FILEMAP, identities, save_array, save_runs

IDS = ["run_1", "run_2", "run_3", "run_4", "run_5"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return save_runs(tmp_path / "tree", IDS)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def open_writer(root: Path, **settings: Any) -> ZarrStoreWriter:
    return ZarrStoreWriter(root, TREE_FILEMAP, "ahmed", chunk_points=64, **settings)


def recorded(store: Path) -> list[str]:
    return list(StoreManifest.load(str(store)).samples)


def groups(store: Path) -> list[str]:
    return sorted(path.parent.stem for path in store.glob("*.zarr/zarr.json"))


@pytest.mark.parametrize("workers", few_fast([0, 2]))
def test_broken_samples_fail_with_their_reasons_and_the_rest_is_converted(
    tree: Path, store: Path, workers: int
) -> None:
    (tree / "run_1" / "surface_pressure.npy").unlink()
    save_array(tree / "run_2" / "volume_cell_velocity.npy", np.ones((7, 3)))
    save_array(tree / "run_3" / "surface_pressure.npy", np.full(150, 1e6))
    (tree / "run_5" / "volume_cell_sdf.npy").write_bytes(b"")
    report = convert(TreeSource(tree, TREE_FILEMAP), open_writer(store), workers=workers)
    reasons = {result.sample_id: result.reason for result in report.having("failed")}
    assert list(reasons) == ["run_1", "run_2", "run_3", "run_5"]
    assert "sample 'run_1': domain 'surface' lacks the file surface_pressure.npy" in reasons["run_1"]
    assert "sample 'run_2': the fields of domain 'volume' have different numbers of points" in reasons["run_2"]
    assert "sample 'run_3', field surface_pressure: the largest magnitude 1e+06 does not fit" in reasons["run_3"]
    assert "--field-dtype surface_pressure=float32" in reasons["run_3"]
    assert "sample 'run_5', field volume_sdf: run_5/volume_cell_sdf.npy cannot be read" in reasons["run_5"]
    assert all("Traceback" in result.trace for result in report.having("failed"))
    assert recorded(store) == groups(store) == ["run_4"]


@pytest.mark.slow
def test_a_corrected_sample_is_converted_the_next_time(tree: Path, store: Path) -> None:
    kept = (tree / "run_2" / "surface_pressure.npy").read_bytes()
    (tree / "run_2" / "surface_pressure.npy").unlink()
    convert(TreeSource(tree, TREE_FILEMAP), open_writer(store))
    (tree / "run_2" / "surface_pressure.npy").write_bytes(kept)
    report = convert(TreeSource(tree, TREE_FILEMAP), open_writer(store))
    assert [result.sample_id for result in report.having("converted")] == ["run_2"]
    assert recorded(store) == IDS


@pytest.mark.parametrize(
    "error",
    few_fast([KeyError("pMean"), OSError(5, "I/O"), RuntimeError("solver"), AssertionError(), MemoryError("2 GiB")], 2),
    ids=lambda error: type(error).__name__,
)
def test_any_exception_of_a_source_is_reported_with_its_sample_and_type(
    tree: Path, store: Path, error: Exception
) -> None:
    source = RaisingSource(tree, TREE_FILEMAP, {"run_2": error})
    report = convert(source, open_writer(store))
    assert [(result.sample_id, result.reason) for result in report.having("failed")] == [
        ("run_2", f"sample 'run_2': {type(error).__name__}: {error}")
    ]
    assert recorded(store) == ["run_1", "run_3", "run_4", "run_5"]


@pytest.mark.parametrize("workers", few_fast([0, 2]))
def test_a_missing_library_is_raised_at_once(tree: Path, store: Path, workers: int) -> None:
    """No sample can be converted without the library."""
    missing = MissingDependencyError("h5py", "reading .h5 files", "hdf5")
    source = RaisingSource(tree, TREE_FILEMAP, dict.fromkeys(IDS[1:], missing))
    with pytest.raises(MissingDependencyError, match=r"needs h5py.*pip install 'noether-zarr-store\[hdf5\]'"):
        convert(source, open_writer(store), workers=workers)
    assert recorded(store) == ["run_1"]


def test_an_interruption_records_all_complete_samples(tree: Path, store: Path) -> None:
    def interrupt(result: SampleResult) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(TreeSource(tree, TREE_FILEMAP), open_writer(store), on_result=interrupt)
    assert recorded(store) == groups(store) == ["run_1"]
    before = identities(store, "*.zarr/**/*")
    report = convert(TreeSource(tree, TREE_FILEMAP), open_writer(store))
    assert [result.sample_id for result in report.having("skipped")] == ["run_1"]
    assert before.items() <= identities(store, "*.zarr/**/*").items()
    assert recorded(store) == IDS


def test_groups_with_other_settings_are_not_adopted(tree: Path, store: Path) -> None:
    convert(TreeSource(tree, TREE_FILEMAP), open_writer(store), limit=1)
    (store / "manifest.json").unlink()
    report = convert(TreeSource(tree, TREE_FILEMAP), open_writer(store, shuffle_seed=7))
    [failed] = report.having("failed")
    assert failed.sample_id == "run_1"
    assert "shuffle_seed: the store has 0, this writer 7" in failed.reason
    assert recorded(store) == IDS[1:]
