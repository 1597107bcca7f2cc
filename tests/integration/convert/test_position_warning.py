"""One warning about positions that lose digits; its advice helps."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from noether.data.schemas import extended_filemap
from noether.data.zarr_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.convert import ConversionReport, convert
from noether.data.zarr_store.errors import PrecisionWarning
from noether.data.zarr_store.sources import TreeSource
from support.far_points import FAR, FAR_FILEMAP, ORIGIN, far_points, far_sample, save_far_tree
from support.out_of_core import shrink
from support.trees import call

MAPPING = """
name = "far"
id = "run_{n}"
[domains.volume]
file = "run_{n}.npz"
[domains.volume.fields]
position = "pos"
velocity = "U"
"""


def warned(*settings: Any, **parameters: Any) -> tuple[list[str], ConversionReport]:
    """Convert, and return the messages of all warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = convert(*settings, **parameters)
    assert all(one.category is PrecisionWarning for one in caught)
    return [str(one.message) for one in caught], report


def writer_of(root: Path, **settings: Any) -> ZarrStoreWriter:
    return ZarrStoreWriter(root, FAR_FILEMAP, "far", **settings)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_one_warning_names_the_worst_of_many_samples(tmp_path: Path, workers: int) -> None:
    tree = save_far_tree(tmp_path / "tree", "run_1", "run_2")
    save_far_tree(tree, "run_3", corner=(0, 0, 0))
    save_far_tree(tree, "run_4", corner=(0, 4e7, 0))
    messages, report = warned(TreeSource(tree, FAR_FILEMAP), writer_of(tmp_path / "store"), workers=workers)
    assert len(messages) == 1
    assert report.precision_warning == messages[0]
    assert (
        "positions lose too many digits as float32 (3 samples, the worst is 'run_4'): the 500 points of" in messages[0]
    )
    y = np.load(tree / "run_4" / "position.npy")[:, 1]
    assert f"{len(np.unique(y.astype(np.float32)))} y values, 4 apart (500 in the source)" in messages[0]
    # One origin does not help samples this far apart.
    assert "--origin" not in messages[0]
    assert 'coords_dtype="float64" (--coords-dtype float64)' in messages[0]


def test_an_origin_is_advised_only_if_it_helps_all_samples(tmp_path: Path) -> None:
    """Two sites are 3,000 km apart; with an origin in the middle, steps of float32 are still 0.125."""
    tree = save_far_tree(tmp_path / "tree", "run_1", corner=(0, 4e7, 0))
    save_far_tree(tree, "run_2", corner=(0, 4.3e7, 0))
    messages, _ = warned(TreeSource(tree, FAR_FILEMAP), writer_of(tmp_path / "store"))
    assert "convert into a new store with coords_dtype" in messages[0]


def test_the_share_of_coinciding_points_is_named(tmp_path: Path) -> None:
    points = far_points(400)
    points[200:] = np.add(points[:200], (1e-3, 1e-3, 0))
    stored = points.astype(np.float32)
    together = sum((stored == one).all(axis=1).sum() > 1 for one in stored)
    with pytest.warns(
        PrecisionWarning, match=rf"{together} of them \({together / 400:.0%}\) fall together with points"
    ):
        writer_of(tmp_path).write_group("run_1", {"volume_position": points, "volume_velocity": points * 0})


@pytest.mark.filterwarnings("default::noether.data.zarr_store.errors.PrecisionWarning")
@pytest.mark.parametrize("way", ["origin", "dtype"])
def test_the_advice_of_the_warning_helps(tmp_path: Path, way: str) -> None:
    tree = save_far_tree(tmp_path / "tree", "run_1", "run_2")
    for number in (1, 2):
        run = tree / f"run_{number}"
        np.savez(tree / f"run_{number}.npz", pos=np.load(run / "position.npy"), U=np.load(run / "velocity.npy"))
    (tmp_path / "m.toml").write_text(MAPPING)
    arguments = ("convert", tree, tmp_path / "store", "--mapping", tmp_path / "m.toml", "--workers", 0)
    ran = call(*arguments)
    assert ran.code == 0
    [line] = [line for line in ran.stderr.splitlines() if line.startswith("warning: ")]
    option = {"origin": "--origin", "dtype": "--coords-dtype"}[way]
    advice = re.search(rf"{option} ([^ )]+)", line)
    assert advice is not None
    again = call(*arguments[:2], tmp_path / "again", *arguments[3:], option, advice[1])
    assert (again.code, "warning: " in again.output) == (0, False), again.output
    read = ZarrChunkReader(tmp_path / "again").read_arrays("run_1", order="original", dtype="float64")
    found = read["volume_position"] + (ZarrChunkReader(tmp_path / "again").origin or (0, 0, 0))
    np.testing.assert_allclose(found, far_points(), rtol=0, atol=1e-5)


def test_an_advised_origin_is_short_and_near_the_points(tmp_path: Path) -> None:
    with pytest.warns(PrecisionWarning) as caught:
        writer_of(tmp_path).write_group("run_1", far_sample())
    advice = re.search(r"origin=\(([^)]*)\) \(--origin ([^)]*)\)", str(caught[0].message))
    assert advice is not None
    assert advice[1].replace(" ", "") == advice[2]
    origin = [float(one) for one in advice[2].split(",")]
    assert origin == [701400, 5480500, 100]


def test_a_writer_warns_once(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    with pytest.warns(PrecisionWarning, match="does not warn about other samples"):
        writer.write_sample("run_1", far_sample())
    writer.write_sample("run_2", far_sample(seed=1))
    losses: list[Any] = []
    writer_of(tmp_path).write_group("run_3", far_sample(seed=2), on_position_loss=losses.append)
    assert [(loss.sample_id, loss.field) for loss in losses] == [("run_3", "volume_position")]


@pytest.mark.parametrize("settings", [{"origin": ORIGIN}, {"coords_dtype": "float64"}], ids=["origin", "float64"])
def test_no_warning_if_digits_are_kept(tmp_path: Path, settings: dict[str, Any]) -> None:
    source = TreeSource(save_far_tree(tmp_path / "tree", "run_1"), FAR_FILEMAP)
    assert warned(source, writer_of(tmp_path / "store", **settings))[0] == []


def test_coarse_source_positions_cause_no_warning(tmp_path: Path) -> None:
    sample = far_sample()
    sample["volume_position"] = sample["volume_position"].astype(np.float32)
    writer = writer_of(tmp_path)
    writer.write_group("run_1", sample)
    writer.write_group("run_2", sample | {"volume_position": sample["volume_position"].astype(np.float64)})


def test_large_velocities_cause_no_warning(tmp_path: Path) -> None:
    sample = far_sample(corner=(0, 0, 0))
    writer_of(tmp_path, values_dtype="float32").write_group("run_1", sample | {"volume_velocity": far_points()})


def test_a_field_with_a_dtype_of_its_own_is_advised_by_name(tmp_path: Path) -> None:
    writer = writer_of(tmp_path, coords_dtype="float64", field_dtypes={"volume_position": "float32"})
    with pytest.warns(PrecisionWarning, match=r"field_dtypes=\{'volume_position': 'float64'\} \(--field-dtype volume_"):
        writer.write_group("run_1", far_sample())


def test_float32_is_advised_for_float16(tmp_path: Path) -> None:
    points = np.random.default_rng(0).random((500, 3)) * 0.01 + 1
    with pytest.warns(PrecisionWarning, match=r'as float16.*coords_dtype="float32" \(--coords-dtype float32\)'):
        writer_of(tmp_path, coords_dtype="float16").write_group(
            "run_1", {"volume_position": points, "volume_velocity": points}
        )


def test_data_larger_than_memory_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, 1 << 10)
    losses: list[Any] = []
    writer = writer_of(tmp_path / "store")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for field, values in far_sample().items():
            file[field] = values
        writer.write_group("run_1", {field: file[field] for field in file}, on_position_loss=losses.append)
    writer.write_group("run_1", far_sample(), on_position_loss=losses.append)
    assert losses[0] == losses[1]
    assert losses[0].axes[1].stored_values < 120
    assert losses[0].axes[1].low == pytest.approx(FAR[1], abs=1)


def test_positions_of_two_components_are_checked(tmp_path: Path) -> None:
    filemap = extended_filemap({"wing_position": "a.npy"}, {"wing_position": 2})
    with pytest.warns(PrecisionWarning, match="y values, 0.5 apart") as caught:
        ZarrStoreWriter(tmp_path, filemap, "far").write_group("run_1", {"wing_position": far_points()[:, :2]})
    assert "--origin" not in str(caught[0].message)


@pytest.mark.parametrize(
    ("dtype", "note"),
    [
        ("float64", "more digits than float32 has; read it with dtype={'volume_position': 'float64'}"),
        (
            "float32",
            "more digits than float32 has; convert to a new store with --origin X,Y,Z or --coords-dtype float64",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::noether.data.zarr_store.errors.PrecisionWarning")
def test_the_manifest_and_info_name_positions_that_need_more(tmp_path: Path, dtype: str, note: str) -> None:
    """Manifest lines of other samples do not have the key, so older manifests stay the same."""
    writer = writer_of(tmp_path, coords_dtype=dtype)
    writer.write_sample("far", far_sample())
    writer.write_sample("near", far_sample(corner=(0, 0, 0)))
    writer.save_manifest()
    text = (tmp_path / "manifest.json").read_text()
    assert text.count("needs_float64") == 1
    samples = StoreManifest.load(str(tmp_path)).samples
    assert samples["far"].fidelity["volume_position"].needs_float64
    assert not samples["near"].fidelity["volume_position"].needs_float64
    assert f"note: volume_position of 1 sample needs {note}" in call("info", tmp_path).stdout
    assert "note:" not in call("info", tmp_path, "near").stdout
    found = writer.find_group("far")
    assert found is not None
    assert found.fidelity["volume_position"].needs_float64
