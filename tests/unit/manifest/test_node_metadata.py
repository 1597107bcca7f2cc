"""The checks of zarr.json documents from an untrusted source."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store.errors import CorruptDataError
from noether.data.zarr_store.manifest.node_metadata import parse_array, parse_group, require_array

WHERE = "sample 'run_1', field volume_velocity"
GROUP = {"zarr_format": 3, "node_type": "group", "attributes": {}}
CHUNK_GRID = {"name": "regular", "configuration": {"chunk_shape": [4, 3]}}
ARRAY = {"node_type": "array", "shape": [7, 3], "chunk_grid": CHUNK_GRID}
NODES: dict[str, dict[str, Any]] = {"volume": GROUP, "volume/velocity": ARRAY}

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
ANYTHING = st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode())


def document(**changes: Any) -> bytes:
    return json.dumps(GROUP | changes).encode()


def test_a_group_has_the_metadata_of_its_nodes_by_path() -> None:
    consolidated = {"kind": "inline", "must_understand": False, "metadata": NODES}
    assert parse_group(document(consolidated_metadata=consolidated), WHERE) == NODES


NO_NODES: list[Any] = [None, [], "x", {}, {"metadata": None}, {"metadata": [1]}]


@pytest.mark.parametrize("changes", [{}, *({"consolidated_metadata": value} for value in NO_NODES)], ids=json.dumps)
def test_a_group_without_consolidated_metadata_returns_none(changes: dict[str, Any]) -> None:
    assert parse_group(document(**changes), WHERE) is None


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(document()[:-1], id="cut"),
        pytest.param(b"\xff" + document(), id="no UTF-8"),
        pytest.param(b"[" * 100_000, id="nested without end"),
        pytest.param(b'{"zarr_format": ' + b"9" * 5000 + b"}", id="number without end"),
        pytest.param(b"[1]", id="a list"),
        pytest.param(document(node_type="array"), id="an array"),
        pytest.param(document(zarr_format=2), id="of Zarr 2"),
    ],
)
def test_a_malformed_group_is_refused_with_its_name_and_the_way_out(data: bytes) -> None:
    with pytest.raises(
        CorruptDataError, match=rf"^{WHERE}: the metadata of its group cannot be read; convert the sample again$"
    ):
        parse_group(data, WHERE)


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b'{"a": ', b"\xff"], ids=repr)
def test_a_malformed_array_is_refused_with_its_name_and_the_way_out(data: bytes) -> None:
    with pytest.raises(CorruptDataError, match=rf"^{WHERE}: its metadata cannot be read; convert the sample again$"):
        parse_array(data, WHERE)


@given(ANYTHING)
def test_any_bytes_are_a_document_or_corrupt_data(data: bytes) -> None:
    for parse in (parse_group, parse_array):
        try:
            parsed = parse(data, WHERE)
        except CorruptDataError:
            continue
        assert isinstance(json.loads(data), dict)
        assert parsed is None or isinstance(parsed, dict)


def test_an_array_of_the_expected_shape_is_returned() -> None:
    assert require_array(NODES["volume/velocity"], (7, 3), WHERE) == NODES["volume/velocity"]


@pytest.mark.parametrize("chunk_shape", [[0, 3], [-4, 3], [4.0, 3], ["4", 3], [None, 3], 4, None], ids=repr)
def test_an_array_of_chunks_without_a_size_is_corrupt_data(chunk_shape: Any) -> None:
    array = ARRAY | {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk_shape}}}
    with pytest.raises(
        CorruptDataError, match=r"expected chunk and shard sizes of at least 1; convert the sample again"
    ):
        require_array(array, (7, 3), WHERE)


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        pytest.param(NODES["volume/velocity"] | {"shape": [8, 3]}, r"an array of shape \[8, 3\]", id="points"),
        pytest.param(NODES["volume/velocity"] | {"shape": [7]}, r"an array of shape \[7\]", id="dimensions"),
        pytest.param({"node_type": "array"}, "an array of shape None", id="no shape"),
        pytest.param(NODES["volume"], "a group", id="group"),
        pytest.param(None, "a group", id="null"),
        pytest.param([], "a group", id="list"),
    ],
)
def test_an_array_of_another_shape_is_refused_with_both_shapes(metadata: Any, found: str) -> None:
    with pytest.raises(
        CorruptDataError,
        match=rf"^{WHERE}: expected an array of shape \(7, 3\), as in the manifest, got {found}; convert .* again$",
    ):
        require_array(metadata, (7, 3), WHERE)
