"""The origin of a store: a setting that all samples share. Readers that do not know it refuse the store."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether.data.schemas import FileMap, Scalar, Vector, extended_filemap
from noether.data.zarr_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.convert import convert, open_writer
from noether.data.zarr_store.errors import (
    ArgumentError,
    ManifestConflictError,
    ManifestError,
    NonFiniteError,
    ValueOverflowError,
)
from noether.data.zarr_store.manifest import split_store
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.upkeep import copy_store, merge_groups, remove_samples, set_attributes
from noether.data.zarr_store.upkeep.repair import repair_store
from noether.data.zarr_store.upkeep.verify import verify_store
from support.damage import flip
from support.far_points import FAR_FILEMAP, ORIGIN, far_points, far_sample, save_far_tree
from support.trees import call, visible_files


def write(root: Path, *sample_ids: str, **settings: Any) -> Path:
    writer = ZarrStoreWriter(root, FAR_FILEMAP, "far", **settings)
    for seed, sample_id in enumerate(sample_ids):
        writer.write_sample(sample_id, far_sample(seed=seed))
    writer.save_manifest()
    return root


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write(tmp_path / "store", "run_1", origin=ORIGIN)


def positions(root: Path, sample_id: str = "run_1") -> Any:
    """Positions in float64, in the order of the source."""
    reader = ZarrChunkReader(root)
    read = reader.read_arrays(sample_id, order="original", fields=["volume_position"])["volume_position"]
    return read.astype(np.float64) + (reader.origin or (0, 0, 0))


def test_a_store_with_an_origin_keeps_positions_far_away(store: Path) -> None:
    """float32 has steps of 0.5 at this distance."""
    assert ZarrChunkReader(store).origin == ORIGIN
    np.testing.assert_allclose(positions(store), far_points(), rtol=0, atol=5e-6)
    without = write(store.with_name("without"), "run_1", coords_dtype="float64")
    assert ZarrChunkReader(without).origin is None
    np.testing.assert_array_equal(ZarrChunkReader(without).read_coords("run_1", "volume", 1).shape, (1, 3))


def test_readers_of_version_1_refuse_a_store_with_an_origin(store: Path) -> None:
    """Without an origin, a store has version 1, and no manifest of it has the key ``origin``."""
    with_origin = json.loads((store / "manifest.json").read_text())
    assert (with_origin["format_version"], with_origin["origin"]) == (2, list(ORIGIN))
    without = json.loads((write(store.with_name("no"), "run_1", coords_dtype="float64") / "manifest.json").read_text())
    assert without["format_version"] == 1
    assert with_origin.keys() - without.keys() == {"origin"}
    group = json.loads((store.with_name("no") / "run_1.zarr/zarr.json").read_text())["attributes"]["manifest"]
    assert "origin" not in group
    assert group["format_version"] == 1


@pytest.mark.parametrize("origin", [(0, 0, 0), (-0.0, 0.0, 0), None])
def test_zero_origin_is_no_origin(tmp_path: Path, origin: Any) -> None:
    writer = ZarrStoreWriter(tmp_path, FAR_FILEMAP, "far", origin=origin)
    assert writer.settings.origin is None
    assert writer.manifest.format_version == 1


@pytest.mark.parametrize(
    "origin",
    [(1, 2), 5.0, (1, 2, 3, 4), (1, 2, float("nan")), (1, float("inf"), 0), ("a", 0, 0), "1,2,3", [[1, 2, 3]], {}],
    ids=str,
)
def test_an_origin_is_three_finite_numbers(tmp_path: Path, origin: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^origin: expected three finite numbers such as \(482000, 5480000, 0\)"):
        ZarrStoreWriter(tmp_path, FAR_FILEMAP, "far", origin=origin)


@pytest.mark.parametrize("origin", [np.array([1, 2, 3]), [1, 2, 3], (np.float32(1), 2, 3.0)], ids=repr)
def test_origin_can_be_an_array_or_a_list(tmp_path: Path, origin: Any) -> None:
    assert ZarrStoreWriter(tmp_path, FAR_FILEMAP, "far", origin=origin).manifest.origin == (1.0, 2.0, 3.0)


def test_two_dimensional_positions_take_no_origin(tmp_path: Path) -> None:
    """The origin has three coordinates."""
    filemap = extended_filemap({"wing_position": "a.npy"}, {"wing_position": 2})
    with pytest.raises(ArgumentError, match="origin: expected positions of 3 components, got 2 in domain 'wing'"):
        ZarrStoreWriter(tmp_path, filemap, "far", origin=(1, 2, 3))


class Wings(FileMap):
    wing_position: Vector = None
    wing_load: Scalar = None


def test_origin_is_subtracted_from_all_positions_only(tmp_path: Path) -> None:
    names = {field: field for field in ("wing_position", "wing_load", "surface_position", "surface_normals")}
    filemap = Wings(surface_position_stl="c", **names)
    rng = np.random.default_rng(0)
    sample = {name: rng.random((40, 1 if name == "wing_load" else 3)) for name in names}
    sample["surface_stl_position"] = rng.random((70, 3))
    for field in sample:
        if field.endswith("position"):
            sample[field] += ORIGIN
    writer = ZarrStoreWriter(tmp_path, filemap, "far", values_dtype="float32", origin=ORIGIN)
    writer.write_sample("run_1", sample)
    writer.save_manifest()
    read = ZarrChunkReader(tmp_path).read_arrays("run_1", order="original")
    for field, values in read.items():
        shift = ORIGIN if field.endswith("position") else 0
        expected = (sample[field] - shift).astype(np.float32)
        np.testing.assert_array_equal(values, expected[:, 0] if field == "wing_load" else expected)


def test_the_loss_of_a_cast_is_that_of_the_shifted_positions(store: Path) -> None:
    local = far_points() - ORIGIN
    loss = StoreManifest.load(str(store)).sample("run_1").fidelity["volume_position"]
    assert loss.source_dtype == "float64"
    assert loss.max_abs_error == np.abs(local.astype(np.float32) - local).max()


def test_values_are_checked_after_the_origin(tmp_path: Path) -> None:
    """1e6 fits float16 only after the origin is subtracted. A position near 0 then does not fit."""
    writer = ZarrStoreWriter(tmp_path, FAR_FILEMAP, "far", coords_dtype="float16", origin=(1e6, 0, 0))
    velocity = np.zeros((1, 3))
    writer.write_group("run_1", {"volume_position": np.array([[1e6 + 2, 3, 4]]), "volume_velocity": velocity})
    with pytest.raises(
        ValueOverflowError,
        match=r"magnitude 999998 relative to the origin \(1000000.0, 0.0, 0.0\) does not fit float16",
    ):
        writer.write_group("run_2", {"volume_position": np.array([[2.0, 3, 4]]), "volume_velocity": velocity})
    with pytest.raises(NonFiniteError, match="got 1 of 3 that are NaN"):
        writer.write_group("run_2", {"volume_position": np.array([[np.nan, 3, 4]]), "volume_velocity": velocity})


def test_a_second_run_without_the_option_takes_the_origin_of_the_store(store: Path, tmp_path: Path) -> None:
    source = TreeSource(save_far_tree(tmp_path / "tree", "run_1", "run_2"), FAR_FILEMAP)
    convert(source, open_writer(store, FAR_FILEMAP, "far"), keep_grids=True)
    np.testing.assert_allclose(positions(store, "run_2"), far_points(seed=1), rtol=0, atol=5e-6)
    at_once = write(tmp_path / "at_once", "run_1", "run_2", origin=ORIGIN)
    key = "run_2.zarr/volume/position/c/0/0"
    assert (store / key).read_bytes() == (at_once / key).read_bytes()


@pytest.mark.parametrize("origin", [None, (0.0, 0.0, 1.0)])
def test_another_origin_is_refused(store: Path, origin: Any) -> None:
    stored = re.escape(str(ORIGIN))
    message = (
        rf"\(origin: the store has {stored}, this writer {re.escape(str(origin))}\); use the settings of the store"
    )
    with pytest.raises(ManifestConflictError, match=message):
        ZarrStoreWriter(store, FAR_FILEMAP, "far", origin=origin)


@pytest.mark.filterwarnings("ignore::noether.data.zarr_store.errors.PrecisionWarning")
def test_a_group_with_another_origin_is_not_merged(store: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", "run_2", origin=(1, 2, 3))
    plain = write(tmp_path / "plain", "run_3", origin=None)
    for root, sample_id in ((other, "run_2"), (plain, "run_3")):
        shutil.copytree(root / f"{sample_id}.zarr", store / f"{sample_id}.zarr")
    report = merge_groups(store)
    assert report.refused.keys() == {"run_2.zarr", "run_3.zarr"}
    assert all("other settings (origin: the store has" in reason for reason in report.refused.values())


def test_a_lost_manifest_is_made_again_with_the_origin(store: Path) -> None:
    write_chunk_index(store)  # so does the merge
    before = (store / "manifest.json").read_bytes()
    (store / "manifest.json").unlink()
    merge_groups(store)
    assert ZarrChunkReader(store).origin == ORIGIN
    assert json.loads(before)["samples"] == json.loads((store / "manifest.json").read_text())["samples"]


def test_manifest_changes_keep_the_origin(tmp_path: Path) -> None:
    root = write(tmp_path / "store", "run_1", "run_2", "run_3", origin=ORIGIN)
    split_store(str(root), test=0.5, exact=True)
    set_attributes(root, {"run_2": {"speed": 3}})
    remove_samples(root, ["run_1"])
    assert ZarrChunkReader(root).origin == ORIGIN
    assert verify_store(root).findings == ()
    (root / "manifest.json").unlink()
    repair_store(root)
    assert ZarrChunkReader(root).origin == ORIGIN
    np.testing.assert_allclose(positions(root, "run_3"), far_points(seed=2), rtol=0, atol=5e-6)


def test_info_and_stats_show_the_origin(store: Path, tmp_path: Path) -> None:
    shown = "positions are relative to the origin (701400, 5480540, 120)"
    info, stats = call("info", store).stdout, call("stats", store).stdout
    assert f"\n{shown}; export adds it\n" in info
    assert f"\n{shown}, and so are their statistics\n" in stats
    assert json.loads(call("info", store, "--json").stdout)["origin"] == list(ORIGIN)
    without = write(tmp_path / "without", "run_1", coords_dtype="float64")
    assert "origin" not in call("info", without).stdout + call("stats", without).stdout
    assert json.loads(call("info", without, "--json").stdout)["origin"] is None


@pytest.mark.parametrize("text", ["1,2", "1,2,3,4", "a,b,c", "1 2 3", "", "1,,3"])
def test_a_wrong_option_is_refused_before_anything_is_written(tmp_path: Path, text: str) -> None:
    tree = save_far_tree(tmp_path / "tree", "run_1")
    (tmp_path / "files.json").write_text(FAR_FILEMAP.model_dump_json(exclude_none=True))
    ran = call("convert", tree, tmp_path / "store", "--filemap", tmp_path / "files.json", "--origin", text)
    assert ran.code == 2
    assert f"--origin: expected three numbers such as 482000,5480000,0, got {text!r}" in ran.stderr
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_copies_keep_the_origin(store: Path, tmp_path: Path, fraction: float) -> None:
    copy_store(str(store), str(tmp_path / "copy"), fraction=fraction)
    assert ZarrChunkReader(tmp_path / "copy").origin == ORIGIN
    np.testing.assert_array_equal(
        ZarrChunkReader(tmp_path / "copy").read_arrays("run_1")["volume_position"],
        ZarrChunkReader(store).read_arrays("run_1")["volume_position"],
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda manifest: manifest.update(format_version=1), "format_version: expected 2 with the origin"),
        (lambda manifest: manifest.pop("origin"), "format_version: expected 1 with the origin None, got 2"),
        (lambda manifest: manifest.update(origin=[1, 2]), "origin"),
        (lambda manifest: manifest.update(origin="here"), "origin"),
        (lambda manifest: manifest.update(origin=[1, 2, 1e999]), "not a valid manifest"),
    ],
    ids=["version", "none", "two", "text", "infinite"],
)
def test_malformed_origin_is_refused(store: Path, change: Callable[[Any], None], problem: str) -> None:
    content = json.loads((store / "manifest.json").read_text())
    content.pop("crc32c")
    change(content)
    (store / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(ManifestError, match=problem):
        ZarrChunkReader(store)


def test_source_is_compared_and_repaired_with_the_origin(tmp_path: Path) -> None:
    tree = save_far_tree(tmp_path / "tree", "run_1", "run_2")
    source, root = TreeSource(tree, FAR_FILEMAP), tmp_path / "store"
    convert(source, ZarrStoreWriter(root, FAR_FILEMAP, "far", chunk_points=64, origin=ORIGIN))
    assert verify_store(root, level="source", source=source).findings == ()
    sound = visible_files(root)
    flip("run_1.zarr/volume/position/c/0/0")(root)
    repair_store(root, source=source)
    assert visible_files(root) == sound
    moved = np.load(tree / "run_2" / "position.npy")
    moved[7] += 0.001
    np.save(tree / "run_2" / "position.npy", moved)
    differing = [
        one for one in verify_store(root, level="source", source=source).findings if one.kind == "source_differs"
    ]
    assert [(one.sample_id, one.field) for one in differing] == [("run_2", "volume_position")]
    assert "1 of 500 points have other values" in differing[0].explanation
