"""EnSight cases of several time sets: every variable at the last step of its own, as VTK's newer reader has it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista
from numpy.typing import NDArray
from vtkmodules.vtkIOEnSight import vtkEnSightGoldCombinedReader

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources import MappedSource
from noether.data.zarr_store.sources.inspection import inspect
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from support.ensight_files import EnSightPart, write_ensight

MAPPING = """
name = "steps"
id = "{case}"
[domains.volume]
file = "{case}/{case}.case"
association = "cell"
[domains.volume.fields]
pressure = "p"
k = "k"
"""
TWO_SETS = """
time set: 1
number of steps: 1
time values: 0.0
time set: 2
number of steps: 4
filename start number: 1
filename increment: 1
time values: 0.0 0.1 0.2 0.3
"""
STATIC, P, K = "model: geo001", "scalar per element: 2 p p***", "scalar per element: 1 k k001"


def write_steps(root: Path, geometry: str, variables: list[str], time: str) -> Path:
    """Write files for the steps 1 to 4, 9 and 12, whose values tell the step, and a case; return the case."""
    case = root / "run_1" / "run_1.case"
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], dtype=np.float32)
    for step in (1, 2, 3, 4, 9, 12):
        values = {"p": np.array([0.5 + 100 * step]), "k": np.array([0.25 + step])}
        part = EnSightPart("fluid", corners * step, "hexa8", np.array([[0, 1, 3, 2, 4, 5, 7, 6]]), values)
        write_ensight(root / "run_1" / "step.case", [part])
        for name in ("geo", "p", "k"):
            (root / "run_1" / f"step.{name}").rename(root / "run_1" / f"{name}{step:03}")
    lines = ["FORMAT", "type: ensight gold", "GEOMETRY", geometry, "VARIABLE", *variables]
    case.write_text("\n".join([*lines, "TIME" if time else "", time]))
    return case


def load(root: Path) -> dict[str, NDArray[Any]]:
    fields = MappedSource(root, parse_mapping(MAPPING, "mapping")).load("run_1").fields
    return {"p": fields["volume_pressure"], "k": fields["volume_k"], "position": fields["volume_position"]}


def read_with_vtk(case: Path) -> dict[str, NDArray[Any]]:
    """Read the last step as `vtkEnSightGoldCombinedReader` does."""
    reader = vtkEnSightGoldCombinedReader()
    reader.SetCaseFileName(os.fspath(case))
    reader.UpdateInformation()
    parts = reader.GetPartSelection()
    for number in range(parts.GetNumberOfArrays()):
        parts.EnableArray(parts.GetArrayName(number))
    times = reader.GetAllTimeSteps()
    if times is None or not times.GetNumberOfValues():
        reader.Update()
    else:
        reader.UpdateTimeStep(max(times.GetValue(number) for number in range(times.GetNumberOfValues())))
    grid = reader.GetOutputDataObject(0).GetPartitionedDataSet(0).GetPartition(0)
    mesh: Any = pyvista.wrap(grid)
    arrays = {name: np.asarray(mesh.cell_data[name]) for name in ("p", "k")}
    return arrays | {"position": np.asarray(mesh.points).mean(axis=0, keepdims=True)}


@pytest.mark.parametrize(
    ("geometry", "variables", "time", "steps"),
    [
        pytest.param(STATIC, [K, P], TWO_SETS, (1, 4, 1), id="results in set 2"),
        pytest.param(f"model: 1{STATIC[6:]}", [P, K], TWO_SETS, (1, 4, 1), id="geometry in set 1"),
        pytest.param(STATIC, [K, P], TWO_SETS.replace("0.0\ntime", "9.0\ntime"), (1, 4, 1), id="constants at the end"),
        pytest.param(
            STATIC, [K, P], TWO_SETS.replace("0.0 0.1 0.2 0.3", "5 6\n7 8"), (1, 4, 1), id="constants before all"
        ),
        pytest.param(
            STATIC,
            [K, P],
            TWO_SETS.replace("filename start number: 1\nfilename increment: 1", "filename numbers: 1 3\n 9\n 12"),
            (1, 12, 1),
            id="listed numbers",
        ),
        pytest.param(
            STATIC, [K, P], TWO_SETS.replace("number: 1\nfilename increment: 1", "number: 3\nfilename increment: 3"),
            (1, 12, 1), id="start and increment",
        ),
        pytest.param(
            STATIC,
            [K, P],
            TWO_SETS.replace("filename start number: 1\nfilename increment: 1", "filename numbers file: numbers"),
            (1, 12, 1),
            id="numbers in a file",
        ),
        pytest.param("model: 2 geo***", [K, P], TWO_SETS, (4, 4, 1), id="moving geometry"),
        pytest.param(
            "model: 1 geo***",
            ["scalar per element: 3 k k***", P],
            "time set: 1\nnumber of steps: 2\nfilename start number: 1\nfilename increment: 1\ntime values: 0 7"
            + TWO_SETS[TWO_SETS.index("\ntime set: 2") :]
            + "time set: 3\nnumber of steps: 3\nfilename numbers: 1 2 9\ntime values: 0.2 0.3 0.35",
            (2, 4, 9),
            id="three sets",
        ),
        pytest.param(STATIC, ["scalar per element: k k003", P], TWO_SETS, (1, 4, 3), id="a variable without a set"),
        pytest.param(
            STATIC,
            ["scalar per element: k k***", "scalar per element: p p002"],
            TWO_SETS.replace("set: 2", "set: 3").replace("set: 1", "set: 2").replace("set: 3", "set: 1"),
            (1, 2, 4),
            id="asterisks without a set",
        ),
        pytest.param(STATIC, ["scalar per element: k k003", "scalar per element: p p002"], "", (1, 2, 3), id="no time"),
    ],
)  # fmt: skip
def test_a_variable_is_read_at_the_last_step_of_its_time_set(
    tmp_path: Path, geometry: str, variables: list[str], time: str, steps: tuple[int, int, int]
) -> None:
    case = write_steps(tmp_path, geometry, variables, time)
    (case.parent / "numbers").write_text("1 3\n9 12\n")
    given = load(tmp_path)
    assert (given["position"][0, 0] * 2, given["p"][0], given["k"][0]) == (
        steps[0],
        0.5 + 100 * steps[1],
        0.25 + steps[2],
    )
    for name, values in read_with_vtk(case).items():
        np.testing.assert_array_equal(given[name].reshape(values.shape), values, err_msg=name)


def in_one_file(directory: Path, name: str, *, head: bytes = b"") -> None:
    """Put the files of four steps into one."""
    begin, end = (text.ljust(80, b"\0") for text in (b"BEGIN TIME STEP", b"END TIME STEP"))
    steps = [(directory / f"{name}{step:03}").read_bytes().removeprefix(head) for step in (1, 2, 3, 4)]
    (directory / name).write_bytes(head + b"".join(begin + step + end for step in steps))


def test_of_a_file_that_holds_several_steps_the_last_is_read(tmp_path: Path) -> None:
    sets = TWO_SETS.replace("filename start number: 1\nfilename increment: 1\n", "")
    files = "FILE\nfile set: 1\nnumber of steps: 4\n"
    variables = ["scalar per element: 2 1 p p", "scalar per element: 2 1 k k"]
    case = write_steps(tmp_path, "model: 2 1 geo", variables, f"{sets}{files}")
    in_one_file(case.parent, "geo", head=b"C Binary".ljust(80, b"\0"))
    in_one_file(case.parent, "p")
    in_one_file(case.parent, "k")
    given = load(tmp_path)
    assert (given["position"][0, 0], given["p"][0], given["k"][0]) == (2.0, 400.5, 4.25)


def test_inspect_shows_the_last_step_of_each_variable(tmp_path: Path) -> None:
    write_steps(tmp_path, STATIC, [K, P], TWO_SETS)
    arrays = {array.name: array.maximum for array in inspect(tmp_path).files[0].arrays}
    assert (arrays["p"], arrays["k"]) == (400.5, 1.25)


@pytest.mark.parametrize(
    ("geometry", "variables", "time", "message"),
    [
        (STATIC, [K, "scalar per element: 3 p p***"], TWO_SETS, "p refers to time set 3, .* its time sets: 1, 2; cor"),
        ("model: 7 geo001", [K, P], TWO_SETS, "model refers to time set 7, which the case does not define"),
        (STATIC, ["scalar per element: p p***"], "", "p refers to time set 1, .* its time sets: none; correct"),
        (STATIC, [K, P], TWO_SETS.replace("start number: 1", ""), "time set 2 has 4 steps, and no number of a file"),
    ],
    ids=["variable", "geometry", "asterisks without a set", "no numbers"],
)  # fmt: skip
def test_a_time_set_that_is_not_there_is_named(
    tmp_path: Path, geometry: str, variables: list[str], time: str, message: str
) -> None:
    write_steps(tmp_path, geometry, variables, time)
    with pytest.raises(SourceError, match=rf"^sample 'run_1': run_1/run_1\.case: {message}"):
        load(tmp_path)


def test_only_the_files_of_last_steps_tell_whether_a_sample_changed(tmp_path: Path) -> None:
    case = write_steps(tmp_path, STATIC, [K, P], TWO_SETS)
    source = MappedSource(tmp_path, parse_mapping(MAPPING, "mapping"))
    before = source.fingerprint("run_1")
    os.utime(case.parent / "p003", (1, 1))
    assert MappedSource(tmp_path, source.mapping).fingerprint("run_1") == before
    os.utime(case.parent / "p004", (1, 1))
    assert MappedSource(tmp_path, source.mapping).fingerprint("run_1") != before


def test_links_to_the_files_of_a_case_do_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", os.fspath(tmp_path / "scratch"))
    write_steps(tmp_path / "in", STATIC, [K, P], TWO_SETS)
    load(tmp_path / "in")
    assert list((tmp_path / "scratch").iterdir()) == []
