"""Arbitrary edits of a manifest or of a group's metadata: they lead to a result or to an error of the library."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from noether.data.zarr_store.errors import StoreError
from support.bounds import bounded
from support.edits import ANYTHING, KEYS, places_in
from support.hostile_stores import ACTIONS, fresh_copy, make_small_store, outcome_of

DOCUMENTS = ("manifest.json", "s1.zarr/zarr.json", "s1.zarr/surface/pressure/zarr.json")


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small_store(tmp_path_factory.mktemp("documents") / "store")


def edit(document: Any, data: st.DataObject) -> None:
    """Change, remove, move or add a value anywhere in a document."""
    places = places_in(document)
    container, key = places[data.draw(st.integers(0, len(places) - 1))]
    kind = data.draw(st.sampled_from(["replace", "replace", "replace", "remove", "move", "add"]))
    if kind == "remove":
        del container[key]
    elif kind == "add" and isinstance(container, dict):
        container[data.draw(st.sampled_from(KEYS))] = container[key]
    elif kind == "move":
        other, other_key = places[data.draw(st.integers(0, len(places) - 1))]
        container[key] = deepcopy(other[other_key])
    else:
        container[key] = deepcopy(data.draw(st.sampled_from(ANYTHING)))  # a later edit can be inside of it


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # zarr-python and NumPy warn of the forged values
@pytest.mark.parametrize("document", DOCUMENTS)
@given(data=st.data())
def test_an_edited_document_leads_to_a_result_or_an_error_of_the_library(
    intact: Path, tmp_path_factory: pytest.TempPathFactory, document: str, data: st.DataObject
) -> None:
    root = fresh_copy(intact, tmp_path_factory.getbasetemp() / "edited")
    if document.count("/") > 1:  # otherwise only the consolidated metadata count
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
