"""Reading single files: their arrays, and the refusal of files that cannot be trusted."""

from __future__ import annotations

import os
import pickle
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from noether.data.zarr_store.errors import MissingDependencyError, SourceError
from noether.data.zarr_store.sources.formats import load_file

WHERE = "sample 'run_1', field surface_pressure"
VALUES = np.arange(12, dtype=np.float32).reshape(4, 3)


class RunsCode:
    """An object that makes a directory when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.path),))


def npy(values: NDArray[Any], **settings: Any) -> bytes:
    file = BytesIO()
    np.save(file, values, **settings)
    return file.getvalue()


def pt(value: object, **settings: Any) -> bytes:
    file = BytesIO()
    torch.save(value, file, **settings)
    return file.getvalue()


def npz(values: NDArray[Any]) -> bytes:
    file = BytesIO()
    np.savez(file, values)
    return file.getvalue()


def load(data: bytes, name: str) -> Any:
    return load_file(BytesIO(data), name, WHERE)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("suffix", [".npy", ".pt"])
def test_a_file_returns_the_saved_array(suffix: str, dtype: str) -> None:
    values = VALUES.astype(dtype)
    loaded = load(npy(values) if suffix == ".npy" else pt(torch.from_numpy(values)), f"p{suffix}")
    assert loaded.dtype == values.dtype
    np.testing.assert_array_equal(loaded, values)


def test_a_fortran_ordered_npy_keeps_its_rows() -> None:
    np.testing.assert_array_equal(load(npy(np.asfortranarray(VALUES)), "p.npy"), VALUES)


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        pytest.param(torch.tensor([[1.5], [-2.0]], dtype=torch.bfloat16), "float32", id="bfloat16"),
        pytest.param(torch.tensor([[1.5], [-2.0]], requires_grad=True), "float32", id="requires grad"),
        pytest.param(torch.tensor([[1.5, -2.0]], dtype=torch.float64).T, "float64", id="transposed view"),
    ],
)
def test_any_dense_tensor_becomes_an_array_of_the_same_values(tensor: torch.Tensor, expected: str) -> None:
    loaded = load(pt(tensor), "p.pt")
    assert loaded.dtype == expected
    np.testing.assert_array_equal(loaded, [[1.5], [-2.0]])


def test_the_older_format_of_pt_files_is_read_too() -> None:
    np.testing.assert_array_equal(
        load(pt(torch.from_numpy(VALUES), _use_new_zipfile_serialization=False), "p.pt"), VALUES
    )


def test_a_dict_of_tensors_becomes_a_dict_of_arrays() -> None:
    loaded = load(pt({"angle": torch.tensor(25.0), "name": "ahmed", "inner": {"sizes": torch.ones(2)}}), "d.pt")
    assert loaded["angle"] == np.float32(25.0)
    assert loaded["name"] == "ahmed"
    assert isinstance(loaded["inner"]["sizes"], np.ndarray)


@pytest.mark.parametrize("torch_format", ["zip", "older", "bare pickle"])
def test_code_in_a_pt_file_is_refused_and_not_run(tmp_path: Path, torch_format: str) -> None:
    trap = RunsCode(tmp_path / "ran")
    data = (
        pickle.dumps(trap, protocol=2)
        if torch_format == "bare pickle"
        else pt(trap, _use_new_zipfile_serialization=torch_format == "zip")
    )
    with pytest.raises(SourceError, match=r"field surface_pressure: p\.pt cannot be read"):
        load(data, "p.pt")
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(trap))
    assert (tmp_path / "ran").exists(), "the trap itself must work"


@pytest.mark.parametrize(
    ("value", "what"),
    [
        pytest.param(torch.nn.Linear(2, 2), r"torch\.nn\.modules\.linear\.Linear", id="a module"),
        pytest.param(RunsCode(Path("never")), r"\w+\.mkdir", id="a function of the system"),
    ],
)
def test_refused_code_is_named_without_advice_to_trust_it(value: object, what: str) -> None:
    with pytest.raises(SourceError, match=f"it holds {what}, where only tensors are allowed") as caught:
        load(pt(value), "p.pt")
    assert "weights_only" not in str(caught.value)


def test_pickled_objects_in_an_npy_file_are_refused_and_not_run(tmp_path: Path) -> None:
    trap = np.array([RunsCode(tmp_path / "ran")], dtype=object)
    with pytest.raises(SourceError, match=r"p\.npy cannot be read \(Object arrays cannot be loaded"):
        load(npy(trap, allow_pickle=True), "p.npy")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        pytest.param("p.npy", npy(VALUES)[:-5], "expected 48 bytes, got 43", id="npy cut in its data"),
        pytest.param("p.npy", npy(VALUES)[:60], "EOF: reading array header", id="npy cut in its header"),
        pytest.param("p.npy", b"", "expected 8 bytes got 0", id="empty npy"),
        pytest.param("p.npy", b"0.1 0.2 0.3\n", "magic string is not correct", id="text as npy"),
        pytest.param("p.npy", npz(VALUES), "magic string is not correct", id="npz as npy"),
        pytest.param("p.pt", pt(torch.from_numpy(VALUES))[:-200], "", id="pt cut at its end"),
        pytest.param("p.pt", b"", "it is damaged", id="empty pt"),
        pytest.param("p.pt", b"hello 0.1 0.2\n", "it is damaged", id="text as pt"),
        pytest.param("p.pt", npy(VALUES), "only tensors are allowed", id="npy as pt"),
        pytest.param("p.pt", pt(torch.eye(2).to_sparse()), "to_dense", id="sparse tensor"),
    ],
)
def test_a_damaged_file_is_refused_with_reason_and_remedy(name: str, data: bytes, reason: str) -> None:
    """The message names the field and the file, too."""
    with pytest.raises(SourceError, match=rf"^{WHERE}: {name} cannot be read \(.*{reason}.*\); make the file again$"):
        load(data, name)


def test_a_shape_that_no_memory_holds_is_refused() -> None:
    data = npy(VALUES).replace(b"'shape': (4, 3), }             ", b"'shape': (9999999999999, 999), }")
    with pytest.raises(SourceError, match=r"p\.npy (needs more memory than is free|cannot be read)"):
        load(data, "p.npy")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
@given(
    data=st.sampled_from([npy(VALUES), pt(torch.from_numpy(VALUES)), b""]),
    changes=st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=4)), max_size=4),
    length=st.integers(0, 4000),
    name=st.sampled_from(["p.npy", "p.pt"]),
)
def test_any_bytes_are_loaded_or_raise_a_source_error(
    data: bytes, changes: list[tuple[int, bytes]], length: int, name: str
) -> None:
    broken = bytearray(data)
    for position, replacement in changes:
        broken[position : position + len(replacement)] = replacement
    try:
        load(bytes(broken[:length]), name)
    except SourceError as error:
        assert str(error).startswith(f"{WHERE}: {name} ")  # noqa: PT017 - whether it is raised is open


def test_a_pt_file_without_torch_installed_names_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r"reading \.pt files needs torch.*noether-zarr-store\[torch\]"):
        load(b"", "p.pt")
