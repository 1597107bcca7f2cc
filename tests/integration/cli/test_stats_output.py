"""The files of the commands `stats` and `merge-stats`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from noether.data.zarr_store.statistics import calculate_store_statistics, load_statistics, statistics_to_dict
from support.ahmed import load_run
from support.reading import write_runs, write_samples
from support.trees import call

POSITIONS = ["--field", "surface_position,volume_position"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("stats") / "store", "run_1", "run_2", chunk_points=512)


def test_the_flat_form_is_written_beside_the_other(store: Path, tmp_path: Path) -> None:
    nested, flat = tmp_path / "s.json", tmp_path / "s.yaml"
    ran = call("stats", store, "--output", nested, "--output-flat", flat)
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[-2:] == [f"written: {nested}", f"written: {flat}"]
    stats = calculate_store_statistics(store)
    assert statistics_to_dict(load_statistics(nested)) == statistics_to_dict(stats)
    assert yaml.safe_load(flat.read_text()) == statistics_to_dict(stats, flat=True)


def test_a_normalizer_can_use_the_flat_form(store: Path, tmp_path: Path) -> None:
    """The lists broadcast over points, also those of scalars."""
    assert call("stats", store, "--output-flat", tmp_path / "s.json").code == 0
    flat = json.loads((tmp_path / "s.json").read_text())
    pressure = np.concatenate([load_run(run)["surface_pressure"].astype("f2") for run in ("run_1", "run_2")])
    normalized = (pressure.reshape(-1, 1) - np.array(flat["surface_pressure_mean"])) / flat["surface_pressure_std"]
    np.testing.assert_allclose([normalized.mean(), normalized.std()], [0, 1], atol=1e-9)
    position = load_run("run_2")["volume_position"]
    spans = np.array(flat["raw_pos_max"]) - flat["raw_pos_min"]
    scaled = (position - np.array(flat["raw_pos_min"])) / spans
    assert (scaled.min(), scaled.max()) >= (0, 0)
    assert scaled.max() <= 1


def test_merged_statistics_have_a_flat_form_too(store: Path, tmp_path: Path) -> None:
    assert call("stats", store, "--limit", 1, "--output", tmp_path / "a.json").code == 0
    assert call("merge-stats", tmp_path / "a.json", "--output-flat", tmp_path / "flat.json").code == 0
    expected = statistics_to_dict(load_statistics(tmp_path / "a.json"), flat=True)
    assert json.loads((tmp_path / "flat.json").read_text()) == expected


def test_estimates_leave_out_the_bounds_of_positions(store: Path, tmp_path: Path) -> None:
    """A note names them."""
    flat = tmp_path / "s.json"
    ran = call("stats", store, *POSITIONS, "--tolerance", 0.1, "--output-flat", flat)
    note = f"note: {flat} lacks raw_pos_min, raw_pos_max: extremes need all points; leave out --tolerance"
    assert (ran.code, ran.stdout.splitlines()[-2:]) == (0, [f"written: {flat}", note])
    assert not [name for name in json.loads(flat.read_text()) if name.startswith("raw_pos")]


@pytest.mark.parametrize("tolerance", [[], ["--tolerance", 0.1]], ids=["full", "estimates"])
def test_figures_that_are_not_finite_are_left_out_and_named(tmp_path: Path, tolerance: list[object]) -> None:
    run = load_run("run_1")
    arrays = run | {"volume_sdf": np.full_like(run["volume_sdf"], np.nan)}
    root = write_samples(tmp_path / "store", {"run_1": arrays}, non_finite="allow")
    flat = tmp_path / "s.json"
    ran = call("stats", root, "--field", "volume_sdf,volume_pressure", "--output-flat", flat, *tolerance)
    names = ", ".join(f"volume_sdf_{figure}" for figure in ("mean", "std", "logscale_mean", "logscale_std"))
    assert ran.stdout.splitlines()[-1] == f"note: {flat} lacks {names}: the figure is not finite"
    assert [name.split("_")[1] for name in json.loads(flat.read_text())] == ["pressure"] * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output-flat", "s.csv"], "s.csv: expected a file name that ends in .json or .yaml or .yml"),
        (
            ["--output", "s.json", "--output-flat", "./s.json"],
            "--output and --output-flat: expected two files, got s.json",
        ),
    ],
    ids=["suffix", "one-file"],
)
@pytest.mark.parametrize("command", ["stats", "merge-stats"])
def test_wrong_files_are_refused_before_anything_is_read(
    tmp_path: Path, command: str, options: list[str], message: str
) -> None:
    ran = call(command, tmp_path / "no.json", *options)
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"error: {message}")
