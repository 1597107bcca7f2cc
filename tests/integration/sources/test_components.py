"""Vectors with an array for each component."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import pyvista
from numpy.typing import NDArray

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.errors import ArgumentError, SourceError
from noether.data.zarr_store.sources import MappedSource
from noether.data.zarr_store.sources.inspection import inspect
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from support.meshes import ENSIGHT, copy_case
from support.trees import call

N = 30
VELOCITY = np.arange(N * 3, dtype=np.float32).reshape(N, 3)
POSITION = np.random.default_rng(0).random((N, 3)).astype(np.float32)
APART = {"Ux": VELOCITY[:, 0], "Uy": VELOCITY[:, 1], "Uz": VELOCITY[:, 2]}
XYZ = {"x": POSITION[:, 0], "y": POSITION[:, 1], "z": POSITION[:, 2]}

Arrays = dict[str, NDArray[Any]]


def save_h5(root: Path, arrays: Arrays) -> str:
    with h5py.File(root / "run_1.h5", "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, chunks=tuple(min(7, size) for size in values.shape))
    return "{case}.h5"


def save_npz(root: Path, arrays: Arrays) -> str:
    np.savez(root / "run_1.npz", **arrays)  # type: ignore[arg-type]  # its stub: allow_pickle
    return "{case}.npz"


def save_mesh(suffix: str) -> Callable[[Path, Arrays], str]:
    def save(root: Path, arrays: Arrays) -> str:
        mesh = pyvista.PolyData(POSITION, faces=np.insert(np.arange(N).reshape(-1, 3), 0, 3, axis=1).ravel())
        for name, values in arrays.items():
            mesh.point_data[name] = values
        (mesh if suffix == ".vtp" else mesh.cast_to_unstructured_grid()).save(root / f"run_1{suffix}")
        return "{case}" + suffix

    return save


SAVERS = {"h5": save_h5, "npz": save_npz, **{suffix[1:]: save_mesh(suffix) for suffix in (".vtp", ".vtu")}}


def source_of(root: Path, save: Callable[[Path, Arrays], str], arrays: Arrays, fields: str) -> MappedSource:
    text = f'name = "c"\nid = "{{case}}"\n[domains.volume]\nfile = "{save(root, arrays)}"\n[domains.volume.fields]\n'
    return MappedSource(root, parse_mapping(text + fields, "mapping test.toml"))


FIELDS = 'position = ["x", "y", "z"]\nvelocity = ["Ux", "Uy", "Uz"]\n'


@pytest.mark.parametrize("kind", SAVERS)
def test_separate_components_are_stacked(tmp_path: Path, kind: str) -> None:
    source = source_of(tmp_path, SAVERS[kind], {**APART, **XYZ}, FIELDS)
    fields = source.load("run_1").fields
    np.testing.assert_array_equal(np.asarray(fields["volume_velocity"]), VELOCITY)
    np.testing.assert_array_equal(np.asarray(fields["volume_position"]), POSITION)
    described = source.describe("run_1")
    assert described is not None
    for field, values in fields.items():
        assert (described[field].shape, described[field].dtype) == (values.shape, values.dtype)


def test_components_of_hdf5_stay_on_disk_until_their_rows_are_read(tmp_path: Path) -> None:
    arrays: Arrays = {**APART, **XYZ, "Uy": APART["Uy"][:, None].astype(np.float64)}
    velocity = source_of(tmp_path, save_h5, arrays, FIELDS).load("run_1").fields["volume_velocity"]
    assert not isinstance(velocity, np.ndarray)
    assert (velocity.shape, velocity.dtype, velocity.chunks) == ((N, 3), np.float64, (7, 3))
    np.testing.assert_array_equal(velocity[5:9], VELOCITY[5:9])


def test_components_of_hdf5_convert(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    source_of(tmp_path / "data", save_h5, {**APART, **XYZ}, FIELDS)
    (tmp_path / "m.toml").write_text(
        f'name = "c"\nid = "{{case}}"\n[domains.volume]\nfile = "{{case}}.h5"\n[domains.volume.fields]\n{FIELDS}'
    )
    assert call("convert", tmp_path / "data", tmp_path / "store", "--mapping", tmp_path / "m.toml").code == 0
    given = ZarrChunkReader(tmp_path / "store").read_arrays("run_1", order="original")
    np.testing.assert_array_equal(given["volume_velocity"], VELOCITY)


def test_components_of_an_ensight_case_are_stacked(tmp_path: Path) -> None:
    copy_case("ensight", tmp_path)
    text = (
        'name = "c"\nid = "{case}"\n[domains.volume]\nfile = "{case}/{case}.case"\n'
        'parts = { include = ["internalMesh"] }\nassociation = "cell"\n[domains.volume.fields]\n'
    )
    fields = MappedSource(tmp_path, parse_mapping(text + 'pair = ["p", "row"]', "mapping")).load("run_1").fields
    single = MappedSource(ENSIGHT, parse_mapping(text + 'p = "p"\nrow = "row"', "mapping")).load("run_1").fields
    expected = np.stack([single["volume_p"], single["volume_row"]], axis=1)
    np.testing.assert_array_equal(fields["volume_pair"], expected)


@pytest.mark.parametrize("kind", ["h5", "npz"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"Uy": VELOCITY[:7, 1]}, "one length, got 'Ux' with 30, 'Uy' with 7, 'Uz' with 30", id="length"),
        pytest.param({"Uy": VELOCITY}, "got 'Uy' of shape (30, 3)", id="vector"),
        pytest.param({"Uy": None}, "has no array 'Uy'; did you mean", id="missing"),
    ],
)
def test_components_that_do_not_fit_are_named(tmp_path: Path, kind: str, change: Any, message: str) -> None:
    arrays = {name: values for name, values in {**APART, **XYZ, **change}.items() if values is not None}
    source = source_of(tmp_path, SAVERS[kind], arrays, FIELDS)
    for look in (source.load, source.describe):
        with pytest.raises(SourceError) as error:
            look("run_1")
        assert str(error.value).startswith(f"sample 'run_1', field volume_velocity: run_1.{kind}")
        assert message in str(error.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ('velocity = ["Ux", "Uy"]', "volume_velocity has the width 3, got 2 arrays: Ux, Uy"),
        ('pressure = ["p", "q"]', "volume_pressure has the width 1, got 2 arrays: p, q"),
        ('k = { array = ["a", "b"], width = 3 }', "volume_k has the width 3, got 2 arrays: a, b"),
        ("velocity = []", "volume_velocity has the width 3, got 0 arrays"),
    ],
)
def test_a_wrong_number_of_components_is_refused(tmp_path: Path, fields: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        source_of(tmp_path, save_npz, APART, fields)


NAMES = {
    "letters": ("U{}", "xyz"),
    "underscores": ("U_{}", "xyz"),
    "capitals": ("Velocity{}", "XYZ"),
    "numbers": ("velocity_{}", "012"),
    "colons": ("velocity:{}", "012"),
    "brackets": ("U[{}]", "012"),
}


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("kind", ["npz", "vtu"])
def test_inspect_proposes_to_stack_components(tmp_path: Path, kind: str, names: str) -> None:
    text, components = NAMES[names]
    called = [text.format(component) for component in components]
    arrays = dict(zip(called, VELOCITY.T.copy(), strict=True))
    SAVERS[kind](tmp_path, {**arrays, **(XYZ if kind == "npz" else {}), "p": VELOCITY[:, 0]})
    mapping = inspect(tmp_path / f"run_1.{kind}").mapping
    assert f"velocity = {json.dumps(called)}" in mapping
    assert kind == "vtu" or 'position = ["x", "y", "z"]' in mapping


def test_inspect_does_not_stack_lookalike_components(tmp_path: Path) -> None:
    save_npz(tmp_path, {"pos": POSITION, "mode_0": XYZ["x"], "mode_1": XYZ["y"], "mode_2": XYZ["z"], "tx": XYZ["x"]})
    mapping = inspect(tmp_path / "run_1.npz").mapping
    assert 'mode_1 = "mode_1"' in mapping
    assert 'tx = "tx"' in mapping
