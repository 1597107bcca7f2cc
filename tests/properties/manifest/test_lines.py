"""Properties of the samples' lines: for every layout of the JSON, the result is that of a full JSON parser."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from pydantic_core import from_json

from noether.data.zarr_store.errors import ManifestError
from noether.data.zarr_store.manifest import SampleEntry, StoreManifest
from noether.data.zarr_store.manifest.lines import SampleLines
from support.manifests import IDS, manifests, sample_entries

BLANKS = st.sampled_from(["", "", "", " ", "\n", "\n  ", "\n    ", "\r\n", "\t"])


def saved(manifest: StoreManifest) -> bytes:
    """Return the bytes that the library writes for a manifest."""
    with tempfile.TemporaryDirectory() as root:
        manifest.save(root)
        return Path(root, "manifest.json").read_bytes()


def read_all(data: bytes) -> StoreManifest | None:
    """Read a manifest with all its samples; return None if anything is refused."""
    try:
        manifest = StoreManifest.parse(data, "m")
        event(f"by its lines: {isinstance(manifest.samples, SampleLines)}")
        return manifest.model_copy(update={"samples": dict(manifest.samples)})
    except ManifestError:
        event("refused")
        return None


def read_whole(data: bytes) -> StoreManifest | None:
    """Read a manifest as one JSON value; return None if it is refused."""
    try:
        return StoreManifest.model_validate(from_json(data, allow_inf_nan=False))
    except ValueError:
        return None


def assert_same(found: StoreManifest | None, expected: StoreManifest | None) -> None:
    assert found == expected
    if found is not None and expected is not None:
        assert list(found.samples) == list(expected.samples)
        assert found.model_dump_json() == expected.model_dump_json()


def in_any_layout(value: Any, draw: Callable[..., Any]) -> str:
    """Return JSON with blanks and line ends anywhere, keys in any order, and any character escaped."""
    if isinstance(value, dict):
        members = [
            f"{in_any_layout(key, draw)}:{in_any_layout(value[key], draw)}"
            for key in draw(st.permutations(list(value)))
        ]
        text = "{" + ",".join(members) + draw(BLANKS) + "}"
    elif isinstance(value, list):
        text = "[" + ",".join(in_any_layout(item, draw) for item in value) + "]"
    elif isinstance(value, str) and draw(st.booleans()):
        units = value.encode("utf-16-be")
        text = '"' + "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)) + '"'
    else:
        text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    return f"{draw(BLANKS)}{text}{draw(BLANKS)}"


@given(manifests)
def test_lines_and_any_json_parser_read_the_same_saved_manifest(manifest: StoreManifest) -> None:
    data = saved(manifest)
    found = StoreManifest.parse(data, "m")
    assert isinstance(found.samples, SampleLines) == bool(manifest.samples)
    assert found.samples == manifest.samples
    assert_same(read_all(data), StoreManifest.model_validate(json.loads(data)))


@given(manifests)
def test_saving_again_writes_the_same_bytes(manifest: StoreManifest) -> None:
    data = saved(manifest)
    assert saved(StoreManifest.parse(data, "m")) == data
    assert saved(StoreManifest.model_validate(json.loads(data))) == data


@pytest.mark.slow
@given(manifests, st.data())
def test_a_manifest_is_the_same_in_every_layout(manifest: StoreManifest, data: st.DataObject) -> None:
    text = in_any_layout(json.loads(manifest.model_dump_json()), data.draw).encode()
    assert_same(read_all(text), StoreManifest.model_validate(json.loads(text)))


@given(manifests, st.data())
def test_samples_between_first_and_last_line_can_have_any_layout(manifest: StoreManifest, data: st.DataObject) -> None:
    content = json.loads(manifest.model_dump_json())
    may_break = data.draw(st.booleans())
    members = [
        in_any_layout({sample_id: entry}, data.draw).strip()[1:-1]
        for sample_id, entry in content.pop("samples").items()
    ]
    # No string of JSON holds a raw line end.
    samples = ",\n".join(member if may_break else member.replace("\n", " ") for member in members)
    rest = json.dumps(content, indent=2).removesuffix("\n}")
    text = (rest + ',\n  "samples": {\n' + samples + "\n  }\n}\n").encode()
    assert_same(read_all(text), StoreManifest.model_validate(json.loads(text)))


@given(manifests, st.data())
def test_damaged_json_is_read_or_refused_as_by_a_json_parser(manifest: StoreManifest, data: st.DataObject) -> None:
    text = saved(manifest)
    first = text.find(b'"samples"')
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(first, len(text)))
        put = data.draw(st.sampled_from([b"", b"{", b"}", b'"', b",", b"\n", b",\n", b":", b"\\", b" ", b"{}", b"0"]))
        text = text[:at] + put + text[at + data.draw(st.integers(0, 2)) :]
    assert_same(read_all(text), read_whole(text))


@given(st.lists(st.tuples(IDS, sample_entries), max_size=6), st.data())
def test_lines_behave_as_a_dict_does(pairs: list[tuple[str, SampleEntry]], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(pairs)))
    domains = ["surface", "volume"]
    lines = SampleLines(domains, "m")
    expected: dict[str, SampleEntry] = {}
    for sample_id, entry in pairs[:cut]:
        lines[sample_id] = expected[sample_id] = entry
    for sample_id in data.draw(st.lists(st.sampled_from(list(expected)), unique=True)) if expected else []:
        assert lines.pop(sample_id) == expected.pop(sample_id)
    added = dict(pairs[cut:])
    union = lines | added
    assert lines == expected
    assert (list(lines), len(lines)) == (list(expected), len(expected))
    assert union == lines | SampleLines.of(added, domains, "m") == expected | added
    assert (union is lines) == (expected | added == expected)
    assert union is lines or list(union) == sorted(expected | added)
    for sample_id, _ in pairs:
        assert (sample_id in lines) == (sample_id in expected)
        assert lines.get(sample_id) == expected.get(sample_id)
