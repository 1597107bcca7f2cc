"""Which files an EnSight case or a ``.vtm`` brings along."""

from __future__ import annotations

import pytest

from noether.data.zarr_store.sources.referenced_files import files_beside, name_outside, named_files
from noether.data.zarr_store.stores import StoredObject

CASE = """FORMAT
type: ensight gold
GEOMETRY
model: 1 mesh.geo**
VARIABLE
scalar per element: 1 p "data/p [Pa].****"
vector per node: U data/U[0].500
constant per case: time 0.5
TIME
filename start number: 7
"""
VTM = """<VTKFile><vtkMultiBlockDataSet>
<DataSet index="0" name="a" file="a.vtu"/><Block><DataSet file = './parts/b.vtp'></DataSet></Block>
<DataSet file="../outside.vtu"/><DataSet profile="c.vtu"/></vtkMultiBlockDataSet></VTKFile>"""


def brought_along(key: str, text: str, *keys: str) -> list[str]:
    listing = [StoredObject(name, 1, "") for name in (key, *keys)]
    return [item.key for item in named_files(key, text, files_beside([key], listing))]


@pytest.mark.parametrize(
    ("file", "is_named"),
    [
        ("mesh.geo07", True),
        ("data/U[0].500", True),
        ("data/U0.500", False),
        ("data/p [Pa].0500", True),
        ("data/p.500", False),
        ("mesh.ge", False),
        ("more/mesh.geo07", False),
        ("U", True),  # a word of the case, though not as a file
    ],
)
@pytest.mark.parametrize("directory", ["", "run_1/case/"], ids=["at the root", "below"])
def test_a_case_names_its_geometry_and_variables(directory: str, file: str, is_named: bool) -> None:
    expected = [f"{directory}{file}"] if is_named else []
    assert brought_along(f"{directory}run.case", CASE, f"{directory}{file}") == expected


def test_a_vtm_names_its_blocks() -> None:
    files = ["run/a.vtu", "run/parts/b.vtp", "run/c.vtu", "outside.vtu", "other/a.vtu"]
    assert brought_along("run/m.vtm", VTM, *files) == ["run/a.vtu", "run/parts/b.vtp"]


@pytest.mark.parametrize(
    ("key", "file", "is_outside"),
    [
        ("run_1/case/m.vtm", "../mesh/a.vtu", False),
        ("run_1/case/m.vtm", "../../a.vtu", False),
        ("run_1/case/m.vtm", "../../../a.vtu", True),
        ("run_1/case/m.vtm", "a/../../../../b.vtu", True),
        ("run_1/case/m.vtm", "..\\..\\..\\a.vtu", True),
        ("m.vtm", "../a.vtu", True),
        ("m.vtm", "..a.vtu", False),
        ("run_1/m.vtm", "/etc/passwd", True),
    ],
)
def test_a_file_outside_of_the_root_is_told(key: str, file: str, is_outside: bool) -> None:
    vtm = f'<VTKFile><DataSet file="a.vtu"/><DataSet file="{file}"/></VTKFile>'
    assert name_outside(key, vtm) == (file if is_outside else None)
    case = f"FORMAT\ntype: ensight gold\nGEOMETRY\nmodel: {file}\n"
    assert name_outside(key.replace(".vtm", ".case"), case) == (file if is_outside else None)


def test_words_of_a_case_that_name_no_file_lie_nowhere() -> None:
    assert name_outside("run.case", CASE) is None
