"""The commands `stats` and `merge-stats`."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import matplotlib
import numpy as np
import pytest
import yaml
from fsspec.implementations.local import LocalFileSystem

from noether.data.schemas import FileMap
from noether.data.zarr_store.statistics import (
    calculate_store_statistics,
    load_statistics,
    plot_histograms,
    save_statistics,
    statistics_to_dict,
)
from support.ahmed import load_run
from support.counting_disk import CountingDisk, counted_root
from support.lanes import few_fast
from support.reading import write_runs, write_samples
from support.trees import call, run_on_terminal

SPLITS = {"train": ["run_1", "run_3"], "test": ["run_2"]}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_runs(tmp_path_factory.mktemp("stats") / "store", "run_1", "run_2", "run_3", chunk_points=512)
    manifest = json.loads((root / "manifest.json").read_text())
    (root / "manifest.json").write_text(json.dumps(manifest | {"splits": SPLITS}))
    return root


def rows(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith(("│", "┃"))]
    return [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in lines]


def test_the_table_has_a_row_for_each_component(store: Path) -> None:
    ran = call("stats", store)
    stats = calculate_store_statistics(store)
    header, *body = rows(ran.stdout)
    assert (ran.code, ran.stderr) == (0, "")
    assert header == ["field", "", "points", "mean", "std", "min", "max", "log mean", "log std"]
    assert [row[:2] for row in body] == [
        [field, "xyz"[i] if one.width == 3 else ""] for field, one in stats.items() for i in range(one.width)
    ]
    sdf = stats["volume_sdf"]
    figures = (sdf.mean, sdf.std, sdf.min, sdf.max, sdf.logmean, sdf.logstd)
    assert body[-1][2:] == [f"{sdf.count:,}", *(f"{figure[0]:.5g}" for figure in figures)]
    assert re.search(r"^positions of all domains: from \(-3\.\d+, .*\) to \(\d", ran.stdout, re.M)


def test_with_a_tolerance_there_are_margins_in_place_of_extremes(store: Path) -> None:
    ran = call("stats", store, "--tolerance", 0.05, "--field", "surface_area,volume_sdf", "--seed", 3)
    header, *body = rows(ran.stdout)
    stats = calculate_store_statistics(store, fields=["surface_area", "volume_sdf"], tolerance=0.05, seed=3)
    assert header == ["field", "", "points", "mean", "±", "std", "log mean", "log std"]
    assert [row[4] for row in body] == [f"{one.mean_margin[0]:.5g}" for one in stats.values()]
    share = max(one.points_read / one.count for one in stats.values())
    assert f"estimates, from at most {share:.2%} of the points of a field" in ran.stdout
    assert "with a confidence of 95%; min and max need the full pass, without --tolerance" in ran.stdout
    assert "positions" not in ran.stdout


def test_samples_and_fields_are_chosen_by_options(store: Path, tmp_path: Path) -> None:
    ran = call(
        "stats", store, "--split", "train", "--limit", 1, "--field", "volume_sdf, volume_pressure",
        "--field", "surface_area", "--exclude-field", "volume_pressure", "--workers", 2,
        "--output", tmp_path / "s.json",
    )  # fmt: skip
    assert (ran.code, ran.stdout.splitlines()[-1]) == (0, f"written: {tmp_path / 's.json'}")
    expected = calculate_store_statistics(store, sample_ids=["run_1"], fields=["surface_area", "volume_sdf"])
    assert statistics_to_dict(load_statistics(tmp_path / "s.json")) == statistics_to_dict(expected)


def test_yaml_has_what_json_has(store: Path, tmp_path: Path) -> None:
    for name in ("s.json", "s.yaml"):
        assert call("stats", store, "--output", tmp_path / name).code == 0
    assert yaml.safe_load((tmp_path / "s.yaml").read_text()) == json.loads((tmp_path / "s.json").read_text())


def test_statistics_of_splits_are_merged_into_those_of_the_store(store: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{split}.json" for split in SPLITS]
    for split, file in zip(SPLITS, files, strict=True):
        assert call("stats", store, "--split", split, "--output", file).code == 0
    ran = call("merge-stats", *files, "--output", tmp_path / "all.json")
    assert (ran.code, ran.stdout.splitlines()[-1]) == (0, f"written: {tmp_path / 'all.json'}")
    assert rows(ran.stdout) == rows(call("stats", store).stdout)
    merged, expected = load_statistics(tmp_path / "all.json"), calculate_store_statistics(store)
    for field, one in expected.items():
        np.testing.assert_allclose(merged[field].std, one.std, rtol=1e-12)
        np.testing.assert_array_equal(merged[field].max, one.max)
        assert merged[field].count == one.count


def test_values_that_were_left_out_are_noted(tmp_path: Path) -> None:
    run = load_run("run_1")
    pressure = run["volume_pressure"].copy()
    pressure[:5] = np.nan
    root = write_samples(tmp_path / "store", {"run_1": run | {"volume_pressure": pressure}}, non_finite="allow")
    ran = call("stats", root, "--field", "volume_pressure")
    assert ran.stdout.splitlines()[-1] == "note: volume_pressure has 5 NaN or infinite values, which are left out"


@pytest.mark.slow
@pytest.mark.parametrize("tolerance", few_fast([[], ["--tolerance", 0.1]]), ids=["full", "estimates"])
def test_histograms_are_plotted_with_a_panel_for_each_field(
    store: Path, tmp_path: Path, tolerance: list[object]
) -> None:
    sizes = []
    for fields in ("volume_velocity", "volume_velocity,volume_pressure,surface_area,volume_sdf"):
        picture = tmp_path / "h.png"
        ran = call("stats", store, "--field", fields, "--plot", picture, *tolerance)
        assert (ran.code, ran.stdout.splitlines()[-1]) == (0, f"plotted: {picture}")
        data = picture.read_bytes()
        assert data.startswith(b"\x89PNG")
        sizes.append(struct.unpack(">II", data[16:24]))
    (width, height), (more_width, more_height) = sizes
    assert (more_width, more_height) == (3 * width, 2 * height)


def test_histograms_name_the_units_of_fields(tmp_path: Path) -> None:
    """Text of the store is shown as written, also where Matplotlib would take it for a formula."""
    few = {field: load_run("run_1")[field][:20] for field in ("volume_position", "volume_sdf", "volume_pressure")}
    files = FileMap(volume_position="x.npy", volume_distance_to_surface="sdf.npy", volume_pressure="p.npy")
    meaning = {"volume_sdf": {"units": "m", "long_name": "distance $x^{$"}, "volume_pressure": {"units": "Pa"}}
    root = write_samples(tmp_path / "store", {"run_1": few}, files, field_attributes=meaning)
    stats = calculate_store_statistics(root)
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        plot_histograms(root, stats, tmp_path / "h.svg")
    picture = (tmp_path / "h.svg").read_text()
    for label in ("distance $x^{$ (m)", "volume_pressure (Pa)", ">volume_position<", "share of points per bin"):
        assert label in picture


@pytest.mark.slow
def test_a_field_that_is_constant_or_has_no_finite_value_is_plotted_too(tmp_path: Path) -> None:
    run = load_run("run_1")
    arrays = run | {"volume_pressure": np.full_like(run["volume_pressure"], np.nan)}
    arrays["volume_sdf"] = np.full_like(run["volume_sdf"], 2)
    root = write_samples(tmp_path / "store", {"run_1": arrays}, non_finite="allow")
    ran = call("stats", root, "--field", "volume_pressure,volume_sdf", "--plot", tmp_path / "h.svg")
    assert ran.code == 0, ran.output
    assert (tmp_path / "h.svg").stat().st_size > 0


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--output", "stats.csv"], 2, "stats.csv: expected a file name that ends in .json or .yaml or .yml"),
        (["--output", "no/stats.json"], 2, "no/stats.json: there is no directory /"),
        (["--plot", "h.gif"], 2, "h.gif: expected a file name that ends in .png or .pdf or .svg"),
        (["--tolerance", "2"], 2, "tolerance: expected a number above 0 and below 1"),
        (["--workers", "0"], 2, "max_workers: expected a whole number of at least 1, got 0"),
        (["--split", "trian"], 1, "split 'trian' is not in the store; did you mean 'train'?"),
        (["--field", "sdf"], 1, "field 'sdf' is not in the store"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_wrong_options_are_one_line_and_an_exit_code(store: Path, options: list[str], code: int, message: str) -> None:
    ran = call("stats", store, *options)
    assert (ran.code, ran.stdout) == (code, "")
    assert ran.stderr.startswith(f"error: {message}")
    assert len(ran.stderr.splitlines()) == 1


def test_a_wrong_file_name_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    ran = call("stats", tmp_path / "no store", "--output", "stats.csv")
    assert ran.stderr.startswith("error: stats.csv: expected a file name")
    assert call("merge-stats", tmp_path / "no.json", "--output", "stats.csv").stderr == ran.stderr


def test_files_that_do_not_fit_together_are_refused(store: Path, tmp_path: Path) -> None:
    stats = calculate_store_statistics(store, fields=["volume_sdf", "volume_velocity"])
    save_statistics({"volume_sdf": stats["volume_sdf"]}, tmp_path / "a.json")
    save_statistics({"volume_sdf": stats["volume_velocity"]}, tmp_path / "b.json")
    ran = call("merge-stats", tmp_path / "a.json", tmp_path / "b.json")
    assert ran.stderr == "error: field volume_sdf: merge: expected 1 components as in the first, got 3\n"
    assert call("merge-stats", tmp_path / "c.json").code == 2


@pytest.mark.slow
def test_without_matplotlib_the_message_has_the_line_that_installs_it(store: Path) -> None:
    code = """
import sys
sys.modules["matplotlib"] = None
from noether.data.zarr_store.cli import main
main()
"""
    command = [sys.executable, "-c", code, "stats", str(store), "--plot", "h.png"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    message = (
        "plotting histograms needs matplotlib, which is not installed; "
        "install it with: pip install 'noether-zarr-store[plot]'"
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", f"error: {message}\n")


@pytest.mark.slow
def test_a_terminal_shows_the_progress(store: Path) -> None:
    ran = run_on_terminal("stats", store)
    assert ran.code == 0
    assert re.search(r"reading.*%.*left", ran.stdout)


class InterruptedDisk(LocalFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """Ctrl-C comes while a sample is read."""

    protocol = "interrupteddisk"

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        if ".zarr/" in path:
            raise KeyboardInterrupt
        return bytes(super().cat_file(path, start=start, end=end, **kwargs))


fsspec.register_implementation("interrupteddisk", InterruptedDisk, clobber=True)


@pytest.mark.parametrize("workers", [1, 3])
def test_ctrl_c_says_that_nothing_was_written(store: Path, tmp_path: Path, workers: int) -> None:
    output = tmp_path / "stats.json"
    ran = call("stats", f"interrupteddisk://{store}", "--workers", workers, "--output", output)
    assert (ran.code, ran.output) == (130, "interrupted; nothing was written\n")
    assert not output.exists()


@pytest.mark.slow
def test_points_of_64_samples_at_most_are_plotted(tmp_path: Path) -> None:
    few = {field: load_run("run_1")[field][:20] for field in ("volume_position", "volume_sdf")}
    files = FileMap(volume_position="x.npy", volume_distance_to_surface="sdf.npy")
    root = write_samples(tmp_path / "store", {f"run_{number}": few for number in range(70)}, files)
    stats = calculate_store_statistics(root, fields=["volume_sdf"])
    plot_histograms(counted_root(root), stats, tmp_path / "h.png")
    assert sum(path.endswith("/c/0/0") for path in CountingDisk.read) == 64
