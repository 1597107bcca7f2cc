"""``noether-zarr inspect``: the contents of files, and a mapping that reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.errors import SourceError, StorageError
from noether.data.zarr_store.sources import MappedSource
from noether.data.zarr_store.sources.inspection import FoundArray, inspect
from noether.data.zarr_store.sources.inspection.naming import files_of_first_sample
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from noether.data.zarr_store.writing import source_rows
from support.lanes import few_fast
from support.meshes import MESHES
from support.places import make_place
from support.trees import call, expected_fields, save_runs

RUNS = ("run_1", "run_2")


def save_npz(root: Path) -> None:
    root.mkdir()
    for run in RUNS:
        np.savez(root / f"{run}.npz", **expected_fields(run))  # type: ignore[arg-type]  # its stub: allow_pickle


def save_h5(root: Path) -> None:
    root.mkdir()
    for run in RUNS:
        with h5py.File(root / f"{run}.h5", "w") as file:
            for name, values in expected_fields(run).items():
                file[name.replace("_", "/", 1)] = values
            file["solver"] = "OpenFOAM"


def save_groups(root: Path) -> None:
    root.mkdir()
    with h5py.File(root / "all.h5", "w") as file:
        for run in RUNS:
            for name, values in expected_fields(run).items():
                file[f"runs/{run}/{name}"] = values


def save_tree(suffix: str) -> Callable[[Path], object]:
    return lambda root: save_runs(root, RUNS, suffix=suffix)


@pytest.mark.parametrize(
    "save",
    few_fast(
        [
            pytest.param(save_groups, id="HDF5 groups"),
            pytest.param(save_tree(".npy"), id="npy"),
            pytest.param(save_npz, id="npz"),
            pytest.param(save_h5, id="HDF5"),
            pytest.param(save_tree(".pt"), id="pt"),
        ],
        2,
    ),
)
def test_the_proposed_mapping_converts_all_samples(tmp_path: Path, save: Callable[[Path], object]) -> None:
    save(tmp_path / "in")
    ran = call("inspect", tmp_path / "in", "--mapping", tmp_path / "mapping.toml")
    assert ran.code == 0, ran.output
    ran = call(
        "convert", tmp_path / "in", tmp_path / "store", "--mapping", tmp_path / "mapping.toml", "--workers", 0,
        "--values-dtype", "float32",
    )  # fmt: skip
    assert ran.code == 0, ran.output
    reader = ZarrChunkReader(tmp_path / "store")
    assert list(reader.manifest.samples) == list(RUNS)
    for run in RUNS:
        stored = reader.read_arrays(run, order="original")
        expected = expected_fields(run)
        same = [field for field in stored if field in expected]
        assert {"surface_position", "surface_pressure", "volume_position", "volume_velocity"} <= set(same)
        assert len(stored) == len(expected)
        for field in same:
            np.testing.assert_array_equal(stored[field].squeeze(), expected[field].squeeze())


def test_groups_of_several_files_are_samples(tmp_path: Path) -> None:
    for run in RUNS:
        with h5py.File(tmp_path / f"{run}.h5", "w") as file:
            for step in (0.1, 0.2, 1e-5):
                file[f"step_{step}/points"], file[f"step_{step}/p"] = np.ones((4, 3)), np.arange(4) * step
    source = MappedSource(tmp_path, parse_mapping(inspect(tmp_path).mapping, "proposal"))
    assert source.sample_ids() == [f"{run}/step_{step}" for run in RUNS for step in (0.1, 0.2, 1e-5)]
    np.testing.assert_array_equal(source.load("run_2/step_0.2").fields["volume_pressure"], np.arange(4) * 0.2)


@pytest.mark.parametrize("kind", ["vtk", "ensight"])
@pytest.mark.parametrize("place", ["local", "memory"])
def test_surface_and_volume_are_distinguished_by_their_cells(
    kind: str, place: str, request: pytest.FixtureRequest
) -> None:
    target = make_place(place, request)
    for file in (MESHES / kind).rglob("*"):
        if file.is_file():
            path = f"{target.path}/{file.relative_to(MESHES / kind).as_posix()}"
            target.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            target.fs.pipe_file(path, file.read_bytes())
    found = inspect(target.root, target.options)
    mapping = parse_mapping(found.mapping, "proposal")
    fields = MappedSource(target.root, mapping, target.options).load("run_1").fields
    assert fields["surface_friction"].shape == (2041, 3)
    assert fields["volume_velocity"].shape == (1976, 3)
    assert '# left out: "wallShearStress" is zero everywhere' in found.mapping.partition("[domains.volume]")[2]
    without = re.findall("# parts left out, boundaries of the flow by their names: (.*)", found.mapping)
    assert without == (['"ground"'] if kind == "ensight" else [])
    assert {part.dimension for file in found.files for part in file.parts} == {2, 3}
    pressures = [array for file in found.files for array in file.arrays if array.name == "p"]
    assert "cell" in {array.association for array in pressures}


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".pt"])
def test_ranges_leave_nan_out_and_count_it(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_rows, "BLOCK_BYTES", 512)
    values = np.linspace(-5, 7, 3000, dtype=np.float32).reshape(1000, 3)
    values[100:200, 1] = np.nan
    path = tmp_path / f"velocity{suffix}"
    if suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["a"] = values
    elif suffix == ".pt":
        torch.save({"a": torch.from_numpy(values)}, path)
    elif suffix == ".npz":
        np.savez(path, a=values)
    else:
        np.save(path, values)
    [file_contents] = inspect(path).files
    name = "" if suffix == ".npy" else "a"
    assert file_contents.arrays == [FoundArray(name, (1000, 3), "float32", -5, 7, 100)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([3, -2], "i8"), FoundArray("a", (2,), "int64", -2, 3)),
        (np.full(4, np.nan), FoundArray("a", (4,), "float64", None, None, 4)),
        (np.empty((0, 3), "f4"), FoundArray("a", (0, 3), "float32")),
        (np.float64(2), FoundArray("a", (), "float64", 2, 2)),
        (np.array([1, np.inf]), FoundArray("a", (2,), "float64", 1, np.inf)),
    ],
    ids=["integers", "NaN only", "no values", "a number", "infinity"],
)
def test_arrays_of_any_kind_are_listed(tmp_path: Path, values: NDArray[Any], expected: FoundArray) -> None:
    np.savez(tmp_path / "a.npz", a=values)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = values
    for name in ("a.npz", "a.h5"):
        assert inspect(tmp_path / name).files[0].arrays == [expected]


def test_a_damaged_file_is_reported_and_the_others_are_listed(tmp_path: Path) -> None:
    save_runs(tmp_path, RUNS)
    (tmp_path / "run_1" / "surface_pressure.npy").write_bytes(b"\x93NUMPY")
    found = inspect(tmp_path)
    problems = {file.key: file.problem for file in found.files if file.problem is not None}
    assert list(problems) == ["run_1/surface_pressure.npy"]
    assert "cannot be read" in str(problems["run_1/surface_pressure.npy"])
    assert '# "run_1/surface_pressure.npy" cannot be read' in found.mapping
    assert "surface_position" in found.mapping


def test_without_positions_a_domain_is_only_a_comment(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", p=np.ones(9))
    found = inspect(tmp_path / "a.npz")
    assert all(line.startswith(("#", "name", "id")) or not line for line in found.mapping.splitlines())
    assert '# pressure = "p"' in found.mapping


def test_values_beyond_float16_are_reported(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", points=np.ones((9, 3)), p=np.linspace(0, 1e5, 9), U=np.ones((9, 3)))
    mapping = inspect(tmp_path / "a.npz").mapping
    assert "# pressure reaches 100000, beyond float16: convert with --field-dtype volume_pressure=float32" in mapping
    assert "velocity reaches" not in mapping


@pytest.mark.parametrize(
    ("array", "field"),
    [("totalPressureCoeff", "total_pressure_coeff"), ("heatFlux2Wall", "heat_flux2_wall"), ("kOmegaSST", "k_omegasst")],
)
def test_words_of_an_array_are_separated_in_its_field(tmp_path: Path, array: str, field: str) -> None:
    np.savez(tmp_path / "a.npz", points=np.ones((9, 3)), **{array: np.ones(9)})  # type: ignore[arg-type]
    assert f'{field} = "{array}"' in inspect(tmp_path / "a.npz").mapping


def test_the_table_is_printed_with_the_mapping(tmp_path: Path) -> None:
    save_h5(tmp_path / "in")
    ran = call("inspect", tmp_path / "in" / "run_2.h5")
    assert ran.code == 0, ran.output
    assert re.search(r"volume/velocity +│ \(150, 3\) │ float32 │ +-?[0-9.]+ │ +[0-9.]+ │ +0 │", ran.stdout)
    text = ran.stdout.partition("check it before use:\n\n")[2]
    assert parse_mapping(text, "printed").domains["volume"].arrays["velocity"] == ("volume/velocity",)


def test_json_is_for_machines(tmp_path: Path) -> None:
    save_npz(tmp_path / "in")
    ran = call("inspect", tmp_path / "in", "--json")
    assert ran.code == 0, ran.output
    [file] = json.loads(ran.stdout)["files"]
    assert file["arrays"][0]["shape"] == [150, 3]


def test_an_existing_mapping_is_not_replaced(tmp_path: Path) -> None:
    save_npz(tmp_path / "in")
    (tmp_path / "mapping.toml").write_text("mine")
    ran = call("inspect", tmp_path / "in", "--mapping", tmp_path / "mapping.toml")
    assert ran.code == 2
    assert "mapping.toml: cannot be written (File exists); use another path" in ran.stderr
    assert (tmp_path / "mapping.toml").read_text() == "mine"


def test_known_formats_are_named_if_no_file_has_one(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(SourceError, match=r"no file of a known format found, expected one of \.pt, \.npy, \.npz"):
        inspect(tmp_path)
    with pytest.raises(StorageError, match=r"nowhere does not exist; check the path"):
        inspect(tmp_path / "nowhere")


def test_pieces_of_files_are_reported(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"volume_1.vtu.{number:02}.part").touch()
    with pytest.raises(
        SourceError, match=r"only pieces of files, such as volume_1\.vtu\.00\.part; write a mapping with concatenate"
    ):
        inspect(tmp_path)


@pytest.mark.parametrize(
    ("keys", "sample_id", "patterns"),
    [
        pytest.param(
            ["run_2/b_2.vtp", "run_2/v.vtu", "run_10/b_10.vtp", "run_10/v.vtu"],
            "run_{n}",
            {"run_2/b_2.vtp": "run_{n}/b_{n}.vtp", "run_2/v.vtu": "run_{n}/v.vtu"},
            id="directories with numbers",
        ),
        pytest.param(
            ["run_1/k_1.npy", "run_2/k_1.npy"],
            "run_{n}",
            {"run_1/k_1.npy": "run_{n}/k_1.npy"},
            id="a number that is not the sample's",
        ),
        pytest.param(
            ["all/bus/bus.vtk", "all/car/car.vtk"],
            "{case}",
            {"all/bus/bus.vtk": "all/{case}/{case}.vtk"},
            id="directories with names, below another",
        ),
        pytest.param(
            ["s_1.vtp", "v_1.vtu", "s_2.vtp", "v_2.vtu"],
            "{n}",
            {"s_1.vtp": "s_{n}.vtp", "v_1.vtu": "v_{n}.vtu"},
            id="files side by side",
        ),
        pytest.param(["bus.h5", "car.h5"], "{case}", {"bus.h5": "{case}.h5"}, id="files with names"),
        pytest.param(
            ["surface.vtp", "volume.vtu"],
            "sample",
            {"surface.vtp": "surface.vtp", "volume.vtu": "volume.vtu"},
            id="the files of one sample",
        ),
        pytest.param(
            ["run_1/a.vtm", "run_1/a/a_0.vtu", "run_1/a/a_1.vtu"],
            "run_1",
            {"run_1/a.vtm": "run_1/a.vtm"},
            id="blocks belong to their vtm",
        ),
    ],
)
def test_samples_are_distinguished_by_their_names(keys: list[str], sample_id: str, patterns: dict[str, str]) -> None:
    found = files_of_first_sample(keys)
    assert (found.id, found.patterns) == (sample_id, patterns)
