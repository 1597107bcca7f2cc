"""Comparison of a store with its source: every position and value, in the original order."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether.data.schemas import FileMap
from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.errors import ArgumentError, MissingDependencyError, OriginalOrderError, SourceError
from noether.data.zarr_store.sources import SourceSample, TreeSource
from noether.data.zarr_store.upkeep.copying import copy_store
from noether.data.zarr_store.upkeep.verify import verify_store
from support.damage import ARRAY, FIELD, IDS, convert_tree, flip, found, remove
from support.trees import N_POINTS, TREE_FILEMAP

Arrays = dict[str, Any]
# In this file all damage is of this sample's group.
GROUP = "run_2.zarr"


class HeldSource:
    """Holds samples in memory, or raises specified errors."""

    def __init__(self, filemap: FileMap, samples: Mapping[str, SourceSample | Exception]) -> None:
        self.filemap = filemap
        self.notices: list[str] = []
        self.samples = dict(samples)

    def sample_ids(self) -> list[str]:
        return list(self.samples)

    def load(self, sample_id: str) -> SourceSample:
        sample = self.samples[sample_id]
        if isinstance(sample, Exception):
            raise sample
        return sample


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TreeSource]:
    return convert_tree(tmp_path_factory.mktemp("source"))


@pytest.fixture
def root(converted: tuple[Path, TreeSource], tmp_path: Path) -> Path:
    return Path(shutil.copytree(converted[0], tmp_path / "store"))


@pytest.fixture
def source(converted: tuple[Path, TreeSource]) -> HeldSource:
    """The source of the store, which tests change."""
    tree = converted[1]
    return HeldSource(tree.filemap, {sample_id: tree.load(sample_id) for sample_id in IDS})


def fields_of(source: HeldSource) -> Arrays:
    sample = source.samples["run_2"]
    assert isinstance(sample, SourceSample)
    return sample.fields


def change_fields(source: HeldSource, **fields: Any) -> None:
    source.samples["run_2"] = SourceSample(fields_of(source) | fields, {"design_parameters": [1.0]})


def test_a_store_matches_its_source(converted: tuple[Path, TreeSource]) -> None:
    root, source = converted
    report = verify_store(root, level="source", source=source)
    assert (report.findings, report.limits) == ((), ())
    assert report.n_bytes == verify_store(root).n_bytes


@pytest.mark.parametrize("row", [0, 77, N_POINTS - 1])
@pytest.mark.parametrize("field", ["volume_position", FIELD])
def test_one_value_that_differs_is_found_with_its_field(root: Path, source: HeldSource, field: str, row: int) -> None:
    values = fields_of(source)[field].copy()
    values[row, 1] += 0.5
    fields_of(source)[field] = values
    [finding] = verify_store(root, level="source", source=source).having("damage")
    assert (finding.kind, finding.sample_id, finding.field) == ("source_differs", "run_2", field)
    assert finding.explanation.startswith(f"1 of {N_POINTS} points have other values than the source")


def test_a_difference_below_the_stored_precision_is_ignored(root: Path, source: HeldSource) -> None:
    fields_of(source)[FIELD] = fields_of(source)[FIELD] * np.float32(1 + 2**-20)
    assert verify_store(root, level="source", source=source).is_sound


def test_another_order_of_the_same_points_is_found(root: Path, source: HeldSource) -> None:
    fields_of(source)[FIELD] = fields_of(source)[FIELD][::-1]
    [finding] = verify_store(root, level="source", source=source).having("damage")
    assert finding.field == FIELD


def test_a_wrong_shuffle_seed_is_found(tmp_path: Path, source: HeldSource) -> None:
    # Every byte is intact, and the manifest and the groups agree.
    for name, seed in (("store", 1), ("other", 2)):
        writer = ZarrStoreWriter(tmp_path / name, source.filemap, "ahmed", shuffle_seed=seed)
        writer.write_sample("run_2", fields_of(source))
        writer.save_manifest()
    for shard in (tmp_path / "other").glob("**/c/*/0"):
        shutil.copyfile(shard, tmp_path / "store" / shard.relative_to(tmp_path / "other"))
    assert verify_store(tmp_path / "store").is_sound
    report = verify_store(tmp_path / "store", level="source", source=source)
    assert {one.kind for one in report.having("damage")} == {"source_differs"}
    assert len(report.having("damage")) == len(fields_of(source)) + 1  # and the attributes


def test_all_nan_values_are_equal(tmp_path: Path, source: HeldSource) -> None:
    """A NaN differs from every number."""
    pressure = np.linspace(0, 1, 100, dtype="f4")
    pressure[3] = np.nan
    fields = {"volume_position": np.zeros((100, 3), "f4"), "volume_pressure": pressure}
    filemap = FileMap(volume_position="x", volume_pressure="p")
    writer = ZarrStoreWriter(tmp_path, filemap, "holes", non_finite="allow", values_dtype="float32")
    writer.write_sample("run_1", fields)
    writer.save_manifest()
    payload = pressure.copy()
    payload.view("u4")[3] ^= 1
    payload[[0, 5]] = -0.0, np.nan
    held = HeldSource(filemap, {"run_1": SourceSample(fields | {"volume_pressure": payload})})
    [finding] = verify_store(tmp_path, level="source", source=held).findings
    # The sign of zero counts as a difference, and so does a number that became NaN.
    assert finding.explanation.startswith("2 of 100 points")


def test_fields_outside_memory_are_compared(root: Path, source: HeldSource, tmp_path: Path) -> None:
    values = np.ascontiguousarray(fields_of(source)[FIELD])
    values.tofile(tmp_path / "velocity")
    mapped = np.memmap(tmp_path / "velocity", values.dtype, "r", shape=values.shape)
    fields_of(source)[FIELD] = mapped
    assert verify_store(root, level="source", source=source).is_sound
    values[5] += 1
    values.tofile(tmp_path / "velocity")
    assert found(verify_store(root, level="source", source=source)) == {("source_differs", "run_2", ARRAY)}


SHORT_SURFACE = {
    field: np.zeros((9, width), "f4")
    for field, width in {"position": 3, "pressure": 1, "friction": 3, "normals": 3, "area": 1}.items()
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {f"surface_{name}": values for name, values in SHORT_SURFACE.items()},
            "domain 'surface' has 150 points in the store, and 9",
            id="points",
        ),
        pytest.param(
            {FIELD: np.full((150, 3), 1e9)}, "the largest magnitude 1e+09 does not fit float16", id="overflow"
        ),
    ],
)
def test_other_differences_are_named(root: Path, source: HeldSource, change: Arrays, message: str) -> None:
    change_fields(source, **change)
    findings = verify_store(root, level="source", source=source).having("damage")
    assert {one.kind for one in findings} == {"source_differs"}
    assert any(message in one.explanation for one in findings)


def test_a_different_attribute_is_found(root: Path, source: HeldSource) -> None:
    """An attribute that the source lacks was set after the conversion, and is not a difference."""
    source.samples["run_2"] = SourceSample(fields_of(source), {})
    assert verify_store(root, level="source", source=source).is_sound
    source.samples["run_2"] = SourceSample(fields_of(source), {"design_parameters": 7})
    [finding] = verify_store(root, level="source", source=source).having("damage")
    assert (finding.kind, finding.explanation) == (
        "source_differs",
        "the attributes of the sample differ from the source",
    )


def test_a_domain_that_the_source_lacks_is_named(root: Path, source: HeldSource) -> None:
    kept = {field: values for field, values in fields_of(source).items() if field.startswith("volume")}
    source.samples["run_2"] = SourceSample(kept, dict(StoreManifest.load(str(root)).sample("run_2").attributes))
    [finding] = verify_store(root, level="source", source=source).having("damage")
    assert finding.explanation == "the sample has the domain 'surface', but the source does not"


def test_damage_and_differences_are_both_found(root: Path, source: HeldSource) -> None:
    fields_of(source)["volume_sdf"] = fields_of(source)["volume_sdf"] + 1
    flip(f"{ARRAY}/c/0/0", 20)(root)
    assert found(verify_store(root, level="source", source=source)) == {
        ("chunk_damaged", "run_2", f"{ARRAY}/c/0/0"),
        ("source_differs", "run_2", f"{GROUP}/volume/sdf"),
    }


@pytest.mark.parametrize(
    ("error", "message"),
    [
        pytest.param(SourceError("sample 'run_2': p.npy is broken"), "sample 'run_2': p.npy is broken", id="ours"),
        pytest.param(ZeroDivisionError("no cells"), "ZeroDivisionError: no cells", id="of another library"),
    ],
)
def test_a_sample_with_a_broken_source_is_only_read(
    root: Path, source: HeldSource, error: Exception, message: str
) -> None:
    source.samples["run_2"] = error
    flip(f"{ARRAY}/c/0/0", 20)(root)
    report = verify_store(root, level="source", source=source)
    [unchecked] = report.having("unchecked")
    assert (unchecked.kind, unchecked.sample_id) == ("not_compared", "run_2")
    assert unchecked.explanation == f"the source cannot be read: {message}"
    assert found(report) == {("chunk_damaged", "run_2", f"{ARRAY}/c/0/0")}


def test_samples_that_only_one_side_has_are_named(root: Path, source: HeldSource) -> None:
    source.samples["run_7"] = source.samples.pop("run_2")
    report = verify_store(root, level="source", source=source)
    assert {(one.kind, one.severity, one.sample_id) for one in report.findings} == {
        ("not_compared", "unchecked", "run_2"),
        ("not_converted", "note", None),
    }
    assert report.is_sound


def test_a_missing_library_ends_the_verification(root: Path, source: HeldSource) -> None:
    source.samples["run_2"] = MissingDependencyError("h5py", "reading .h5 files", "hdf5")
    with pytest.raises(MissingDependencyError, match="pip install"):
        verify_store(root, level="source", source=source)


def test_a_changed_source_is_noted(tmp_path: Path) -> None:
    root, source = convert_tree(tmp_path)
    file = tmp_path / "tree" / "run_2" / f"{TREE_FILEMAP.volume_pressure}"
    os.utime(file, ns=(0, 0))
    report = verify_store(root, level="source", source=TreeSource(source.root, source.filemap))
    [note] = report.findings
    assert (note.kind, note.severity, note.sample_id) == ("source_changed", "note", "run_2")


def test_samples_that_cannot_be_opened_are_not_compared(root: Path, source: HeldSource) -> None:
    remove(GROUP)(root)
    assert found(verify_store(root, level="source", source=source)) == {("missing_group", "run_2", GROUP)}


def test_a_store_of_unknown_order_is_not_compared(
    converted: tuple[Path, TreeSource], source: HeldSource, tmp_path: Path
) -> None:
    copy_store(str(converted[0]), str(tmp_path / "part"), fraction=0.5)
    assert verify_store(tmp_path / "part").findings == ()
    with pytest.raises(OriginalOrderError, match=r"has a fraction of 0\.5 of the points of .* use the level 'data'"):
        verify_store(tmp_path / "part", level="source", source=source)


def test_a_source_needs_the_level_source(root: Path, source: HeldSource) -> None:
    with pytest.raises(
        ArgumentError, match="source: expected a source with the level 'source', and none with other levels"
    ):
        verify_store(root, source=source)
    assert StoreManifest.load(str(root)).shuffle_algorithm == "hash-v1"
