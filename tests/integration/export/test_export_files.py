"""Files of exports: they appear complete, and do not replace other files; and arrays without a mesh."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether.data.zarr_store import FileMap, ZarrChunkReader
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.export import export_sample
from support.ahmed import load_run
from support.export_meshes import BODY_MESH, CELLS_MESH, assert_same_bits, case_parts, load_cells
from support.reading import as_stored, write_samples
from support.trees import visible_files

TARGETS = [("out.vtu", CELLS_MESH), ("out.vtp", BODY_MESH), ("out.case", CELLS_MESH), ("out.npz", None)]
IDS = ["vtu", "vtp", "case", "npz"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The body of run_1 as surface, 500 of its cells as volume."""
    surface = {field: values for field, values in load_run("run_1").items() if field.startswith("surface_")}
    return write_samples(tmp_path_factory.mktemp("files") / "store", {"run_1": surface | load_cells()})


def test_npz_has_every_field_of_every_domain_in_the_order_of_the_source(store: Path, tmp_path: Path) -> None:
    done = export_sample(store, "run_1", tmp_path / "out.npz")
    source = {f: v for f, v in load_run("run_1").items() if f.startswith("surface_")} | load_cells()
    with np.load(done.path) as archive:
        assert set(archive.files) == set(done.arrays) == set(source)
        for field, values in source.items():
            assert_same_bits(archive[field], values if field.endswith("position") else as_stored(values))


def test_npz_has_only_the_named_fields(store: Path, tmp_path: Path) -> None:
    export_sample(store, "run_1", tmp_path / "fields.npz", fields=["volume_sdf", "surface_area"])
    export_sample(store, "run_1", tmp_path / "domain.npz", domain="surface")
    with np.load(tmp_path / "fields.npz") as some, np.load(tmp_path / "domain.npz") as surface:
        assert set(some.files) == {"volume_sdf", "surface_area"}
        assert {field.partition("_")[0] for field in surface.files} == {"surface"}


def test_npz_has_predictions_of_several_domains(store: Path, tmp_path: Path) -> None:
    """Each prediction is written in the source order of its own domain."""
    stored = ZarrChunkReader(store).read_arrays("run_1")
    # An array may also have the name of a parameter of NumPy.
    predictions = {"file": stored["surface_friction"], "sdf": stored["volume_sdf"].astype(np.float16)}
    export_sample(store, "run_1", tmp_path / "out.npz", predictions=predictions)
    with np.load(tmp_path / "out.npz") as archive:
        assert_same_bits(archive["file"], as_stored(load_run("run_1")["surface_friction"]))
        assert_same_bits(archive["sdf"], as_stored(load_cells()["volume_sdf"]))


def test_an_ambiguous_prediction_needs_a_domain(tmp_path: Path) -> None:
    """Two domains have the number of rows of the prediction."""
    filemap = FileMap(surface_position="a.npy", volume_position="b.npy")
    position = load_cells()["volume_position"]
    fields = {"surface_position": position, "volume_position": position}
    root = write_samples(tmp_path / "store", {"run_1": fields}, filemap)
    stored = ZarrChunkReader(root).read_arrays("run_1")["surface_position"]
    parameters: dict[str, Any] = {"predictions": {"x": stored}}
    with pytest.raises(
        ArgumentError,
        match=r"prediction 'x': .* got 500 rows, but surface and volume of sample 'run_1' have 500 points",
    ):
        export_sample(root, "run_1", tmp_path / "out.npz", **parameters)
    export_sample(root, "run_1", tmp_path / "out.npz", domain="surface", **parameters)
    with np.load(tmp_path / "out.npz") as archive:
        assert_same_bits(archive["x"], position)


@pytest.mark.parametrize(
    ("target", "onto", "message"),
    [
        ("s3://bucket/out.npz", None, "target: expected a local path, got s3://bucket/out.npz"),
        ("out.stl", CELLS_MESH, r"target: expected a file of one of .vtu, .vtp, .case, .npz, got .*out.stl"),
        ("out.npz", CELLS_MESH, "expected no mesh in onto for a .npz, got .*; leave onto out, or write a .vtu"),
        ("out.vtu", None, "expected the mesh of the sample in onto"),
        ("my out.case", CELLS_MESH, "EnSight allows no blanks in file names"),
        (CELLS_MESH, CELLS_MESH, "the target is the mesh itself; write to another file"),
    ],
    ids=["URL", "format", "npz with mesh", "vtu without mesh", "blank", "mesh itself"],
)
def test_a_target_that_cannot_be_written_is_refused(
    store: Path, tmp_path: Path, target: str | Path, onto: Path | None, message: str
) -> None:
    place = target if "://" in str(target) else tmp_path / target
    with pytest.raises(ArgumentError, match=message):
        export_sample(store, "run_1", place, onto=onto, overwrite=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("target", "onto"), TARGETS, ids=IDS)
def test_an_existing_file_stays_without_overwrite(store: Path, tmp_path: Path, target: str, onto: Path | None) -> None:
    path = tmp_path / "new" / target
    domain = "surface" if onto == BODY_MESH else "volume"
    export_sample(store, "run_1", path, onto=onto, domain=domain)
    former = visible_files(tmp_path)
    some: dict[str, Any] = {"onto": onto, "fields": [f"{domain}_position"]}
    with pytest.raises(ArgumentError, match=f"target: {path} exists already; write to another file, or set ov"):
        export_sample(store, "run_1", path, **some)
    assert visible_files(tmp_path) == former
    export_sample(store, "run_1", path, overwrite=True, **some)
    after = visible_files(tmp_path)
    assert after[f"new/{target}"] != former[f"new/{target}"]
    # No data of the former case and no staged file are left.
    export_sample(store, "run_1", tmp_path / "alone" / target, **some)
    assert {path.name for path in (tmp_path / "new").rglob("*")} == {
        path.name for path in (tmp_path / "alone").rglob("*")
    }


def test_data_of_a_former_case_stay_without_overwrite(store: Path, tmp_path: Path) -> None:
    data = tmp_path / "out.case.data"
    data.mkdir()
    (data / "precious").touch()
    with pytest.raises(ArgumentError, match=f"target: {data} exists already"):
        export_sample(store, "run_1", tmp_path / "out.case", onto=CELLS_MESH)
    assert (data / "precious").exists()


# Files of more than 40 kB cannot be written, as on a disk that is full.
ON_A_FULL_DISK = """
import resource, sys
from noether.data.zarr_store.errors import StorageError
from noether.data.zarr_store.export import export_sample

store, target, onto = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
try:
    export_sample(store, "run_1", target, onto=onto or None, overwrite=True)
except StorageError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("target", "onto"), TARGETS, ids=IDS)
def test_a_failed_export_keeps_the_former_file(store: Path, tmp_path: Path, target: str, onto: Path | None) -> None:
    path = tmp_path / target
    export_sample(store, "run_1", path, onto=onto)
    former = visible_files(tmp_path)
    command = [sys.executable, "-c", ON_A_FULL_DISK, str(store), str(path), str(onto or "")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout.startswith(f"cannot write {path}"), done.stderr) == (True, "")
    assert len(done.stdout.splitlines()) == 1
    assert visible_files(tmp_path) == former
    if path.suffix == ".case":
        assert "volume_velocity" in case_parts(path)[CELLS_MESH.stem].cell_data


WITHOUT_PYVISTA = """
import sys
sys.modules["pyvista"] = None  # what an import finds where it is not installed
from noether.data.zarr_store.errors import MissingDependencyError
from noether.data.zarr_store.export import export_sample

store, directory, mesh = sys.argv[1:]
print(len(export_sample(store, "run_1", f"{directory}/out.npz").arrays))
try:
    export_sample(store, "run_1", f"{directory}/out.vtu", onto=mesh)
except MissingDependencyError as error:
    print(error)
"""


@pytest.mark.slow
def test_without_pyvista_npz_is_written_and_a_mesh_says_how_to_install_it(store: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_PYVISTA, str(store), str(tmp_path), str(CELLS_MESH)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "10",
        "reading .vtu files needs pyvista, which is not installed; "
        "install it with: pip install 'noether-zarr-store[mesh]'",
    ]
