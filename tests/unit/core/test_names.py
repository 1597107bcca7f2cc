"""Sample ids and paths that are safe below the root of a store."""

from __future__ import annotations

import posixpath
import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from noether.data.zarr_store.core.names import check_relative_path, check_sample_id, group_path
from noether.data.zarr_store.errors import SampleIdError

HOSTILE = [
    pytest.param("", "it has an empty segment", id="empty"),
    pytest.param("/", "it has an empty segment", id="root"),
    pytest.param("/etc/passwd", "starts or ends with '/'", id="absolute"),
    pytest.param("run_1/", "starts or ends with '/'", id="ends-in-a-slash"),
    pytest.param("a//b", "it has an empty segment", id="empty-part"),
    pytest.param(".", "a segment of it starts with a dot", id="dot"),
    pytest.param("..", "a segment of it starts with a dot", id="dot-dot"),
    pytest.param("../run_1", "a segment of it starts with a dot", id="parent"),
    pytest.param("a/../../b", "a segment of it starts with a dot", id="parent-inside"),
    pytest.param("a/./b", "a segment of it starts with a dot", id="dot-inside"),
    pytest.param(".hidden", "a segment of it starts with a dot", id="hidden"),
    pytest.param("...", "a segment of it starts with a dot", id="three-dots"),
    pytest.param("..\\run_1", "a backslash or a control character", id="backslash"),
    pytest.param("\\\\host\\share", "a backslash or a control character", id="unc"),
    pytest.param("C:run_1", "it starts with a drive letter", id="drive"),
    pytest.param("c:/run_1", "it starts with a drive letter", id="drive-absolute"),
    pytest.param("run\x00", "a backslash or a control character", id="nul"),
    pytest.param("run\n1", "a backslash or a control character", id="newline"),
    pytest.param("run\x7f", "a backslash or a control character", id="delete"),
    pytest.param(" run", "starts or ends with a space", id="blank-first"),
    pytest.param("a/run ", "starts or ends with a space", id="blank-last"),
    pytest.param("run\u2003", "starts or ends with a space", id="em-space-last"),
    pytest.param("run_\ud800", "not valid Unicode text", id="lone-surrogate"),
    pytest.param("run\x85", "a backslash or a control character", id="next-line"),
    pytest.param("run\x9b2J", "a backslash or a control character", id="terminal-command-in-one-character"),
    pytest.param("run_\u200b1", "an invisible or bidirectional control character", id="zero-width-space"),
    pytest.param("\ufeffrun_1", "an invisible or bidirectional control character", id="byte-order-mark"),
    pytest.param("run_\u202e1", "an invisible or bidirectional control character", id="right-to-left-override"),
    pytest.param("run\u2028_1", "an invisible or bidirectional control character", id="line-separator"),
    pytest.param("x" * 201, "a segment of it is longer than 200 bytes", id="long-part"),
    pytest.param("翼" * 67, "a segment of it is longer than 200 bytes", id="long-part-in-bytes"),
    pytest.param("/".join(["x" * 99] * 10), "longer than 900 bytes", id="long-path"),
]
SAFE = [
    pytest.param("run_1", id="plain"),
    pytest.param("param1/6f0a2b", id="nested"),
    pytest.param("a/b/c/d", id="deeply-nested"),
    pytest.param("Ölkühler/翼-1", id="unicode"),
    pytest.param("run 1 (coarse)", id="blanks-inside"),
    pytest.param("v1.2..3", id="dots-inside"),
    pytest.param("run.", id="ends-in-a-dot"),
    pytest.param("run.zarr", id="ends-in-zarr"),
    pytest.param("case:1", id="colon-that-is-no-drive"),
    pytest.param("x" * 200, id="longest-part"),
    pytest.param("/".join(["x" * 89] * 10), id="longest-path"),
]
ROOT = "/data/store"
# Names with many characters and segments that could make a path leave its root.
NAMES = st.lists(
    st.sampled_from(["..", ".", "/", "\\", "C:", "a", "run", " ", "\x00", ".zarr", "\ud800", "~", "翼"])
    | st.characters()
).map("".join)


@pytest.mark.parametrize(("name", "reason"), HOSTILE)
def test_unsafe_name_is_refused(name: str, reason: str) -> None:
    for refuse in (check_sample_id, lambda path: check_relative_path(path, "sample id")):
        with pytest.raises(SampleIdError, match=f"^sample id .*{re.escape(reason)}.*use a relative name such as"):
            refuse(name)


@pytest.mark.parametrize("name", SAFE)
def test_safe_name_is_returned_unchanged(name: str) -> None:
    assert check_sample_id(name) == check_relative_path(name, "path") == name


@pytest.mark.parametrize("middle", ["run.zarr/a", "run.ZARR/a", "a/run.zarr/b"])
def test_a_sample_inside_the_group_of_another_is_refused(middle: str) -> None:
    message = r"the segment 'run\.(zarr|ZARR)' is the name of the group of another sample; use a segment"
    with pytest.raises(SampleIdError, match=message):
        check_sample_id(middle)
    assert check_relative_path(middle, "path") == middle


@pytest.mark.parametrize(("value", "kind"), [(7, "int"), (None, "NoneType"), (b"run_1", "bytes"), (["a"], "list")])
def test_sample_id_must_be_a_str(value: Any, kind: str) -> None:
    with pytest.raises(SampleIdError, match=f"^sample id: expected a str such as 'run_12', got {kind}$"):
        check_sample_id(value)


def test_error_shortens_a_long_name() -> None:
    """The error also names the parameter."""
    with pytest.raises(SampleIdError) as caught:
        check_relative_path("x" * 5_000, "relpath")
    assert str(caught.value).startswith("relpath 'xxx")
    assert len(str(caught.value)) < 250


@given(NAMES)
@example("..")
@example("a/..")
@example("/a")
@example("C:/a")
def test_accepted_name_stays_below_the_root(name: str) -> None:
    try:
        check_relative_path(name, "path")
    except SampleIdError:
        assume(False)
    assert posixpath.normpath(posixpath.join(ROOT, name)) == f"{ROOT}/{name}"
    assert PurePosixPath(ROOT, name).parts == (*PurePosixPath(ROOT).parts, *name.split("/"))
    windows = PureWindowsPath("D:/store", name)
    assert windows.is_relative_to("D:/store")
    assert ".." not in windows.parts
    assert len(windows.parts) > len(PureWindowsPath("D:/store").parts)


PARTS = st.sampled_from(["a", "b", "a.zarr", "b.ZARR", "zarr", "a.zarr.zarr"])


@given(st.lists(PARTS, min_size=1, max_size=4).map("/".join), st.lists(PARTS, min_size=1, max_size=4).map("/".join))
def test_no_group_is_nested_in_another(sample_id: str, other: str) -> None:
    assume(sample_id != other)
    try:
        check_sample_id(sample_id)
        check_sample_id(other)
    except SampleIdError:
        assume(False)
    assert not PurePosixPath(group_path(sample_id)).is_relative_to(group_path(other))


def test_group_path_is_the_sample_id() -> None:
    assert group_path("param1/6f0a") == "param1/6f0a.zarr"
