"""The command `plot`."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from support.reading import write_runs
from support.trees import call


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("plot") / "store", "run_1", chunk_points=512)


def test_the_command_writes_a_picture(store: Path, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    options = ["--field", "surface_friction", "--component", "x", "--points", "500", "--view", "-120,30"]
    options += ["--range", "-1,1", "--mirror", "y", "--slice", "z=0.2", "--size", "600,300", "--cmap", "turbo"]
    ran = call("plot", store, "run_1", picture, *options)
    assert (ran.code, ran.output) == (0, f"plotted: {picture}\n")
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert struct.unpack(">II", data[16:24]) == (600, 300)


def test_zero_points_are_all(store: Path, tmp_path: Path) -> None:
    made = []
    for points in ("0", "2041", "1000"):
        picture = tmp_path / f"{points}.png"
        assert call("plot", store, "run_1", picture, "--field", "surface_area", "--points", points).code == 0
        made.append(picture.read_bytes())
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--view", "1,b"], 2, "--view: expected two numbers, got '1,b'; write AZIMUTH,ELEVATION"),
        (["--view", "under"], 2, "view: expected one of corner, front, back, side, top, bottom, got 'under'"),
        (["--range", "1"], 2, "--range: expected two numbers, got '1'; write LOW,HIGH"),
        (["--size", "600"], 2, "--size: expected two numbers, got '600'; write WIDTH,HEIGHT"),
        (["--size", "600.5,300"], 2, "--size: expected whole numbers, got"),
        (["--slice", "y"], 2, "--slice: expected an axis and a number, got 'y'; write, for example, y=0"),
        (["--slice", "q=0"], 2, "slab: expected one of x, y, z, got 'q'"),
        (["--field", "surface_presure"], 1, "field 'surface_presure' is not in the store; did you mean"),
        (["--points", "-1"], 2, "num_points: expected a whole number of at least 1, got -1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_options_are_one_line_and_an_exit_code(
    store: Path, tmp_path: Path, options: list[str], code: int, message: str
) -> None:
    ran = call("plot", store, "run_1", tmp_path / "a.png", "--field", "surface_area", *options)
    assert (ran.code, ran.stdout) == (code, "")
    assert ran.stderr.startswith(f"error: {message}")
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.slow
def test_without_matplotlib_the_message_has_the_line_that_installs_it(store: Path) -> None:
    code = """
import sys
sys.modules["matplotlib"] = None
from noether.data.zarr_store.cli import main
main()
"""
    command = [sys.executable, "-c", code, "plot", str(store), "run_1", "a.png", "--field", "surface_area"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    message = "plotting a sample needs matplotlib, which is not installed"
    remedy = "install it with: pip install 'noether-zarr-store[plot]'"
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", f"error: {message}; {remedy}\n")
