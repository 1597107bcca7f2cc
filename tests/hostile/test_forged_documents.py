"""Any edit of a manifest or of a group's metadata: what it leads to is a result, or an error of the library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from noether.data.zarr_store.errors import StoreError
from support.bounds import bounded
from support.hostile_stores import ACTIONS, fresh_copy, make_small_store, outcome_of

# What a number, a name or a part of the metadata could be, other than what it is.
NUMBERS = st.sampled_from(
    [0, -1, 1, 2, 7, 8, 49, 51, 2**31, 2**32 + 8, 2**48, 2**63 - 1, 2**63, 2**64 + 8, 10**30, 0.5, 8.0, -0.0, 1e308]
)
TEXTS = st.sampled_from(
    ["", "..", "../../etc/passwd", "/dev/zero", "\x00", "\x1b[2J", "\ud800", "NaN", "Infinity", "0x7fc00000", "int32",
     "float16", "complex128", "string", "bytes", "gzip", "zstd", "blosc", "crc32c", "transpose", "vlen-utf8", "start",
     "big", "v2", "c", "group", "array", "x" * 5000]
)  # fmt: skip
ANYTHING = st.one_of(
    NUMBERS, TEXTS, st.booleans(), st.none(), st.just([]), st.just({}), st.just([8, 3]), st.just([[[[0]]]])
)
DOCUMENTS = ("manifest.json", "s1.zarr/zarr.json", "s1.zarr/surface/pressure/zarr.json")
Place = tuple[Any, Any]


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small_store(tmp_path_factory.mktemp("documents") / "store")


def places_in(value: Any) -> list[Place]:
    """List every list or dict in a JSON value, with every key that it has."""
    keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
    inner = [place for key in keys if isinstance(value[key], dict | list) for place in places_in(value[key])]
    return [(value, key) for key in keys] + inner


def edit(document: Any, data: st.DataObject) -> None:
    """Change, remove, move or add something anywhere in a document."""
    places = places_in(document)
    container, key = places[data.draw(st.integers(0, len(places) - 1))]
    kind = data.draw(st.sampled_from(["replace", "replace", "replace", "remove", "move", "add"]))
    if kind == "remove":
        del container[key]
    elif kind == "add" and isinstance(container, dict):
        container[data.draw(TEXTS)] = container[key]
    elif kind == "move":
        other, other_key = places[data.draw(st.integers(0, len(places) - 1))]
        container[key] = json.loads(json.dumps(other[other_key]))
    else:
        container[key] = data.draw(ANYTHING)


@pytest.mark.filterwarnings("ignore")  # zarr-python warns of much that it finds here, and NumPy of what it computes
@pytest.mark.parametrize("document", DOCUMENTS)
@given(data=st.data())
def test_a_document_that_was_edited_leads_to_a_result_or_to_an_error_of_the_library(
    intact: Path, tmp_path_factory: pytest.TempPathFactory, document: str, data: st.DataObject
) -> None:
    root = fresh_copy(intact, tmp_path_factory.getbasetemp() / "edited")
    if document.count("/") > 1:  # else only the consolidated metadata count
        group = json.loads((root / "s1.zarr/zarr.json").read_bytes())
        del group["consolidated_metadata"]
        (root / "s1.zarr/zarr.json").write_text(json.dumps(group))
    content = json.loads((root / document).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        edit(content, data)
    (root / document).write_text(json.dumps(content))
    for name, action in ACTIONS.items():
        with bounded():
            error = outcome_of(action, root)
        event(f"{name}: {type(error).__name__ if isinstance(error, StoreError) else 'a result'}")
        assert error is None or len(str(error)) < 20_000
