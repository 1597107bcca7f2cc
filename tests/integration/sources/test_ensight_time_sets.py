"""EnSight cases of several time sets: each variable has the last step of its time set, as in VTK's newer reader."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista
from numpy.typing import NDArray
from vtkmodules.vtkIOEnSight import vtkEnSightGoldCombinedReader, vtkGenericEnSightReader

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources import MappedSource, SourceMapping
from noether.data.zarr_store.sources.ensight_files import extract_step
from noether.data.zarr_store.sources.inspection import inspect
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from support.ensight_files import EnSightPart, write_ensight
from support.trees import call

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
    """Write a case and its files for the steps 1 to 4, 9 and 12; the values show the step. Return the case's path."""
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


def at_step(step: object) -> SourceMapping:
    return parse_mapping(MAPPING.replace("association", f"step = {step}\nassociation"), "mapping")


def load(root: Path, mapping: SourceMapping | None = None) -> dict[str, NDArray[Any]]:
    fields = MappedSource(root, mapping or parse_mapping(MAPPING, "mapping")).load("run_1").fields
    return {"p": fields["volume_pressure"], "k": fields["volume_k"], "position": fields["volume_position"]}


def read_with_vtk(case: Path, time: float | None = None) -> dict[str, NDArray[Any]]:
    """Read a time, or the last step, with `vtkEnSightGoldCombinedReader`."""
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
        last = max(times.GetValue(number) for number in range(times.GetNumberOfValues()))
        reader.UpdateTimeStep(last if time is None else time)
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
def test_a_variable_has_the_last_step_of_its_time_set(
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


@pytest.mark.parametrize(
    ("geometry", "variables", "time"),
    [
        pytest.param(STATIC, [K, P], TWO_SETS, id="constants in set 1"),
        pytest.param("model: 2 geo***", [K, P], TWO_SETS, id="moving geometry"),
        pytest.param(
            "model: 1 geo***",
            ["scalar per element: 3 k k***", P],
            "time set: 1\nnumber of steps: 2\nfilename start number: 1\nfilename increment: 1\ntime values: 0.05 0.25\n"
            + TWO_SETS[TWO_SETS.index("time set: 2") :]
            + "time set: 3\nnumber of steps: 3\nfilename numbers: 1 2 9\ntime values: 0.0 0.2 0.4",
            id="three sets",
        ),
    ],
)  # fmt: skip
def test_every_step_matches_vtk_at_its_time(tmp_path: Path, geometry: str, variables: list[str], time: str) -> None:
    case = write_steps(tmp_path, geometry, variables, time)
    steps = inspect(case).files[0].steps
    assert list(steps.times) == sorted({float(word) for word in re.findall(r"0\.[0-9]+", time)})
    for step, at in enumerate(steps.times):
        given = load(tmp_path, at_step(step))
        for name, values in read_with_vtk(case, at).items():
            np.testing.assert_array_equal(given[name].reshape(values.shape), values, err_msg=f"{name} at {at}")


def test_a_constant_time_set_adds_no_step(tmp_path: Path) -> None:
    """A constant set can have any time. VTK counts it, and gives early steps the last values; this library does not."""
    constant = TWO_SETS.replace("time values: 0.0\n", "filename start number: 3\ntime values: 7.0\n")
    write_steps(tmp_path, STATIC, ["scalar per element: 1 k k***", P], constant)
    for step in range(4):
        given = load(tmp_path, at_step(step))
        assert (given["p"][0], given["k"][0]) == (100.5 + 100 * step, 3.25)
    with pytest.raises(SourceError, match=r"run_1\.case has no step 4; it has 4 time steps, from step 0 \(time 0\) to"):
        load(tmp_path, at_step(4))


def test_steps_without_times_are_counted(tmp_path: Path) -> None:
    write_steps(tmp_path, STATIC, [K, P], TWO_SETS.replace("time values: 0.0 0.1 0.2 0.3", ""))
    assert load(tmp_path, at_step(1))["p"].tolist() == [200.5]
    assert inspect(tmp_path).files[0].steps.described() == "4 time steps, from step 0 to step 3"


def test_unordered_time_sets_have_only_a_last_step(tmp_path: Path) -> None:
    three = TWO_SETS.replace("steps: 1\n", "steps: 3\nfilename start number: 1\n")
    write_steps(tmp_path, STATIC, ["scalar per element: 1 k k***", P], three)
    for mapping in (parse_mapping(MAPPING, "mapping"), at_step('"last"')):
        given = load(tmp_path, mapping)
        assert (given["p"][0], given["k"][0]) == (400.5, 3.25)
    with pytest.raises(
        SourceError,
        match=r"the times of its time sets do not increase or are not listed \(set 1 has 3 steps, set 2 has 4",
    ):
        load(tmp_path, at_step(0))
    assert (
        "last step of each time set, since the times of its time sets do not increase"
        in call("inspect", tmp_path).output
    )


def test_a_case_without_steps_refuses_a_step(tmp_path: Path) -> None:
    write_steps(tmp_path, STATIC, ["scalar per element: k k003", "scalar per element: p p002"], "")
    with pytest.raises(SourceError, match=r"run_1\.case has no time steps; leave step out of the mapping"):
        load(tmp_path, at_step(0))


C_BINARY = b"C Binary".ljust(80, b"\0")
NO_NUMBERS = TWO_SETS.replace("filename start number: 1\nfilename increment: 1\n", "")
OF_STEPS = ["scalar per element: 2 1 p p", "scalar per element: 2 1 k k"]


def in_one_file(directory: Path, name: str, steps: tuple[int, ...] = (1, 2, 3, 4), number: str = "") -> None:
    """Join the files of some steps into one file."""
    head = C_BINARY if name == "geo" else b""
    begin, end = (text.ljust(80, b"\0") for text in (b"BEGIN TIME STEP", b"END TIME STEP"))
    contents = [(directory / f"{name}{step:03}").read_bytes().removeprefix(head) for step in steps]
    (directory / f"{name}{number}").write_bytes(head + b"".join(begin + one + end for one in contents))


def read_single_files_with_vtk(case: Path, time: float) -> dict[str, float]:
    """Read files of several steps with VTK's older reader, which supports them if their names have no number."""
    reader: Any = vtkGenericEnSightReader()
    reader.SetCaseFileName(os.fspath(case))
    reader.ReadAllVariablesOn()
    reader.SetTimeValue(time)
    reader.Update()
    mesh: Any = pyvista.wrap(reader.GetOutput())[0]
    return {name: float(mesh.cell_data[name][0]) for name in ("p", "k")} | {"position": float(mesh.points.mean())}


def test_each_step_in_a_file_of_several_matches_vtk(tmp_path: Path) -> None:
    files = "FILE\nfile set: 1\nnumber of steps: 4\n"
    case = write_steps(tmp_path, "model: 2 1 geo", OF_STEPS, f"{NO_NUMBERS}{files}")
    for name in ("geo", "p", "k"):
        in_one_file(case.parent, name)
    for step, time in enumerate((0.0, 0.1, 0.2, 0.3)):
        given = load(tmp_path, at_step(step))
        shown = {name: float(values.mean()) for name, values in given.items()}
        assert shown == read_single_files_with_vtk(case, time)
        assert shown["p"] == 100.5 + 100 * step
    assert load(tmp_path)["p"].tolist() == [400.5]


@pytest.mark.parametrize("geometry", ["model: 2 1 geo_**", "model: geo002"], ids=["moving", "static"])
def test_numbered_files_of_several_steps_are_joined(tmp_path: Path, geometry: str) -> None:
    """Compare with the same steps in one file each: VTK's readers never return, or read no values."""
    files = "FILE\nfile set: 1\nfilename index: 3\nnumber of steps: 3\nfilename index: 12\nnumber of steps: 1\n"
    variables = [f"{line}_**" for line in OF_STEPS]
    case = write_steps(tmp_path, geometry, variables, f"{NO_NUMBERS}{files}")
    for name in ("geo", "p", "k"):
        in_one_file(case.parent, name, (1, 2, 3), "_03")
        in_one_file(case.parent, name, (4,), "_12")
    alone = geometry.replace("2 1 geo_**", "2 geo***")
    write_steps(tmp_path / "alone", alone, [P, K.replace("1 k k001", "2 k k***")], TWO_SETS)
    for step in (0, 1, 2, 3, '"last"'):
        given, expected = load(tmp_path, at_step(step)), load(tmp_path / "alone", at_step(step))
        for name, values in expected.items():
            np.testing.assert_array_equal(given[name], values)


def fortran(record: bytes) -> bytes:
    return np.int32(len(record)).tobytes() + record + np.int32(len(record)).tobytes()


@pytest.mark.parametrize(
    ("record", "head"),
    [
        (lambda text: text.ljust(80), b"C Binary".ljust(80)),
        (lambda text: text + b"\n", b""),
        (lambda text: text + b" \r\n", b"head\r\n"),
        (lambda text: fortran(text.ljust(80)), fortran(b"Fortran Binary".ljust(80))),
    ],
    ids=["C", "text", "text of Windows", "Fortran"],
)
def test_a_step_is_extracted_from_every_kind_of_file(tmp_path: Path, record: Any, head: bytes) -> None:
    begin, end = record(b"BEGIN TIME STEP"), record(b"END TIME STEP")
    (tmp_path / "p").write_bytes(
        head + b"".join(begin + b"values %d\n" % step + end for step in range(3)) + b"FILE_INDEX"
    )
    for step in range(3):
        extract_step(tmp_path / "p", step, tmp_path / f"p{step}", "case")
        assert (tmp_path / f"p{step}").read_bytes() == head + b"values %d\n" % step


@pytest.mark.parametrize(
    ("steps", "claimed", "message"),
    [
        ((1, 2, 3), 4, "p holds 3 whole time steps .*; expected step 3, counted from 0; correct the"),
        ((), 4, "p does not exist or is empty; add the file"),
        ((1, 2, 3, 4), 3, "file set 1 has 3 steps, but time set 2 has 4; correct the sections TIME and FILE"),
    ],
    ids=["fewer", "none", "sets"],
)
def test_a_file_with_fewer_steps_than_its_case_says_is_refused(
    tmp_path: Path, steps: tuple[int, ...], claimed: int, message: str
) -> None:
    files = f"FILE\nfile set: 1\nnumber of steps: {claimed}\n"
    case = write_steps(tmp_path, STATIC, [OF_STEPS[0], "scalar per element: k k001"], f"{NO_NUMBERS}{files}")
    in_one_file(case.parent, "p", steps)
    with pytest.raises(SourceError, match=rf"^sample 'run_1': run_1/run_1\.case: {message}"):
        load(tmp_path)


def test_inspect_shows_the_last_step_of_each_variable(tmp_path: Path) -> None:
    write_steps(tmp_path, STATIC, [K, P], TWO_SETS)
    arrays = {array.name: array.maximum for array in inspect(tmp_path).files[0].arrays}
    assert (arrays["p"], arrays["k"]) == (400.5, 1.25)


@pytest.mark.parametrize(
    ("geometry", "variables", "time", "message"),
    [
        (STATIC, [K, "scalar per element: 3 p p***"], TWO_SETS, r"p refers to time set 3, .*time sets: 1, 2\); cor"),
        ("model: 7 geo001", [K, P], TWO_SETS, "model refers to time set 7, which the case does not define"),
        (STATIC, ["scalar per element: p p***"], "", r"p refers to time set 1, .*its time sets: none\); cor"),
        (STATIC, [K, P], TWO_SETS.replace("start number: 1", ""), "time set 2 has 4 steps, but no file number for"),
        (STATIC, [K, "scalar per element: 2 3 p p"], TWO_SETS, r"p refers to file set 3, .*file sets: none\); cor"),
        (STATIC, [K, P], TWO_SETS.replace("steps: 4", "steps: 9999999"), "time set 2 claims 9,999,999 steps; correct"),
    ],
    ids=["variable", "geometry", "asterisks without a set", "no numbers", "file set", "too many"],
)  # fmt: skip
def test_an_undefined_time_set_is_named(
    tmp_path: Path, geometry: str, variables: list[str], time: str, message: str
) -> None:
    write_steps(tmp_path, geometry, variables, time)
    with pytest.raises(SourceError, match=rf"^sample 'run_1': run_1/run_1\.case: {message}"):
        load(tmp_path)


def test_only_files_of_last_steps_change_the_sample(tmp_path: Path) -> None:
    """The fingerprint of a sample covers only the files of the last steps."""
    case = write_steps(tmp_path, STATIC, [K, P], TWO_SETS)
    source = MappedSource(tmp_path, parse_mapping(MAPPING, "mapping"))
    before = source.fingerprint("run_1")
    os.utime(case.parent / "p003", (1, 1))
    assert MappedSource(tmp_path, source.mapping).fingerprint("run_1") == before
    os.utime(case.parent / "p004", (1, 1))
    assert MappedSource(tmp_path, source.mapping).fingerprint("run_1") != before


def test_links_to_the_files_of_a_case_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", os.fspath(tmp_path / "scratch"))
    write_steps(tmp_path / "in", STATIC, [K, P], TWO_SETS)
    load(tmp_path / "in")
    assert list((tmp_path / "scratch").iterdir()) == []
