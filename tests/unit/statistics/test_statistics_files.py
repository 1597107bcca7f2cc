"""Statistics as JSON and YAML."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.statistics import (
    RunningStats,
    load_statistics,
    merge_statistics,
    save_statistics,
    statistics_from_dict,
    statistics_to_dict,
)
from noether.data.zarr_store.statistics.estimates import extrapolate

POSITIONS = np.array([[0.0, -1e-5, 3e22], [2.0, 0.0, 1.0]])
STATS = {
    "surface_position": RunningStats.of(POSITIONS),
    "volume_position": RunningStats.of([[-1.0, 0.0, 5.0]]),
    "volume_pressure": RunningStats.of([1.0, 4.0, np.nan]),
    "volume_sdf": extrapolate(RunningStats.of([1.0, 3.0]), 100),
}
FIGURES = {
    "count": 3,
    "mean": [2.5],
    "std": [1.5],
    "min": [1.0],
    "max": [4.0],
    "logmean": [math.log(10) / 2],
    "logstd": [math.log(2.5) / 2],
    "non_finite": [1],
}


def test_a_dictionary_has_the_figures_by_name() -> None:
    figures = statistics_to_dict({"volume_pressure": STATS["volume_pressure"]})
    assert figures == {"volume_pressure": {name: pytest.approx(figure) for name, figure in FIGURES.items()}}


def test_an_estimate_has_margins_and_null_extremes() -> None:
    figures = statistics_to_dict(STATS)["volume_sdf"]
    assert (figures["count"], figures["points_read"]) == (100, 2)
    assert (figures["min"], figures["max"]) == ([None], [None])
    assert figures["mean_margin"] == STATS["volume_sdf"].mean_margin.tolist()


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".yml", ".JSON"])
def test_a_file_holds_the_dictionary_and_the_bounds_of_all_positions(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"stats{suffix}"
    save_statistics(STATS, file)
    parse = json.loads if suffix.lower() == ".json" else yaml.safe_load
    assert parse(file.read_text()) == {
        **statistics_to_dict(STATS),
        "positions": {"min": [-1.0, -1e-5, 1.0], "max": [2.0, 0.0, 3e22]},
    }


def test_a_file_without_positions_has_no_bounds(tmp_path: Path) -> None:
    save_statistics({"volume_pressure": STATS["volume_pressure"]}, tmp_path / "stats.json")
    assert json.loads((tmp_path / "stats.json").read_text()).keys() == {"volume_pressure"}


def test_names_that_yaml_would_misread_are_quoted(tmp_path: Path) -> None:
    stats = {"volume_a: b": STATS["volume_pressure"]}
    save_statistics(stats, tmp_path / "stats.yaml")
    assert yaml.safe_load((tmp_path / "stats.yaml").read_text()) == statistics_to_dict(stats)


def test_json_is_read_back(tmp_path: Path) -> None:
    save_statistics(STATS, tmp_path / "stats.json")
    again = load_statistics(tmp_path / "stats.json")
    assert list(again) == list(STATS)
    for field, one in STATS.items():
        for name in RunningStats.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(again[field], name), getattr(one, name), err_msg=f"{field} {name}")


def test_statistics_merge_field_by_field() -> None:
    merged = merge_statistics([STATS, {"volume_pressure": RunningStats.of([7.0])}])
    assert list(merged) == list(STATS)
    assert (merged["volume_pressure"].count, merged["volume_pressure"].max.tolist()) == (4, [7.0])
    assert merged["volume_sdf"] is STATS["volume_sdf"]
    with pytest.raises(ArgumentError, match="field volume_pressure: merge: expected 1 components"):
        merge_statistics([STATS, {"volume_pressure": RunningStats.of([[7.0, 8.0]])}])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        pytest.param([], "expected the statistics of fields by name, got list", id="list"),
        pytest.param({"volume_sdf": {"count": 1}}, "volume_sdf.mean: Field required", id="incomplete"),
        pytest.param({"volume_sdf": FIGURES | {"count": 0}}, "volume_sdf.count: .* greater than 0", id="no-points"),
        pytest.param(
            {"volume_sdf": FIGURES | {"mean": [1.0, 2.0]}}, "the same number of components in each", id="widths"
        ),
        pytest.param({"volume_sdf": FIGURES | {"mean": [float("nan")]}}, "mean.0", id="nan"),
        pytest.param({"volume_sdf": FIGURES | {"mode": [1.0]}}, "volume_sdf.mode: Extra", id="unknown"),
        pytest.param({"volume_sdf": FIGURES | {"points_read": 4}}, "at most the count 3, got 4", id="too-many-read"),
    ],
)
def test_documents_without_statistics_are_refused(document: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        statistics_from_dict(document)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("stats.json", "{", r"stats.json: not valid JSON \(", id="no-json"),
        pytest.param("stats.json", '{"a": 1}', "stats.json: expected statistics as noether-zarr stats", id="other"),
        pytest.param("stats.yaml", "", r"stats.yaml: expected a .json file, got YAML; use the .json", id="yaml"),
        pytest.param("other.json", None, r"other.json: cannot be read \(No such file", id="missing"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ArgumentError, match=message):
        load_statistics(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("stats.csv", "stats.csv: expected a file name that ends in .json or .yaml or .yml", id="suffix"),
        pytest.param("no/stats.json", "there is no directory .*no; create it first", id="directory"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as refused:
        save_statistics(STATS, tmp_path / name)
    assert re.escape(str(tmp_path)) in re.escape(str(refused.value))
