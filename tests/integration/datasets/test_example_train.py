"""The example that trains, in short form: ``examples/train.py``."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import pyvista

from support.ahmed import load_run
from support.repository import ROOT

pytestmark = pytest.mark.slow

EXAMPLE = ROOT / "examples" / "train.py"
HELD_OUT = "run_1"
STEPS = 20  # more than an epoch


@dataclass(frozen=True)
class Run:
    output: Path
    printed: str


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Run]:
    """Short parallel trainings, by number of workers."""
    outputs = {workers: tmp_path_factory.mktemp("train") for workers in (0, 1)}
    processes = {workers: start(output, f"--workers={workers}") for workers, output in outputs.items()}
    ended = {workers: process.communicate() for workers, process in processes.items()}
    for workers, (printed, errors) in ended.items():
        assert processes[workers].returncode == 0, printed + errors
        assert "Warning" not in errors
    return {workers: Run(outputs[workers], printed) for workers, (printed, _) in ended.items()}


@pytest.fixture
def printed(runs: dict[int, Run]) -> str:
    return runs[1].printed


@pytest.fixture
def mesh(runs: dict[int, Run]) -> Any:
    return pyvista.read(runs[1].output / "prediction.vtp")


def start(output: Path, *options: str) -> subprocess.Popen[str]:
    """Start the example in an empty directory."""
    command = [sys.executable, str(EXAMPLE), str(output), f"--steps={STEPS}", *options]
    return subprocess.Popen(command, cwd=output, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def losses(printed: str) -> list[float]:
    return [float(loss) for loss in re.findall(r"^step +\d+: loss ([\d.]+)$", printed, re.MULTILINE)]


def relative_errors(printed: str) -> list[float]:
    return [float(error) / 100 for error in re.findall(r"^ +([\d.]+)%  ", printed, re.MULTILINE)]


def test_the_loss_falls(printed: str) -> None:
    first, *_, last = losses(printed)
    assert last < 0.7 * first


def test_the_share_of_the_time_that_waited_for_data_is_printed(printed: str) -> None:
    found = re.search(
        rf"^{STEPS} steps in ([\d.]+) s, of which ([\d.]+) s waiting for data: ([\d.]+)%$", printed, re.MULTILINE
    )
    assert found is not None, printed
    elapsed, waited, percent = map(float, found.groups())
    assert 0 < waited < elapsed
    assert percent == pytest.approx(100 * waited / elapsed, rel=0.1)


def test_the_losses_do_not_depend_on_the_workers(runs: dict[int, Run]) -> None:
    assert losses(runs[0].printed) == losses(runs[1].printed)


def test_the_truth_on_the_mesh_is_the_source_in_its_order(mesh: Any) -> None:
    truth = load_run(HELD_OUT)["surface_pressure"]
    assert mesh.n_cells == len(truth)
    np.testing.assert_array_equal(mesh.cell_data["surface_pressure"], truth.astype(np.float16).astype(np.float32))


def test_the_prediction_on_the_mesh_has_the_error_that_is_printed(mesh: Any, printed: str) -> None:
    truth, predicted, error = (
        mesh.cell_data[name] for name in ("surface_pressure", "predicted_pressure", "pressure_error")
    )
    np.testing.assert_allclose(error, predicted - truth, atol=1e-3)
    assert np.linalg.norm(error) / np.linalg.norm(truth) == pytest.approx(relative_errors(printed)[0], abs=1e-3)


def test_the_nearest_points_in_training_predict_better_than_one_value_everywhere(printed: str) -> None:
    _, nearest, constant = relative_errors(printed)
    assert nearest < 0.2 < 0.8 < constant


def test_the_picture_shows_a_body_in_each_of_its_three_panels(runs: dict[int, Run]) -> None:
    picture = plt.imread(runs[1].output / "prediction.png")[..., :3]
    assert picture.shape == (825, 1650, 3)
    for panel in np.split(picture[70:750], 3, axis=1):
        painted = panel[(panel < 1).any(axis=-1)]
        assert len(painted) > 0.3 * panel[..., 0].size
        assert len(np.unique(painted, axis=0)) > 100
