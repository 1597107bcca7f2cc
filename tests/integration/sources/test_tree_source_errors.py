"""Errors about trees with missing or damaged files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from noether.data.zarr_store.errors import SourceError, StorageError
from noether.data.zarr_store.sources import TreeSource
from support.trees import OPTIONAL, TREE_FILEMAP, save_run, save_runs

PRESSURE = "surface_pressure.npy"


def truncate(sample: Path) -> None:
    data = (sample / PRESSURE).read_bytes()
    (sample / PRESSURE).write_bytes(data[:-10])


def pickle_objects(sample: Path) -> None:
    np.save(sample / PRESSURE, np.array([{"p": 1.0}], dtype=object), allow_pickle=True)


def write_text(sample: Path) -> None:
    (sample / PRESSURE).write_text("101325.0\n101324.2\n")


def save_a_module(sample: Path) -> None:
    (sample / PRESSURE).unlink()
    torch.save(torch.nn.Linear(1, 1), sample / "surface_pressure.pt")


def save_a_dict(sample: Path) -> None:
    (sample / PRESSURE).unlink()
    torch.save({"p": torch.ones(3)}, sample / "surface_pressure.pt")


@pytest.mark.parametrize(
    ("break_file", "message"),
    [
        pytest.param(truncate, "surface_pressure.npy cannot be read (it ends early: expected 600", id="truncated"),
        pytest.param(pickle_objects, "surface_pressure.npy cannot be read (Object arrays cannot", id="objects"),
        pytest.param(write_text, "surface_pressure.npy cannot be read (the magic string is not", id="text"),
        pytest.param(save_a_module, "surface_pressure.pt cannot be read (it holds torch.nn.modules", id="a module"),
        pytest.param(save_a_dict, "surface_pressure.pt holds a dict, expected one tensor or array", id="a dict"),
    ],
)
def test_a_damaged_file_is_named_with_its_sample_and_field(
    tmp_path: Path, break_file: Callable[[Path], None], message: str
) -> None:
    save_runs(tmp_path, ["part/run_1", "part/run_2"])
    break_file(tmp_path / "part" / "run_1")
    source = TreeSource(tmp_path, TREE_FILEMAP)
    expected = f"sample 'part/run_1', field surface_pressure: part/run_1/{message}"
    with pytest.raises(SourceError, match=f"^{re.escape(expected)}"):
        source.load("part/run_1")
    assert source.load("part/run_2").fields


def test_damaged_design_parameters_are_named(tmp_path: Path) -> None:
    (save_run(tmp_path / "run_1") / "design_parameters.npy").write_text("25 degrees")
    with pytest.raises(SourceError, match=r"^sample 'run_1', design_parameters: run_1/design_parameters\.npy cannot"):
        TreeSource(tmp_path, TREE_FILEMAP).load("run_1")


@pytest.mark.parametrize("optional", [frozenset(), OPTIONAL], ids=["none optional", "others optional"])
def test_missing_files_of_a_domain_are_named(tmp_path: Path, optional: frozenset[str]) -> None:
    save_runs(tmp_path)
    for name in ("volume_cell_velocity.npy", "volume_cell_position.npy"):
        (tmp_path / "run_2" / name).unlink()
    source = TreeSource(tmp_path, TREE_FILEMAP, optional)
    message = (
        "sample 'run_2': domain 'volume' lacks the file volume_cell_position.npy, volume_cell_velocity.npy; "
        "add the missing files, or remove the other files of the domain"
    )
    with pytest.raises(SourceError, match=f"^{re.escape(message)}$"):
        source.load("run_2")


def test_an_unknown_sample_is_refused_with_the_nearest_names(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"sample 'run_11' is not in .*; did you mean 'run_1'"):
        TreeSource(save_runs(tmp_path), TREE_FILEMAP).load("run_11")


@pytest.mark.parametrize(
    ("root", "n_files"),
    [("there", 2), ("there/empty", 0)],
)
def test_a_tree_without_samples_is_refused_with_expected_files(tmp_path: Path, root: str, n_files: int) -> None:
    (tmp_path / "there" / "empty").mkdir(parents=True)
    for name in ("other.npy", "log.txt"):
        (tmp_path / "there" / name).write_text("-")
    message = (
        f"{tmp_path / root}: no sample found among {n_files} files, expected directories with files such as "
        "surface_position_vtp.npy, surface_pressure.npy, surface_wallshearstress.npy; "
        "check the path and the preset or file map"
    )
    with pytest.raises(SourceError, match=f"^{re.escape(message)}$"):
        TreeSource(tmp_path / root, TREE_FILEMAP)


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    message = f"^{re.escape(str(tmp_path / 'nowhere'))} does not exist; check the path$"
    with pytest.raises(SourceError, match=message):
        TreeSource(tmp_path / "nowhere", TREE_FILEMAP)


def test_a_file_that_vanished_since_the_listing_is_named(tmp_path: Path) -> None:
    source = TreeSource(save_runs(tmp_path), TREE_FILEMAP)
    (tmp_path / "run_1" / PRESSURE).unlink()
    with pytest.raises(StorageError, match=r"cannot read .*run_1/surface_pressure\.npy: No such file"):
        source.load("run_1")
