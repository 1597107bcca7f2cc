"""Patterns of file names with placeholders."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.sources.patterns import PathPattern

part_of_a_path = st.text(st.characters(exclude_characters="/"), min_size=1)


@pytest.mark.parametrize(
    ("pattern", "path", "values"),
    [
        pytest.param("run_{n}/surface.vtp", "run_12/surface.vtp", {"n": "12"}, id="a name"),
        pytest.param("run_{n}/b_{n}.vtp", "run_1/b_1.vtp", {"n": "1"}, id="a name twice"),
        pytest.param("run_{n}/b_{n}.vtp", "run_1/b_2.vtp", None, id="a name twice, with two values"),
        pytest.param("case_{T}/{id}/{T}_{id}.case", "case_E/7/E_7.case", {"T": "E", "id": "7"}, id="two names"),
        pytest.param("{name}.vtu", "part/a.vtu", None, id="a name has no slash"),
        pytest.param("{name}.vtu", ".vtu", None, id="a name is not empty"),
        pytest.param("{n}/U.*.dat", "3/U.500.dat", {"n": "3"}, id="any characters"),
        pytest.param("{n}/*", "3/a/b", None, id="any characters but a slash"),
        pytest.param("a.b", "axb", None, id="a dot is a dot"),
        pytest.param("a+(b)[c]", "a+(b)[c]", {}, id="so are other signs"),
        pytest.param("v.{part}.part", "v.07.part", {"part": "07"}, id="the number of a piece"),
        pytest.param("v.{part}.part", "v.x.part", None, id="the number of a piece is a number"),
        pytest.param("run_{n:number}.vtp", "run_-1.5e-3.vtp", {"n": "-1.5e-3"}, id="a number"),
        pytest.param("run_{n:number}.vtp", "run_1_ground.vtp", None, id="a number is no other text"),
        pytest.param("r_{n:number}/b_{n:number}", "r_1/b_1", {"n": "1"}, id="a number twice"),
        pytest.param("r_{n:number}/b_{n}", "r_1/b_2", None, id="a number twice, with two values"),
        pytest.param("run_{n}", "run_1/more", None, id="all of the path"),
    ],
)
def test_a_path_yields_the_values_of_placeholders(pattern: str, path: str, values: dict[str, str] | None) -> None:
    assert PathPattern.parse(pattern).match(path) == values


@given(part_of_a_path, part_of_a_path)
def test_filled_values_are_matched_again(one: str, other: str) -> None:
    pattern = PathPattern.parse("a/{one}/b{one}/{other}.vtu")
    values = {"one": one, "other": other}
    assert pattern.match(pattern.fill(values)) == values


def test_a_number_is_filled_in() -> None:
    assert PathPattern.parse("run_{n:number}/{n}.vtu").fill({"n": "0.5"}) == "run_0.5/0.5.vtu"


@pytest.mark.parametrize("text", ["", "/a", "../a", "a/../b", "a//b", "a/", "./a", "a\\b"])
def test_a_pattern_stays_below_the_root(text: str) -> None:
    with pytest.raises(ArgumentError, match=f"{re.escape(repr(text))}: expected a path below the source's root"):
        PathPattern.parse(text)


@pytest.mark.parametrize("text", ["run_{", "run_}", "{}", "{1}", "{a b}", "{a{b}}", "{a:}", "{a:text}"])
def test_a_placeholder_is_a_name_in_braces(text: str) -> None:
    with pytest.raises(
        ArgumentError, match=r"expected placeholders such as \{n\} or \{n:number\}; write a name in braces"
    ):
        PathPattern.parse(text)
