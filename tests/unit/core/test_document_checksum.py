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
    """Return the checksum state of a document; "broken" if it is not a JSON object."""
    try:
        content = json.loads(document)
    except ValueError:
        return "broken"
    return checksum_state(document, content) if isinstance(content, dict) else "broken"


@given(members)
def test_checksummed_document_keeps_its_content(content: dict[str, Any]) -> None:
    document = checksummed(content)
    assert state_of(document) == "intact"
    assert {key: value for key, value in json.loads(document).items() if key != "crc32c"} == content


def test_checksum_covers_the_document_with_zeros() -> None:
    document = checksummed({"a": 1})
    zeroed = b'{\n  "crc32c": "00000000",\n  "a": 1\n}'
    assert document == zeroed.replace(b"00000000", b"%08x" % google_crc32c.value(zeroed))


@given(members, st.data())
def test_any_changed_byte_breaks_the_checksum(content: dict[str, Any], data: st.DataObject) -> None:
    """The byte is changed, lost or added."""
    document = checksummed(content)
    at = data.draw(st.integers(0, len(document) - 1))
    byte = bytes([data.draw(st.integers(0, 255).filter(lambda byte: byte != document[at]))])
    change = data.draw(st.sampled_from([byte, b"", document[at : at + 1] + byte]))
    assert state_of(document[:at] + change + document[at + 1 :]) == "broken"


def test_any_changed_byte_of_the_checksum_member_is_found() -> None:
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
def test_document_without_checksum_has_state_none(content: dict[str, Any]) -> None:
    assert state_of(json.dumps(content).encode()) == "none"


@pytest.mark.parametrize("digits", [None, 7, "", "0badc0de", "ABCDEF01", ["00000000"], "äöü"], ids=repr)
def test_malformed_checksum_member_is_broken(digits: object) -> None:
    document = json.dumps({"crc32c": digits, "a": 1}).encode()
    assert checksum_state(document, json.loads(document)) == "broken"
