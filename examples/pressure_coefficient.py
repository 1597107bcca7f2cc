"""Add the pressure coefficient to a converted store: a field computed from another field.

Run it with ``python examples/pressure_coefficient.py [OUTPUT_DIRECTORY]``; ``--workers 2`` computes in two processes.

The pressure of these incompressible flows is p / rho, in m²/s², and 0 far away. So the coefficient
cp = (p - p_inf) / (0.5 rho u_inf²) is ``surface_pressure / (0.5 u_inf²)``, with the speed of each simulation.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.convert import convert, map_fields, open_writer
from noether.data.zarr_store.demo import SIMULATIONS
from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.sources.presets import find_preset

# The meshes are small (2,000 faces), so the chunks are small too. Use the default, 4,096, for real meshes.
CHUNK_POINTS = 256


def pressure_coefficient(fields: dict[str, NDArray[Any]], attributes: dict[str, Any]) -> NDArray[Any]:
    """Return cp of all points of a sample, in the order of the pressure."""
    _slant, _length, _height, speed = attributes["design_parameters"]
    return fields["surface_pressure"] / np.float32(0.5 * speed**2)


def main() -> None:
    """Convert the bundled simulations, and add the coefficient."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", nargs="?", default="cp-output", type=Path, help="directory to write into")
    parser.add_argument(
        "--workers", default=0, type=int, help="number of processes that compute (default: %(default)s)"
    )
    options = parser.parse_args()
    store = options.output.resolve() / "ahmed"
    shutil.rmtree(store, ignore_errors=True)

    preset = find_preset("ahmedml")
    source = TreeSource(SIMULATIONS, preset.filemap, preset.optional)
    convert(source, open_writer(store, source.filemap, preset.name, chunk_points=CHUNK_POINTS))

    report = map_fields(
        store,
        pressure_coefficient,
        reads=["surface_pressure"],
        writes="surface_cp",
        units="1",
        long_name="pressure coefficient",
        workers=options.workers,
    )
    print(f"{len(report.having('converted'))} samples have {', '.join(report.joined)} in {store}")

    reader = ZarrChunkReader(store)
    for sample_id in reader.manifest.samples:
        cp = reader.read_arrays(sample_id, fields=["surface_cp"])["surface_cp"]
        print(f"{sample_id}: cp from {cp.min():.2f} to {cp.max():.2f}")


if __name__ == "__main__":
    main()
