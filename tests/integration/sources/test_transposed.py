"""Arrays with a column for each point, as MATLAB writes them."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.errors import ArgumentError, SourceError
from noether.data.zarr_store.sources import MappedSource
from noether.data.zarr_store.sources.inspection import inspect
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from support.trees import call

N = 40
FIELDS: dict[str, NDArray[Any]] = {
    "pos": np.random.default_rng(1).random((3, N)),
    "U": np.arange(3 * N, dtype=np.float32).reshape(3, N),
    "p": np.arange(N, dtype=np.float32).reshape(1, N),
}
NAMES = {"position": "pos", "velocity": "U", "pressure": "p"}


def save(root: Path, kind: str) -> None:
    (root / "run_1").mkdir(parents=True, exist_ok=True)
    if kind == "h5":
        with h5py.File(root / "run_1" / "all.h5", "w") as file:
            for name, values in FIELDS.items():
                file.create_dataset(name, data=values, chunks=(1, 7))
    elif kind == "npz":
        np.savez(root / "run_1" / "all.npz", **FIELDS)  # type: ignore[arg-type]  # its stub: allow_pickle
    else:
        for name, values in FIELDS.items():
            if kind == "npy":
                np.save(root / "run_1" / f"{name}.npy", values)
            else:
                torch.save(torch.from_numpy(values), root / "run_1" / f"{name}.pt")


def mapping_text(kind: str, *, transpose: bool = True) -> str:
    lines = ['name = "m"', 'id = "{case}"', "[domains.volume]"]
    in_one = kind in {"h5", "npz"}
    lines += [f'file = "{{case}}/all.{kind}"'] if in_one else []
    lines.append("[domains.volume.fields]")
    turned = ", transpose = true" if transpose else ""
    for field, name in NAMES.items():
        origin = f'array = "{name}"' if in_one else f'file = "{{case}}/{name}.{kind}"'
        lines.append(f"{field} = {{ {origin}{turned} }}")
    return "\n".join(lines)


KINDS = pytest.mark.parametrize("kind", ["h5", "npz", "npy", "pt"])


@KINDS
def test_transposed_arrays_are_read_with_a_row_for_each_point(tmp_path: Path, kind: str) -> None:
    save(tmp_path, kind)
    source = MappedSource(tmp_path, parse_mapping(mapping_text(kind), "mapping"))
    fields, described = source.load("run_1").fields, source.describe("run_1")
    assert described is not None
    for field, name in NAMES.items():
        values = fields[f"volume_{field}"]
        np.testing.assert_array_equal(np.asarray(values), FIELDS[name].T)
        found = described[f"volume_{field}"]
        assert (found.shape, found.dtype) == (values.shape, values.dtype) == (FIELDS[name].T.shape, FIELDS[name].dtype)


@KINDS
def test_transposed_arrays_convert(tmp_path: Path, kind: str) -> None:
    save(tmp_path / "data", kind)
    (tmp_path / "m.toml").write_text(mapping_text(kind))
    ran = call("convert", tmp_path / "data", tmp_path / "store", "--mapping", tmp_path / "m.toml")
    assert ran.code == 0, ran.output
    given = ZarrChunkReader(tmp_path / "store").read_arrays("run_1", order="original")
    np.testing.assert_array_equal(given["volume_velocity"], FIELDS["U"].T)


@KINDS
def test_an_unannounced_transposed_array_is_refused_with_remedy(tmp_path: Path, kind: str) -> None:
    save(tmp_path, kind)
    source = MappedSource(tmp_path, parse_mapping(mapping_text(kind, transpose=False), "mapping"))
    for look in (source.load, source.describe):
        with pytest.raises(SourceError) as error:
            look("run_1")
        assert str(error.value).startswith(
            "sample 'run_1', field volume_position: expected shape (n_points, 3), got (3, 40), which looks transposed"
        )
        advice = str(error.value).partition("; write ")[2]
        assert re.fullmatch(r"position = \{ .*, transpose = true \}", advice)
        assert advice in mapping_text(kind)


def test_a_transposed_hdf5_array_is_read_a_few_rows_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "run_1").mkdir()
    n_points = 400_000
    with h5py.File(tmp_path / "run_1" / "all.h5", "w") as file:
        for name, width in (("pos", 3), ("U", 3), ("p", 1)):
            file.create_dataset(name, shape=(width, n_points), dtype="f8", chunks=(width, 1000), fillvalue=0)[...] = 1
    source = MappedSource(tmp_path, parse_mapping(mapping_text("h5"), "mapping"))
    velocity: Any = source.load("run_1").fields["volume_velocity"]
    assert velocity.chunks == (1000, 3)
    tracemalloc.start()
    assert velocity[1000:2000].shape == (1000, 3)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20  # of 9.6 MB
    tracemalloc.stop()


def test_separate_rows_are_stacked_and_transposed(tmp_path: Path) -> None:
    (tmp_path / "run_1").mkdir()
    rows = {"Ux": FIELDS["U"][:1], "Uy": FIELDS["U"][1:2], "Uz": FIELDS["U"][2:]}
    np.savez(tmp_path / "run_1" / "all.npz", pos=FIELDS["pos"], p=FIELDS["p"], **rows)  # type: ignore[arg-type]  # its stub
    apart = mapping_text("npz").replace('"U"', '["Ux", "Uy", "Uz"]')
    fields = MappedSource(tmp_path, parse_mapping(apart, "mapping")).load("run_1").fields
    np.testing.assert_array_equal(fields["volume_velocity"], FIELDS["U"].T)
    wrong = apart.replace('"Uz"], transpose = true', '"Uz"]')
    with pytest.raises(SourceError, match=r"'Ux' of shape \(1, 40\); it looks transposed"):
        MappedSource(tmp_path, parse_mapping(wrong, "mapping")).load("run_1")


def test_other_shapes_are_not_called_transposed(tmp_path: Path) -> None:
    (tmp_path / "run_1").mkdir()
    np.savez(tmp_path / "run_1" / "all.npz", **{**FIELDS, "pos": FIELDS["pos"].T, "U": np.zeros((N, 2))})  # type: ignore[arg-type]  # its stub
    text = mapping_text("npz", transpose=False)
    with pytest.raises(SourceError, match=r"got \(40, 2\); write width = 2"):
        MappedSource(tmp_path, parse_mapping(text, "mapping")).load("run_1")


def test_arrays_of_a_mesh_are_not_transposed(tmp_path: Path) -> None:
    (tmp_path / "a.vtu").write_text("")
    text = 'name = "m"\nid = "{case}"\n[domains.volume]\nfile = "{case}.vtu"\n[domains.volume.fields]\n'
    mapping = parse_mapping(text + 'velocity = { array = "U", transpose = true }', "mapping")
    with pytest.raises(ArgumentError, match="leave transpose out of velocity"):
        MappedSource(tmp_path, mapping)


@pytest.mark.parametrize("kind", ["h5", "npz"])
def test_inspect_proposes_to_transpose(tmp_path: Path, kind: str) -> None:
    save(tmp_path, kind)
    found = inspect(tmp_path)
    source = MappedSource(tmp_path, parse_mapping(found.mapping, "proposal"))
    (sample_id,) = source.sample_ids()
    fields = source.load(sample_id).fields
    np.testing.assert_array_equal(np.asarray(fields["volume_velocity"]), FIELDS["U"].T)
    np.testing.assert_array_equal(np.asarray(fields["volume_pressure"]), FIELDS["p"].T)
