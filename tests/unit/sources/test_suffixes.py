"""File formats by suffix."""

from __future__ import annotations

import pytest

from noether.data.zarr_store.sources.suffixes import suffix_of, unread_files, unread_format, with_plain_suffix


@pytest.mark.parametrize(
    ("name", "suffix", "plain"),
    [
        ("a/b.VTU", ".vtu", "a/b.vtu"),
        ("b.encas", ".case", "b.case"),
        ("b.Cas.H5", ".cas.h5", "b.cas.h5"),
        ("b.1.h5", ".h5", "b.1.h5"),
        ("b.vtu.h5", ".h5", "b.vtu.h5"),
        ("a.b/c", "", "a.b/c"),
        ("", "", ""),
    ],
)
def test_a_suffix_is_lower_case(name: str, suffix: str, plain: str) -> None:
    assert (suffix_of(name), with_plain_suffix(name)) == (suffix, plain)


@pytest.mark.parametrize("name", ["a.vtu", "a.h5", "cas.h5", "a.foam.vtu", "e", "a.txt", "a.gz"])
def test_other_files_are_not_reported_as_unread(name: str) -> None:
    assert unread_format(name) is None


def test_each_unread_format_is_reported_once() -> None:
    names = ["r/2.cas.h5", "r/1.cas.h5", "r/1.dat.h5", "r/a.foam", "r/b.vtu"]
    told = [sentence.split(";")[0] for sentence in unread_files(names)]
    assert told == [
        "r/1.cas.h5 is a Fluent file, which is not read",
        "r/a.foam is an OpenFOAM case, which is not read",
    ]


@pytest.mark.parametrize(
    ("names", "told"),
    [(["forces.dat", "a.vtu"], 0), (["a.dat"], 1), (["a.dat", "a.cas"], 1), (["a.dat", "b.cas"], 1), ([], 0)],
)
def test_tables_named_dat_are_not_fluent_files(names: list[str], told: int) -> None:
    assert len(unread_files(names)) == told
