"""The example that computes a field: ``examples/pressure_coefficient.py``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from noether.data.zarr_store import ZarrChunkReader
from support.ahmed import AHMED, RUNS, load_run
from support.repository import ROOT

EXAMPLE = ROOT / "examples" / "pressure_coefficient.py"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_the_example_adds_the_pressure_coefficient(tmp_path: Path, workers: int) -> None:
    ran = subprocess.run(
        [sys.executable, str(EXAMPLE), str(tmp_path), f"--workers={workers}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    first, *lines = ran.stdout.splitlines()
    assert first == f"6 samples have surface_cp in {tmp_path / 'ahmed'}"
    assert lines[0] == "run_1: cp from -1.53 to 1.02"
    assert len(lines) == len(RUNS)
    for run in RUNS:
        speed = float(np.load(AHMED / run / "design_parameters.npy")[3])
        expected = load_run(run)["surface_pressure"].squeeze() / (0.5 * speed**2)
        given = ZarrChunkReader(tmp_path / "ahmed").read_arrays(run, order="original", fields=["surface_cp"])
        np.testing.assert_allclose(given["surface_cp"], expected, rtol=2e-3, atol=1e-6)
