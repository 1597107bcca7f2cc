"""Documents that carry their own checksum."""

from __future__ import annotations

import json
from typing import Any

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store.core.document_checksum import ZERO_CHECKSUM, checksum_state, with_checksum
from support.manifests import JSON

members = st.dictionaries(st.text().filter(lambda key: key != "crc32c"), JSON, max_size=4)


def checksummed(content: dict[str, Any]) -> bytes:
    return with_checksum(json.dumps(ZERO_CHECKSUM | content, indent=2).encode())


def state_of(document: bytes) -> str:
    """What is found out about a document; one that is no JSON object any more is broken as well."""
    try:
        content = json.loads(document)
    except ValueError:
        return "broken"
    return checksum_state(document, content) if isinstance(content, dict) else "broken"


@given(members)
def test_a_document_with_a_checksum_is_intact_and_says_the_same_as_before(content: dict[str, Any]) -> None:
    document = checksummed(content)
    assert state_of(document) == "intact"
    assert {key: value for key, value in json.loads(document).items() if key != "crc32c"} == content


def test_the_seal_is_the_crc32c_of_the_document_with_zeros_in_its_place() -> None:
    document = checksummed({"a": 1})
    zeroed = b'{\n  "crc32c": "00000000",\n  "a": 1\n}'
    assert document == zeroed.replace(b"00000000", b"%08x" % google_crc32c.value(zeroed))


@given(members, st.data())
def test_a_document_of_which_a_byte_is_changed_lost_or_added_is_not_intact(
    content: dict[str, Any], data: st.DataObject
) -> None:
    document = checksummed(content)
    at = data.draw(st.integers(0, len(document) - 1))
    byte = bytes([data.draw(st.integers(0, 255).filter(lambda byte: byte != document[at]))])
    change = data.draw(st.sampled_from([byte, b"", document[at : at + 1] + byte]))
    assert state_of(document[:at] + change + document[at + 1 :]) == "broken"


def test_no_byte_of_the_seal_itself_can_be_changed_unnoticed() -> None:
    document = checksummed({"a": "crc32c", "b": {"crc32c": "00000000"}})
    for at in range(document.index(b'"a"')):
        for difference in range(1, 256):
            changed = document[:at] + bytes([document[at] ^ difference]) + document[at + 1 :]
            assert state_of(changed) == "broken", changed


@pytest.mark.parametrize(
    "content",
    [
        pytest.param({}, id="empty"),
        pytest.param({"dataset_name": "ahmed", "checksum": True, "domains": {}}, id="manifest-of-another-program"),
        pytest.param({"attributes": {"crc32c": "0badc0de"}}, id="deeper"),
    ],
)
def test_of_a_document_without_a_seal_nothing_is_said(content: dict[str, Any]) -> None:
    assert state_of(json.dumps(content).encode()) == "none"


@pytest.mark.parametrize("digits", [None, 7, "", "0badc0de", "ABCDEF01", ["00000000"], "äöü"], ids=repr)
def test_a_member_of_that_name_that_is_no_seal_is_a_broken_one(digits: object) -> None:
    document = json.dumps({"crc32c": digits, "a": 1}).encode()
    assert checksum_state(document, json.loads(document)) == "broken"
