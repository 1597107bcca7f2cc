"""Stores that mix samples of mesh cells with samples of mesh points."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import pyvista

from noether.data.zarr_store.convert import ConversionReport, convert, looking, open_writer, plan_conversion
from noether.data.zarr_store.convert.mixtures import mixed_associations
from noether.data.zarr_store.errors import MixedSamplesWarning
from noether.data.zarr_store.sources import MappedSource, SourceMapping
from support.meshes import surface_mapping
from support.trees import call

Association = Literal["cell", "point"]
MIXED = (
    "domain surface: expected one kind of points in a store, got the cells of the mesh in 2 samples, such as 'bus', "
    "and the points of the mesh in 'van'"
)


def save_body(path: Path, *associations: Association) -> None:
    mesh = pyvista.Sphere(theta_resolution=6, phi_resolution=6)
    for association in associations:
        data = mesh.cell_data if association == "cell" else mesh.point_data
        data["p"] = np.arange(mesh.n_cells if association == "cell" else mesh.n_points, dtype=np.float32)
    mesh.save(path)


def save_bodies(root: Path) -> Path:
    root.mkdir()
    for name, association in (("bus", "cell"), ("car", "cell"), ("van", "point")):
        save_body(root / f"{name}.vtp", association)  # type: ignore[arg-type]  # inferred as str
    return root


def mapping_of(association: str = "") -> SourceMapping:
    head = f'association = "{association}"' if association else ""
    return surface_mapping(file="{case}.vtp", domain=head)


def run(root: Path, store: Path, association: str = "", *, warns: bool) -> ConversionReport:
    source = MappedSource(root, mapping_of(association))
    with pytest.warns(MixedSamplesWarning) if warns else nullcontext():
        return convert(source, open_writer(store, source.filemap, "s"))


def test_a_store_of_cells_and_points_causes_a_warning(tmp_path: Path) -> None:
    report = run(save_bodies(tmp_path / "in"), tmp_path / "store", warns=True)
    [warning] = report.warnings
    assert warning.startswith(MIXED)
    assert "association = 'cell' or 'point' in the mapping" in warning
    assert "each kind into its own store" in warning


@pytest.mark.filterwarnings("default:domain surface:noether.data.zarr_store.errors.MixedSamplesWarning")
def test_the_command_prints_the_warning(tmp_path: Path) -> None:
    save_bodies(tmp_path / "in")
    (tmp_path / "m.toml").write_text(
        'name = "s"\nid = "{case}"\n[domains.surface]\nfile = "{case}.vtp"\n[domains.surface.fields]\npressure = "p"\n'
    )
    ran = call("convert", tmp_path / "in", tmp_path / "store", "--mapping", tmp_path / "m.toml", "--workers", 0)
    assert ran.code == 0, ran.output
    assert f"warning: {MIXED}" in ran.stderr


@pytest.mark.usefixtures("described_in_threads")
def test_a_plan_warns_before_anything_is_converted(tmp_path: Path) -> None:
    source = MappedSource(save_bodies(tmp_path / "in"), mapping_of())
    writer = open_writer(tmp_path / "store", source.filemap, "s")
    [warning] = plan_conversion(source, writer, source.sample_ids()).warnings
    assert warning.startswith(MIXED)
    assert plan_conversion(source, writer, ["bus", "car"]).warnings == []


@pytest.mark.usefixtures("described_in_threads")
def test_a_plan_counts_the_stored_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples of former conversions that stay count, too."""
    root, store = save_bodies(tmp_path / "in"), tmp_path / "store"
    (root / "van.vtp").rename(tmp_path / "van.vtp")
    run(root, store, warns=False)
    (tmp_path / "van.vtp").rename(root / "van.vtp")
    source = MappedSource(root, mapping_of())
    writer = open_writer(store, source.filemap, "s")
    [warning] = plan_conversion(source, writer, ["van"]).warnings
    assert warning.startswith(MIXED)
    for name in ("bus", "car"):
        save_body(root / f"{name}.vtp", "point")
    source = MappedSource(root, mapping_of())
    assert plan_conversion(source, writer, source.sample_ids()).warnings == []
    with monkeypatch.context() as patched:
        patched.setattr(looking, "_MAX_DESCRIBED", 1)
        plan = plan_conversion(source, writer, source.sample_ids())
    assert (plan.n_described, plan.warnings) == (1, []), "the car and the van are changed, and not looked at"
    (root / "car.vtp").write_bytes(b"broken")
    source = MappedSource(root, mapping_of())
    plan = plan_conversion(source, writer, source.sample_ids())
    [warning] = plan.warnings
    assert warning.startswith(
        "domain surface: expected one kind of points in a store, got the cells of the mesh in 'car', and the points of "
        "the mesh in"
    )
    assert list(plan.failures) == ["car"]


def test_stored_samples_count_until_they_are_removed(tmp_path: Path) -> None:
    root, store = save_bodies(tmp_path / "in"), tmp_path / "store"
    (root / "van.vtp").rename(tmp_path / "van.vtp")
    assert run(root, store, warns=False).warnings == []
    (tmp_path / "van.vtp").rename(root / "van.vtp")
    assert len(run(root, store, warns=True).warnings) == 1
    failing = run(root, store, "cell", warns=True)
    assert [result.sample_id for result in failing.having("failed")] == ["van"]
    assert len(failing.warnings) == 1, "the store still has the points of the van"
    ran = call("remove", store, "--sample", "van")
    assert ran.code == 0, ran.output
    assert run(root, store, "cell", warns=False).warnings == []


@pytest.mark.parametrize("association", ["cell", "point"])
def test_one_kind_causes_no_warning(tmp_path: Path, association: Association) -> None:
    (tmp_path / "in").mkdir()
    for name in ("bus", "van"):
        save_body(tmp_path / "in" / f"{name}.vtp", association)
    assert run(tmp_path / "in", tmp_path / "store", warns=False).warnings == []


def test_each_domain_is_compared_separately() -> None:
    samples: dict[str, dict[str, Association]] = {
        "a": {"surface": "point", "volume": "cell"},
        "b": {"surface": "point", "volume": "cell"},
        "c": {},
    }
    assert mixed_associations(samples) == []
    samples["c"] = {"volume": "point"}
    [warning] = mixed_associations(samples)
    assert warning.startswith(
        "domain volume: expected one kind of points in a store, got the cells of the mesh in 2 samples, such as "
        "'a', and"
    )
