"""The files that an EnSight case or a ``.vtm`` names."""

from __future__ import annotations

import re
import uuid
from contextlib import nullcontext

import pytest

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources.referenced_files import files_beside, named_files
from noether.data.zarr_store.stores import StoredObject, open_storage

CASE = """FORMAT
type: ensight gold
GEOMETRY
model: 1 mesh.geo**
VARIABLE
scalar per element: 1 p "data/p [Pa].****"
vector per node: U data/U[0].500
scalar per node: T ./my data/T.1
constant per case: time 0.5
constant per case file: 1 steps steps.txt
TIME
time set: 1
number of steps: 2
filename start number: 6
filename increment: 1
time values: 0.1 0.2
"""
VTM = """<VTKFile><vtkMultiBlockDataSet>
<DataSet index="0" name="a" file="a.vtu"/><Block><DataSet file = './parts/b.vtp'></DataSet></Block>
<DataSet file="../outside.vtu"/><DataSet profile="c.vtu"/></vtkMultiBlockDataSet></VTKFile>"""


def brought_along(key: str, text: str, *keys: str) -> list[str]:
    listing = [StoredObject(name, 1, "") for name in (key, *keys)]
    storage = open_storage(f"memory://{uuid.uuid4()}")
    storage.write(key, text.encode())
    return [item.key for item in named_files(key, files_beside([key], listing), storage, f"sample 'a': {key}")]


@pytest.mark.parametrize(
    ("file", "is_named"),
    [
        ("mesh.geo07", True),
        ("data/U[0].500", True),
        ("data/U0.500", False),
        ("data/p [Pa].0007", True),
        ("data/p.500", False),
        ("mesh.ge", False),
        ("more/mesh.geo07", False),
        ("mesh.geo06", False),  # an earlier step
        ("data/p [Pa].0006", False),
        ("my data/T.1", True),
        ("data/T.1", False),
        ("U", False),
        ("steps.txt", False),  # no values on the mesh
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
def test_a_file_outside_of_the_root_is_refused(key: str, file: str, is_outside: bool) -> None:
    vtm = f'<VTKFile><DataSet file="a.vtu"/><DataSet file="{file}"/></VTKFile>'
    case = f"FORMAT\ntype: ensight gold\nGEOMETRY\nmodel: {file}\n"
    for name, text in ((key, vtm), (key.replace(".vtm", ".case"), case)):
        refused = pytest.raises(
            SourceError, match=f"^sample 'a': {name} names the file {re.escape(repr(file))}, which is out"
        )
        with refused if is_outside else nullcontext():
            brought_along(name, text)


def test_the_file_of_numbers_is_read_and_included() -> None:
    case = CASE.replace("filename start number: 6\nfilename increment: 1", "filename numbers file: numbers")
    storage = open_storage(f"memory://{uuid.uuid4()}")
    storage.write("run/m.case", case.encode())
    storage.write("run/numbers", b"3 8")
    listing = [StoredObject(f"run/{name}", 1, "") for name in ("numbers", "mesh.geo03", "mesh.geo08")]
    named = named_files("run/m.case", files_beside(["run/m.case"], listing), storage, "case")
    assert [item.key for item in named] == ["run/numbers", "run/mesh.geo08"]


def test_a_file_of_numbers_outside_of_the_root_is_refused() -> None:
    case = CASE.replace("filename start number: 6", "filename numbers file: ../numbers")
    with pytest.raises(SourceError, match=r"names the file '\.\./numbers', which is outside"):
        brought_along("m.case", case)
