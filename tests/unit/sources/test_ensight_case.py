"""Parsing of EnSight cases: names of files, and the last step of a time set."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources.ensight_case import parse_case

TIME = "TIME\ntime set: 1 steps of the solver\nnumber of steps: 3\nfilename start number: 8\nfilename increment: 2\n"


def last_files(section: str, line: str, time: str = TIME) -> list[str]:
    case = parse_case(f"# made by hand\r\nFORMAT\r\ntype: ensight gold\r\n{section}\r\n{line}\r\n\r\n{time}", "c.case")
    return [name for entry in case.at_step(None, {"numbers": "1\n 4\n5"}.__getitem__, "c.case") for name in entry.files]


@pytest.mark.parametrize(
    ("section", "line", "files"),
    [
        ("GEOMETRY", "model: 1 geo.***", ["geo.012"]),
        ("GEOMETRY", "model:\t1\tgeo.*", ["geo.12"]),
        ("GEOMETRY", "model: 1 2", ["2"]),
        ("GEOMETRY", "model: 2", ["2"]),
        ("GEOMETRY", "model:", []),
        ("GEOMETRY", 'model: 1 "my geo.**" change_coords_only 0', ["my geo.12"]),
        ("GEOMETRY", "model: 1 my geo.** changing_geometry_per_part", ["my geo.12"]),
        ("GEOMETRY", "measured: 1 points.**", ["points.12"]),
        ("VARIABLE", "scalar per node: 1 T d**/T.**", ["d12/T.12"]),
        ("VARIABLE", "tensor symm per element: R  R.1 ", ["R.1"]),
        ("VARIABLE", 'complex scalar per node: 1 p "re **" im** 50.0', ["re 12", "im12"]),
        ("VARIABLE", "constant per case: 1 density 1.2", []),
        ("VARIABLE", "scalar per node: p", []),
    ],
)
def test_a_line_names_its_files(section: str, line: str, files: list[str]) -> None:
    assert last_files(section, line) == files


@pytest.mark.parametrize(
    ("time", "number"),
    [
        ("TIME\nnumber of steps: 2\nfilename numbers: 3\n7 9\n", "7"),
        ("TIME\ntime set: 1\nfilename numbers: 3 7 9\ntime values:\n0 1\n2\n", "9"),
        ("TIME\ntime set: 1\nnumber of steps: 2\nfilename numbers file: numbers\n", "4"),
        ("TIME\ntime set: 1\nnumber of steps: 2\nfilename start number: 0\n", "1"),
        ("TIME\ntime set: 2\nnumber of steps: 1\ntime set: 1\nnumber of steps: 1\nfilename start number: 6\n", "6"),
    ],
    ids=["no number of the set", "no number of steps", "numbers in a file", "no increment", "sets in any order"],
)
def test_the_last_step_of_a_time_set_has_a_number(time: str, number: str) -> None:
    assert last_files("GEOMETRY", "model: 1 geo*", time) == [f"geo{number}"]


@given(st.text(st.sampled_from("FILEGEOMETRYVAB\n\n :*0123 \"'#[](){}model:scalar per node"), max_size=200))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for head in ("", "GEOMETRY\n", "VARIABLE\n", "GEOMETRY\nmodel: 1 a*\nTIME\n"):
        try:
            parse_case(head + text, "c.case").at_step(None, lambda _: "", "c.case")
        except SourceError as error:
            assert str(error).startswith("c.case: ")  # noqa: PT017
