"""The flat form of statistics: a list for each figure of each field, as normalizers read it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import yaml

from noether.data.zarr_store.errors import ArgumentError, StorageError
from noether.data.zarr_store.statistics import (
    RunningStats,
    load_statistics,
    save_statistics,
    statistics_from_dict,
    statistics_to_dict,
)
from noether.data.zarr_store.statistics.estimates import extrapolate

STATS = {
    "surface_position": RunningStats.of([[0.0, -1e-5, 3e22], [2.0, 0.0, 1.0]]),
    "surface_pressure": RunningStats.of([1.0, 4.0]),
    "volume_position": RunningStats.of([[-1.0, 0.0, 5.0]]),
    "volume_velocity": RunningStats.of([[1.0, 2.0, 3.0], [3.0, 4.0, 9.0]]),
}
FIGURES = ("mean", "std", "logscale_mean", "logscale_std")


def test_fields_have_four_figures_and_positions_have_bounds() -> None:
    flat = statistics_to_dict(STATS, flat=True)
    names = [f"{field}_{figure}" for field in STATS for figure in FIGURES]
    assert list(flat) == [*names, "raw_pos_min", "raw_pos_max"]
    for field, one in STATS.items():
        figures = (one.mean, one.std, one.logmean, one.logstd)
        assert [flat[f"{field}_{name}"] for name in FIGURES] == [figure.tolist() for figure in figures]
    assert (flat["raw_pos_min"], flat["raw_pos_max"]) == ([-1.0, -1e-5, 1.0], [2.0, 0.0, 3e22])


def test_a_scalar_has_a_list_of_one_and_a_vector_a_list_of_its_components() -> None:
    flat = statistics_to_dict(STATS, flat=True)
    assert flat["surface_pressure_mean"] == [2.5]
    assert flat["surface_pressure_logscale_std"] == [pytest.approx(math.log(2.5) / 2)]
    assert (flat["volume_velocity_mean"], flat["volume_velocity_std"]) == ([2.0, 3.0, 6.0], [1.0, 1.0, 3.0])
    assert all(type(value) is float for figures in flat.values() for value in figures)


def test_without_positions_there_are_no_bounds() -> None:
    assert "raw_pos_min" not in statistics_to_dict({"surface_pressure": STATS["surface_pressure"]}, flat=True)


def test_an_estimate_leaves_out_extremes() -> None:
    """Estimates have no extremes: NaN or another number in their place would pass for bounds."""
    stats = STATS | {"volume_position": extrapolate(STATS["surface_position"], 100)}
    flat = statistics_to_dict(stats, flat=True)
    assert not {"raw_pos_min", "raw_pos_max"} & flat.keys()
    assert flat["volume_position_mean"] == STATS["surface_position"].mean.tolist()


def test_a_figure_with_a_component_that_is_not_finite_is_left_out() -> None:
    stats = {
        "volume_velocity": RunningStats.of([[1.0, np.nan], [3.0, np.nan]]),
        "volume_k": RunningStats.of([2e200, 0]),
    }
    assert list(statistics_to_dict(stats, flat=True)) == [
        "volume_k_mean",
        "volume_k_logscale_mean",
        "volume_k_logscale_std",
    ]


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".yml", ".JSON"])
def test_a_flat_file_holds_the_flat_form(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"stats{suffix}"
    save_statistics(STATS, file, flat=True)
    parse = json.loads if suffix.lower() == ".json" else yaml.safe_load
    assert parse(file.read_text()) == statistics_to_dict(STATS, flat=True)


def test_the_flat_form_is_not_read_back() -> None:
    """The flat form has neither counts nor extremes, so it cannot be merged."""
    with pytest.raises(ArgumentError, match="got the flat form, which lacks counts; use the file of --output"):
        statistics_from_dict(statistics_to_dict(STATS, flat=True))


@pytest.mark.parametrize("flat", [False, True], ids=["nested", "flat"])
def test_a_failed_write_leaves_the_former_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flat: bool) -> None:
    file = tmp_path / "stats.json"
    save_statistics({"surface_pressure": STATS["surface_pressure"]}, file)
    before = file.read_bytes()

    def fill_the_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fill_the_disk)
    with pytest.raises(StorageError, match=r"cannot write .*stats.json: No space left"):
        save_statistics(STATS, file, flat=flat)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_in_the_place_of_the_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "stats.json").symlink_to(tmp_path / "elsewhere" / "s.json")
    save_statistics(STATS, tmp_path / "stats.json")
    assert (tmp_path / "stats.json").is_symlink()
    assert list(load_statistics(tmp_path / "elsewhere" / "s.json")) == list(STATS)
