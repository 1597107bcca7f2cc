"""The targets of the fuzzer, on their seeds and on edited seeds: they raise only errors of the library."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.targets import TARGETS, seeds_of
from support.bounds import bounded

CUTS = st.tuples(st.floats(0, 1), st.binary(max_size=9), st.integers(0, 9))


@pytest.mark.parametrize("target", TARGETS)
@given(data=st.data())
def test_edited_bytes_make_a_result_or_a_library_error(target: str, data: st.DataObject) -> None:
    edited = data.draw(st.sampled_from(seeds_of(target)))
    for at, put, n_removed in data.draw(st.lists(CUTS, max_size=4)):
        start = int(at * len(edited))
        edited = edited[:start] + put + edited[start + n_removed :]
    with bounded():
        TARGETS[target](edited)


@pytest.mark.parametrize("target", TARGETS)
@given(data=st.binary(max_size=200))
def test_any_bytes_make_a_result_or_a_library_error(target: str, data: bytes) -> None:
    with bounded():
        TARGETS[target](data)
