"""The bundled meshes, which are cut out of run_1, and mappings that read them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.sources import MappedSource, SourceMapping
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from support.ahmed import load_run

MESHES = Path(__file__).parents[1] / "data" / "meshes"
VTK, ENSIGHT = MESHES / "vtk", MESHES / "ensight"

FILES = {
    "vtk": ('file = "{case}/surface.vtp"', 'file = "{case}/volume.vtu"'),
    "ensight": (
        'file = "{case}/{case}.case"\nparts = { include = ["body"] }',
        'file = "{case}/{case}.case"\nparts = { include = ["internalMesh"] }',
    ),
}
# The array `row` of a domain holds the row in run_1's fields of each cell.
MAPPING = """
name = "cut"
id = "{{case}}"

[domains.surface]
{surface}
association = "cell"

[domains.surface.fields]
pressure = "p"
friction = "wallShearStress"
normals = {{ derive = "normals" }}
area = {{ derive = "area" }}
row = "row"

[domains.volume]
{volume}
association = "cell"

[domains.volume.fields]
pressure = "totalPressureCoeff"
velocity = "U"
vorticity = "vorticity"
row = "row"
"""


def cut_mapping(kind: str, *changes: tuple[str, str]) -> SourceMapping:
    """Return the mapping of the bundled VTK or EnSight case, with texts replaced."""
    surface, volume = FILES[kind]
    return edited(MAPPING.format(surface=surface, volume=volume), *changes)


def edited(text: str, *changes: tuple[str, str]) -> SourceMapping:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return parse_mapping(text, "mapping test.toml")


def surface_mapping(
    fields: str = 'pressure = "p"', file: str = "{case}/surface.vtp", domain: str = ""
) -> SourceMapping:
    """Return a mapping with one surface."""
    text = (
        f'name = "s"\nid = "{{case}}"\n[domains.surface]\nfile = "{file}"\n{domain}\n[domains.surface.fields]\n{fields}'
    )
    return parse_mapping(text, "mapping test.toml")


def load_cut(kind: str, *changes: tuple[str, str], root: Path | None = None) -> dict[str, NDArray[Any]]:
    """Load the fields of the bundled case."""
    return MappedSource(root or MESHES / kind, cut_mapping(kind, *changes)).load("run_1").fields


def in_rows_of_run_1(fields: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the fields of run_1 at the cells that `load_cut` returned, in the same order."""
    rows = {domain: fields[f"{domain}_row"].astype(int) for domain in ("surface", "volume")}
    return {name: values[rows[name.partition("_")[0]]] for name, values in load_run("run_1").items()}


def copy_case(kind: str, root: Path) -> Path:
    """Copy the bundled case to a directory in which a test can change it; return the directory of the copy."""
    return Path(shutil.copytree(MESHES / kind / "run_1", root / "run_1"))


def assert_close(given: NDArray[Any], expected: NDArray[Any], scale: float = 1.0) -> None:
    """Assert equality up to the rounding of float32, for values of the magnitude `scale`."""
    np.testing.assert_allclose(given.reshape(expected.shape), expected, rtol=3e-7, atol=3e-7 * scale)
