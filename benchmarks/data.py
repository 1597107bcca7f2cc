"""Samples of any size, made from the bundled simulations.

A real mesh of millions of points is too large to bundle. Each real cell is therefore repeated, moved by less than its
own size, with its values changed smoothly over space. So the spread of values within a shuffled chunk, which decides
how well chunks compress, stays that of the solver's fields. `compression_ratios` measures how well that holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.demo import SIMULATIONS

__all__ = ["DOMAIN", "FIELDS", "FILEMAP", "SAMPLE", "Arrays", "compression_ratios", "sample_blocks", "source_arrays"]

Arrays = dict[str, NDArray[Any]]

SAMPLE = "run_1"
DOMAIN = "volume"
_FILES = {
    "volume_position": "volume_cell_position.npy",
    "volume_pressure": "volume_cell_totalpcoeff.npy",
    "volume_velocity": "volume_cell_velocity.npy",
    "volume_vorticity": "volume_cell_vorticity.npy",
}
FILEMAP = FileMap(**_FILES)
FIELDS = tuple(_FILES)
WIDTHS = {"volume_position": 3, "volume_pressure": 1, "volume_velocity": 3, "volume_vorticity": 3}

_RUNS = tuple(SIMULATIONS / f"run_{i}" for i in range(1, 7))
_SEED = 20_240
# Version in the names of cached files: increase it with every change of the generated values.
_VERSION = 1
_MODES = 6


def source_arrays(work_dir: Path, n_points: int) -> Arrays:
    """Return the fields of the generated sample in source order, as memory maps of float32. They are made once.

    Returns
    -------
    dict of str to ndarray of float32
        Shapes ``(n_points, 3)``, and ``(n_points, 1)`` for the pressure.
    """
    directory = work_dir / f"source-v{_VERSION}-{n_points}"
    files = {field: directory / f"{field}.npy" for field in FIELDS}
    if not (directory / "complete").exists():
        directory.mkdir(parents=True, exist_ok=True)
        maps = {
            field: np.lib.format.open_memmap(file, "w+", dtype=np.float32, shape=(n_points, WIDTHS[field]))
            for field, file in files.items()
        }
        start = 0
        for block in sample_blocks(n_points):
            stop = start + len(block["volume_position"])
            for field, values in block.items():
                maps[field][start:stop] = values
            start = stop
        for mapped in maps.values():
            mapped.flush()
        (directory / "complete").touch()
    return {field: np.load(file, mmap_mode="r") for field, file in files.items()}


def sample_blocks(n_points: int) -> Iterator[Arrays]:
    """Generate the sample in blocks of about 18,000 points, so that any size fits into memory.

    Yields
    ------
    dict of str to ndarray of float32
        Blocks of rows of every field, `n_points` rows in total, the same in every call.
    """
    cells = [_real_cells(run) for run in _RUNS]
    made = replica = 0
    while made < n_points:
        block = _replica(*cells[replica % len(cells)], replica)
        wanted = min(len(block["volume_position"]), n_points - made)
        yield {field: values[:wanted] for field, values in block.items()}
        made += wanted
        replica += 1


def compression_ratios(work_dir: Path, generated: Arrays, chunk_points: int) -> dict[str, dict[str, float]]:
    """Compare how well generated and real fields compress: stored bytes over bytes of the stored dtype.

    Returns
    -------
    dict of str to {"real": float, "generated": float}
        Ratios by field. At most 200,000 points of the generated sample are used.
    """
    rows = slice(0, 200_000)
    kept = {field: np.array(values[rows]) for field, values in generated.items()}
    real = {field: np.load(_RUNS[0] / file) for field, file in _FILES.items()}
    samples = {"real": real, "generated": kept}
    ratios: dict[str, dict[str, float]] = {field: {} for field in FIELDS}
    for name, arrays in samples.items():
        root = work_dir / f"ratio-{name}"
        writer = ZarrStoreWriter(root, FILEMAP, "ratio", chunk_points=chunk_points)
        writer.write_group(SAMPLE, arrays)
        for field in FIELDS:
            array = root / f"{SAMPLE}.zarr" / DOMAIN / field.removeprefix(f"{DOMAIN}_") / "c"
            stored = sum(file.stat().st_size for file in array.rglob("*") if file.is_file())
            ratios[field][name] = stored / (arrays[field].size * (4 if field == "volume_position" else 2))
    return ratios


def _real_cells(run: Path) -> tuple[Arrays, NDArray[np.float32]]:
    """Load a simulation, scaled to the inlet speed of the first one, and the size of each of its cells, in metres."""
    fields = {field: np.load(run / file) for field, file in _FILES.items()}
    fields["volume_pressure"] = fields["volume_pressure"].reshape(-1, 1)
    # A sample has one inlet speed. Without scaling, its chunks would hold six flows, and compress worse than real ones.
    scale = np.load(_RUNS[0] / "design_parameters.npy")[3] / np.load(run / "design_parameters.npy")[3]
    for field in ("volume_velocity", "volume_vorticity"):
        fields[field] = (fields[field] * scale).astype(np.float32)
    # Neighbours in mesh order are mostly neighbours in space. Where the order jumps, use the other neighbour.
    steps = np.linalg.norm(np.diff(fields["volume_position"], axis=0), axis=1)
    size = np.minimum(np.append(steps, np.inf), np.insert(steps, 0, np.inf))
    return fields, np.minimum(size, 0.3).astype(np.float32)


def _replica(cells: Arrays, size: NDArray[np.float32], replica: int) -> Arrays:
    """Move every cell by up to half of its size, and change its values smoothly, by about 1 %."""
    rng = np.random.default_rng(np.random.SeedSequence([_SEED, replica]))
    shift = rng.uniform(-0.5, 0.5, cells["volume_position"].shape).astype(np.float32)
    position = cells["volume_position"] + shift * size[:, None]
    made = {"volume_position": position}
    for field in FIELDS[1:]:
        values = cells[field]
        made[field] = values * (1 + 0.01 * _smooth(position, values.shape[1], rng))
    return made


def _smooth(position: NDArray[np.float32], width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Evaluate a random smooth function of space: a few waves, half a metre and longer, of variance one."""
    waves = rng.normal(0.0, 4.0, (_MODES, 3)).astype(np.float32)
    phases = rng.uniform(0.0, 2 * np.pi, (_MODES, 1, width)).astype(np.float32)
    angles = np.einsum("mk,nk->mn", waves, position)[:, :, None] + phases
    total: NDArray[np.float32] = np.sin(angles).sum(axis=0) * np.float32(np.sqrt(2 / _MODES))
    return total
