"""Conversion of a large ``.vtu`` by the command line, compared with VTK's reader; and computing cell centres."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory import peak_unique_bytes
from benchmarks.results import Case, Comparison, Row
from benchmarks.settings import Settings, cores
from benchmarks.tiled_mesh import require_centres, write_tiled
from benchmarks.timing import order_of
from benchmarks.vtk_files import box_shape, write_hexahedra
from noether.data.zarr_store.codec import native
from noether.data.zarr_store.sources import Cells, Polyhedra, cell_centers

__all__ = ["compare_vtu"]

OURS, VTK = "noether", "VTK, reading alone"
_LIMITED = "noether, 2 GB of data at most"
_MEGABYTE = 1e6
_LIMIT_BYTES = 2 << 30
_MAPPING = """
name = "benchmark"
id = "{case}"
[domains.volume]
file = "{case}/volume.vtu"
CONCATENATE
association = "cell"
[domains.volume.fields]
pressure = "p"
velocity = "U"
vorticity = "vorticity"
"""
_READ = """
import sys
from vtkmodules.vtkIOXML import vtkXMLUnstructuredGridReader
reader = vtkXMLUnstructuredGridReader()
reader.SetFileName(sys.argv[1])
reader.Update()
assert reader.GetOutput().GetNumberOfCells() == int(sys.argv[2])
"""
_FACES = np.array([(0, 4, 7, 3), (1, 2, 6, 5), (0, 1, 5, 4), (3, 7, 6, 2), (0, 3, 2, 1), (4, 5, 6, 7)])


def compare_vtu(settings: Settings) -> Comparison:
    """Convert a file of hexahedra, and compute centres of cells in memory."""
    repetitions = settings.repetitions(quick=1, full=3)
    shape = box_shape(settings.n_vtu_cells)
    n_cells, n_points = int(np.prod(shape)), int(np.prod(np.array(shape) + 1))
    tree = settings.work_dir / f"vtu-tree-{n_cells}"
    (tree / "run_1").mkdir(parents=True, exist_ok=True)
    file = write_hexahedra(tree / "run_1" / "volume.vtu", shape)
    root = settings.work_dir / "converted-vtu"
    convert = partial(
        _convert, tree, root, settings.work_dir / "vtu-mapping.toml", _MAPPING.replace("CONCATENATE\n", "")
    )
    read = [sys.executable, "-c", _READ, str(file), str(n_cells)]
    # Memory is measured first, which brings the file into the page cache.
    peak = convert(watched=True)[1] / _MEGABYTE
    seconds: dict[str, list[float]] = {OURS: [], VTK: []}
    for repetition in range(repetitions):
        for place in order_of(repetition, len(seconds)):
            name = list(seconds)[place]
            seconds[name].append(convert()[0] if name == OURS else _seconds(read))
    times = Case("time", "s", [Row(name, values) for name, values in seconds.items()])
    times.within(VTK, at_most=1.3)
    memory = Case("peak memory", "MB", [Row(OURS, [peak])])
    memory.below(400 + n_points * (3 * 4 + 2) / _MEGABYTE)
    cases = [times, memory, *_centers(repetitions)]
    if settings.mode == "full":
        cases += [*_real(settings), _limited(settings)]
    shutil.rmtree(root, ignore_errors=True)
    parameters = {"cells": n_cells, "file_bytes": file.stat().st_size, "repetitions": repetitions}
    return Comparison.of("vtu", settings, parameters, cases)


def _real(settings: Settings) -> list[Case]:
    """Convert copies of a piece of a real mesh with polyhedra, and compare its centres with OpenFOAM's."""
    tree, root = settings.work_dir / "vtu-tiled", settings.work_dir / "converted-tiled"
    (tree / "run_1").mkdir(parents=True, exist_ok=True)
    _, n_cells, n_points = write_tiled(tree / "run_1" / "volume.vtu", settings.n_tiled_cells)
    mapping = _MAPPING.replace("CONCATENATE\n", "")
    convert = partial(_convert, tree, root, settings.work_dir / "vtu-tiled-mapping.toml", mapping)
    peak = convert(watched=True)[1] / _MEGABYTE
    seconds = convert()[0]
    worst = require_centres(root, "run_1")
    shutil.rmtree(root, ignore_errors=True)
    of_case = f"{n_cells:,} cells of a real case"
    memory = Case(f"peak memory, {of_case}", "MB", [Row(OURS, [peak])])
    memory.below(400 + n_points * (3 * 4 + 2) / _MEGABYTE)
    return [Case(of_case, "s", [Row(OURS, [seconds], {"float32 ulp from OpenFOAM's centres": worst})]), memory]


def _limited(settings: Settings) -> Case:
    """Convert a larger file, published in two pieces, with processes that are limited to two gigabytes."""
    shape = box_shape(settings.n_limited_cells)
    tree = settings.work_dir / f"vtu-parts-{int(np.prod(shape))}"
    parts = [tree / "run_1" / f"volume.vtu.{number:02}.part" for number in (0, 1)]
    if not parts[1].exists():
        parts[0].parent.mkdir(parents=True, exist_ok=True)
        whole = write_hexahedra(tree / "run_1" / "whole.vtu", shape)
        with whole.open("r+b") as file:
            half = whole.stat().st_size // 2
            file.seek(half)
            with parts[1].open("wb") as rest:
                shutil.copyfileobj(file, rest, 16 << 20)
            file.truncate(half)
        whole.rename(parts[0])
    mapping = _MAPPING.replace("CONCATENATE", 'concatenate = "{case}/volume.vtu.{part}.part"')
    root, where = settings.work_dir / "converted-parts", settings.work_dir / "vtu-parts-mapping.toml"
    taken = _convert(tree, root, where, mapping, limited=True)[0]
    shutil.rmtree(root, ignore_errors=True)
    return Case(f"{int(np.prod(shape)):,} cells in two parts", "s", [Row(_LIMITED, [taken])])


def _convert(
    tree: Path, root: Path, where: Path, mapping: str, *, watched: bool = False, limited: bool = False
) -> tuple[float, int]:
    """Convert by the command; return its seconds, and its peak memory if it is watched."""
    where.write_text(mapping)
    shutil.rmtree(root, ignore_errors=True)
    command = [str(Path(sys.executable).with_name("noether-zarr")), "convert", str(tree), str(root)]
    start = time.perf_counter()
    with subprocess.Popen(
        [*command, "--mapping", str(where)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=_limit if limited else None,
        env=os.environ | {"TMPDIR": str(root.parent)},
    ) as process:
        peak = peak_unique_bytes(process) if watched else 0
        said = process.communicate()[1].decode(errors="replace")
    if process.returncode:
        raise RuntimeError(f"noether-zarr convert: {said.strip()[-500:]}")
    return time.perf_counter() - start, peak


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (_LIMIT_BYTES, _LIMIT_BYTES))


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - start


def _centers(repetitions: int) -> list[Case]:
    """Compute centres of hexahedra, and of the same cells as polyhedra, in native code and with NumPy."""
    points, hexahedra = _box(100)
    corners = hexahedra.connectivity.reshape(-1, 8)[:, _FACES]
    n = len(hexahedra)
    faces = Polyhedra(np.arange(n + 1) * 6, np.arange(6 * n), np.arange(6 * n + 1) * 4, corners.reshape(-1))
    polyhedra = Cells(np.full(n, 42, np.uint8), hexahedra.offsets, hexahedra.connectivity, faces)
    cases = []
    for name, cells, at_least in (("hexahedra", hexahedra, 15), ("polyhedra", polyhedra, 8)):
        computed = partial(cell_centers, points, cells, cores())
        seconds = {OURS: [_timed(computed) for _ in range(3 * repetitions)]}
        native_function, native.cell_centers = native.cell_centers, None
        try:
            seconds["NumPy"] = [_timed(computed) for _ in range(repetitions)]
        finally:
            native.cell_centers = native_function
        case = Case(f"centres of {n:,} {name} in memory", "s", [Row(one, values) for one, values in seconds.items()])
        case.faster("NumPy", at_least=at_least)
        cases.append(case)
    return cases


def _timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _box(side: int) -> tuple[Any, Cells]:
    numbers = np.arange(side + 1)
    points = np.stack(np.meshgrid(numbers, numbers, numbers, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float32)
    points += np.random.default_rng(0).uniform(-0.2, 0.2, points.shape).astype(np.float32)
    layer, row = (side + 1) ** 2, side + 1
    first = (numbers[:-1, None, None] * layer + numbers[:-1, None] * row + numbers[:-1]).reshape(-1, 1)
    corners = first + np.array([0, layer, layer + row, row, 1, layer + 1, layer + row + 1, row + 1])
    n = len(corners)
    return points, Cells(np.full(n, 12, np.uint8), 8 * np.arange(n + 1), corners.reshape(-1))
