"""The lines of a manifest: lazily parsed samples, and JSON that only looks like such lines."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from noether.data.zarr_store.errors import ManifestError
from noether.data.zarr_store.manifest import SampleEntry, StoreManifest
from noether.data.zarr_store.manifest.lines import SampleLines
from support.manifests import GRID, entry, minimal

DOMAINS = json.dumps({"surface": GRID})
REST = json.dumps({key: value for key, value in minimal().items() if key != "samples"}, indent=2).removesuffix("\n}")


def line(sample_id: str, **changes: str) -> str:
    """Return the line of a sample, with the JSON of some keys replaced."""
    keys = {"relpath": f'"{sample_id}.zarr"', "domains": DOMAINS} | changes
    return f'    "{sample_id}": {{' + ", ".join(f'"{key}": {value}' for key, value in keys.items()) + "}"


def document(*lines: str, between: str = ",\n", rest: str = REST) -> bytes:
    """Return a manifest with these lines as its samples."""
    return (rest + ',\n  "samples": {\n' + between.join(lines) + "\n  }\n}\n").encode()


def parse(data: bytes) -> StoreManifest:
    return StoreManifest.parse(data, "/store/manifest.json")


def parse_whole(data: bytes) -> Mapping[str, SampleEntry]:
    """Return the samples that a plain JSON parser finds."""
    return StoreManifest.model_validate(json.loads(data)).samples


def is_lazy(manifest: StoreManifest) -> bool:
    return isinstance(manifest.samples, SampleLines)


def test_a_manifest_with_a_line_for_each_sample_is_not_parsed_as_a_whole() -> None:
    manifest = parse(document(line("a"), line("b", relpath="7")))
    assert is_lazy(manifest)
    assert manifest.sample("a") == entry("a")
    assert list(manifest.samples) == ["a", "b"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"relpath": "7"}, r"samples\.b\.relpath: Input should be a valid string", id="wrong-type"),
        pytest.param(
            {"relpath": '"../b"'}, r"samples\.b\.relpath: path '\.\./b': a segment of it starts", id="leaves-root"
        ),
        pytest.param(
            {"relpath": '"/etc"'}, r"samples\.b\.relpath: path '/etc': it has an empty segment", id="absolute"
        ),
        pytest.param(
            {"domains": DOMAINS.replace('"n_chunks": 4', '"n_chunks": 5')},
            r"samples\.b\.domains\.surface: n_chunks: expected 4 for 2,041 points in chunks of 512, got 5",
            id="n-chunks-that-lies",
        ),
        pytest.param(
            {"domains": DOMAINS.replace("surface", "volume")},
            r"sample 'b': the store has no domains \['volume'\]",
            id="unknown-domain",
        ),
        pytest.param({"attributes": "[]"}, r"samples\.b\.attributes: Input should be a valid dict", id="attributes"),
        pytest.param({"attributes": '{"x": 1e999}'}, r"samples\.b\.attributes\.x.*finite number", id="infinite"),
        pytest.param(
            {"fidelity": '{"f": {}}'}, r"samples\.b\.fidelity\.f\.source_dtype: Field required", id="fidelity"
        ),
    ],
)
def test_a_malformed_sample_is_refused_with_its_key_at_its_access(changes: dict[str, str], message: str) -> None:
    """The other samples can be read."""
    manifest = parse(document(line("a"), line("b", **changes), line("c")))
    for ask in (manifest.sample, manifest.samples.get, lambda _: list(manifest.samples.values())):
        with pytest.raises(ManifestError, match="^/store/manifest.json: not a valid manifest: " + message):
            ask("b")
    assert [manifest.sample(sample_id) for sample_id in "ac"] == [entry("a"), entry("c")]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(document(line("a"), line("../b")), r"sample id '\.\./b'", id="id-that-leaves-the-root"),
        pytest.param(document(line("a"), line(r"\u002e\u002e/b")), r"sample id '\.\./b'", id="escaped-id"),
        pytest.param(document(line("a"), line("/b")), "sample id '/b'", id="absolute-id"),
        pytest.param(document(line("a"), line("b", attributes='{"x": NaN}')), "Invalid JSON", id="NaN"),
        pytest.param(document(line("a"), line("b", attributes="-Infinity")), "Invalid JSON", id="Infinity"),
        pytest.param(document(line("a"), line("b", attributes="9" * 5000)), "out of range", id="huge-number"),
        pytest.param(document(line("a"), line("b", attributes="[" * 300 + "]" * 300)), "recursion", id="deep"),
        pytest.param(document(line("a"), line("b", attributes="[" * 100_000)), "recursion", id="deep-and-open"),
        pytest.param(document(line("a"), line("b"), between="\n"), "Invalid JSON", id="no-comma"),
        pytest.param(document(line("a"), line("b"), between=" \n"), "Invalid JSON", id="a-blank-for-the-comma"),
        pytest.param(document(line("a"), line("b"), between=",,\n"), "Invalid JSON", id="two-commas"),
        pytest.param(document(line("a"), line("b") + ","), "Invalid JSON", id="comma-at-the-end"),
        pytest.param(document(line("a"), ""), "Invalid JSON", id="comma-and-an-empty-line-at-the-end"),
        pytest.param(document(line("a"), "", line("b")), "Invalid JSON", id="empty-line-and-comma"),
        pytest.param(document(line("a"), line("b") + "}"), "Invalid JSON", id="brace-too-many"),
        pytest.param(document(line("a"), line("b")[:-1]), "Invalid JSON", id="brace-too-few"),
        pytest.param(document(line("a"), line("b")[:-1], line("c") + "}}"), "Invalid JSON", id="braces-moved"),
        pytest.param(document(line("a"), '    "b": 1}, "b": {}'), "Invalid JSON", id="samples-closed-early"),
        pytest.param(document(line("a"), line("b")) + b"}", "Invalid JSON", id="more-after-the-end"),
        pytest.param(document(line("a"), line("b")).replace(b"ahmed", b"\xff"), "Invalid JSON", id="no-utf-8"),
        pytest.param(
            document(line("a"), rest=REST.replace('"shuffle_seed": 3', '"shuffle_seed": NaN')), "JSON", id="seed"
        ),
        pytest.param(
            document(line("a"), rest=REST.replace('"format_version": 1', '"format_version": 3')),
            "format version 3 is not known",
            id="higher-version",
        ),
    ],
)
def test_lines_of_an_invalid_manifest_are_refused_at_once(data: bytes, message: str) -> None:
    with pytest.raises(ManifestError, match="^/store/manifest.json: not a valid manifest: .*" + message):
        parse(data)


NESTED = line("a")[:-1] + ', "attributes": {"x": {}'
TRAPS = {
    "braces-and-quotes-in-strings": document(
        line("a", attributes=json.dumps({'}, "x": {': '"}\\"}},', "{": "\\", ",\n": '\n  }\n}\n"samples": {\n'})),
        line("b"),
    ),
    "sample-that-ends-on-the-next-line": document(NESTED, '    "b": {}}}', line("c")),
    "sample-that-looks-like-two": document(line("a")[:-1] + ', "attributes": {}', '    "b": {}}', line("c")),
    "two-samples-on-a-line": document(line("a") + "," + line("b"), line("c")),
    "one-line-for-all": document(line("a") + "," + line("b")),
    "same-sample-twice": document(line("a"), line("b"), line("a", relpath='"other.zarr"')),
    "same-sample-twice-on-a-line": document(line("a", relpath="7") + "," + line("a", relpath='"other.zarr"')),
    "same-key-twice": document(line("a")[:-1] + ', "relpath": "other.zarr"}'),
    "escaped-ids": document(line(r"\u0061"), line(r"\"b\""), line("ä"), line(r"\ud83d\ude00")),
    "blank-lines": document(line("a"), "\n\n" + line("b"), line("c") + "\n"),
    "samples-twice": document(line("b"), rest=REST + ',\n  "samples": {"a": 7}'),
    "samples-twice-escaped": document(line("b"), rest=REST + ',\n  "sampl\\u0065s": {"a": 7}'),
    "other-key-with-such-lines": document(line("b"), rest=REST + ',\n  "x": {\n  "samples": {\n"a": 7\n  }\n}\n'),
    "another-key-with-such-lines-at-the-end": document(
        '"a": {}}}', '"b": {"c": {}', rest=REST + ',\n  "samples": {' + line("b") + '},\n  "x": {"y": 1'
    ),
    "windows-line-ends": document(line("a"), line("b")).replace(b"\n", b"\r\n"),
    "no-samples": document(),
    "no-samples-and-no-line": document().replace(b"{\n\n", b"{\n"),
    "deep": document(line("a", attributes='{"x": ' + "[" * 150 + "]" * 150 + "}")),
    "large-number": document(line("a", attributes='{"x": ' + "9" * 400 + ', "y": 1e-400}')),
}


@pytest.mark.parametrize("data", TRAPS.values(), ids=TRAPS.keys())
def test_lines_have_exactly_the_samples_of_the_json(data: bytes) -> None:
    manifest, whole = parse(data), parse_whole(data)
    assert list(manifest.samples) == list(whole)
    assert dict(manifest.samples) == whole


def test_each_access_returns_a_new_entry() -> None:
    manifest = parse(document(line("a", attributes='{"x": [1]}')))
    manifest.sample("a").attributes["x"] = 2
    assert manifest.sample("a").attributes == {"x": [1]}


def test_a_sample_is_changed_by_assigning_it_and_removed_as_from_a_dict() -> None:
    samples = parse(document(line("a"), line("b"), line("c"))).samples
    changed = replace(samples["a"], attributes={"x": 1.5, "y": "ä"})
    samples["a"] = changed
    del samples["b"]
    assert samples == {"a": changed, "c": entry("c")}
    assert "b" not in samples
    with pytest.raises(KeyError, match="b"):
        del samples["b"]


def test_a_pickled_manifest_has_the_same_samples() -> None:
    manifest = parse(document(line("a"), line("b")))
    manifest.samples["c"] = entry("c")
    copy: StoreManifest = pickle.loads(pickle.dumps(manifest))
    assert copy == manifest
    assert is_lazy(copy)


def test_the_repr_of_a_large_manifest_is_short() -> None:
    manifest = parse(document(*(line(f"run_{number}") for number in range(1000))))
    assert repr(manifest) == str(manifest)
    assert repr(manifest).splitlines() == [
        "<StoreManifest of ahmed: 1,000 samples>",
        "  surface (2,041 points in the first 20 samples): position float32 x 3, pressure float16",
    ]
    assert re.search("^<1000 samples of /store/manifest.json>$", repr(manifest.samples))
