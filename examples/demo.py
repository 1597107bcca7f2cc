"""Write the bundled Ahmed body simulations and their store, inspect the store, and draw points from it.

Run it with ``./scripts/demo``, or with ``python examples/demo.py [OUTPUT_DIRECTORY]``. The directory is new or empty;
the default, demo-output, is replaced.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console
from rich.table import Table

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.plotting import draw_sample

SAMPLE = "run_1"
VOLUME_DRAWS = (256, 1024, 4096)
SURFACE_DRAWS = (128, 512, 2041)
FIELDS = ("volume_position", "volume_pressure", "volume_velocity")


def main() -> None:
    """Run all steps of the demo."""
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output").resolve()
    if len(sys.argv) == 1:
        shutil.rmtree(output, ignore_errors=True)
    store = output / "store"
    command("demo", str(output))
    command("info", str(store))
    show_costs(store)
    print(f"\npicture of three draws: {plot_draws(store, output / 'draws.png')}")


def command(*arguments: str) -> None:
    """Print and run a command of the installed command line."""
    print(f"\n$ noether-zarr {' '.join(arguments)}", flush=True)
    program = Path(sys.executable).with_name("noether-zarr")
    if code := subprocess.run([program, *arguments], check=False).returncode:  # noqa: S603
        sys.exit(code)


def show_costs(store: Path) -> None:
    """Show requests and bytes of draws of several sizes, compared with the whole domain."""
    reader = ZarrChunkReader(store)
    whole = reader.manifest.sample(SAMPLE).domains["volume"].n_points
    whole_bytes = reader.cost(SAMPLE, {"volume": None}, FIELDS).total_bytes or 0
    table = Table()
    for column in ("points", "requests", "bytes", "of the whole", "milliseconds", "different draws"):
        table.add_column(column, justify="right")
    for num_points in (*VOLUME_DRAWS, whole):
        cost = reader.cost(SAMPLE, {"volume": num_points}, FIELDS, generator=0)
        start = time.perf_counter()
        reader.read_arrays(SAMPLE, {"volume": num_points}, generator=0, fields=FIELDS)
        elapsed = time.perf_counter() - start
        n_bytes = cost.total_bytes or 0
        share = f"{n_bytes / whole_bytes:.1%}"
        n_draws = f"{cost.n_draws['volume']:,}"
        table.add_row(
            f"{num_points:,}", f"{cost.total_requests}", f"{n_bytes:,}", share, f"{1000 * elapsed:.2f}", n_draws
        )
    print(f"\ndraws of {', '.join(FIELDS)} from {SAMPLE}, of {whole:,} points")
    Console().print(table)


def plot_draws(store: Path, path: Path) -> Path:
    """Plot the surface pressure of one sample at three sizes of draw, all in the same colours."""
    reader = ZarrChunkReader(store)
    angle, _, _, speed = reader.attributes(SAMPLE)["design_parameters"]
    pressure = reader.read_arrays(SAMPLE, fields=["surface_pressure"])["surface_pressure"]
    low, high = np.percentile(pressure, [5, 95])
    figure = plt.figure(figsize=(15, 4.2), layout="constrained")
    axes = figure.subplots(1, len(SURFACE_DRAWS))
    for axis, num_points in zip(axes, SURFACE_DRAWS, strict=True):
        # The body is symmetric about y = 0, and the mesh covers one half of it.
        points = draw_sample(
            axis,
            reader,
            SAMPLE,
            "surface_pressure",
            num_points=num_points,
            cmap="turbo",
            value_range=(low, high),
            mirror="y",
        )
    figure.colorbar(points, ax=axes, label="kinematic pressure (m²/s²)", shrink=0.8)
    figure.suptitle(f"Ahmed body, slant {angle:.0f}°, {speed:.0f} m/s: draws of the surface pressure")
    figure.savefig(path, dpi=110)
    return path


if __name__ == "__main__":
    main()
