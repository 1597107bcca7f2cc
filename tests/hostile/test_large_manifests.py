"""Manifests of any size: they are read or refused in bounded time and memory."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from noether.data.zarr_store import StoreManifest
from noether.data.zarr_store.errors import ManifestError, TooLargeError
from noether.data.zarr_store.stores import open_storage
from support.bounds import bounded
from support.lanes import few_fast
from support.manifests import GRID, minimal
from support.places import PLACES, make_place

MIB = 1 << 20
HEAD = json.dumps({key: value for key, value in minimal().items() if key != "samples"}, indent=2).removesuffix("\n}")
SAMPLES, END = ',\n  "samples": {\n', "\n  }\n}\n"
SAMPLE = json.dumps({"relpath": "run_1.zarr", "domains": {"surface": GRID}})


def repeated(unit: str, begin: str, end: str, n_bytes: int = 16 * MIB) -> bytes:
    return f"{HEAD}{begin}{','.join([unit] * (n_bytes // (len(unit) + 1)))}{end}".encode()


def lines(make: Callable[[int], str], n_lines: int) -> bytes:
    return f"{HEAD}{SAMPLES}{(',' + chr(10)).join(map(make, range(n_lines)))}{END}".encode()


HUGE: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing but zeros": (lambda: bytes(64 * MIB), "Invalid JSON: expected value"),
    "open brackets": (lambda: b"[" * (64 * MIB), "Invalid JSON: recursion limit"),
    "empty lists": (
        lambda: repeated("[]", ', "x": [', "]}"),
        r"expected at most 2,097,152 values, .*, got over [\d,]+ values",
    ),
    "whole numbers": (lambda: repeated("1", ', "x": [', "]}"), "expected .* values, .*, got over .* values"),
    "infinite numbers": (
        lambda: repeated("1e999", ', "x": [', "]}", 10 * MIB),
        r"expected at most 131,072 values beside the samples, got over 1,\d+,\d+",
    ),
    "wrong ids in a split": (
        lambda: repeated("1", ', "splits": {"a": [', "]}}", 3 * MIB),
        r"samples: Field required \(and 1 more\); repair it: noether-zarr repair STORE$",
    ),
    "digits": (lambda: f'{HEAD}, "x": {"1" * 16 * MIB}}}'.encode(), "Invalid JSON: number out of range"),
    "samples that are none": (
        lambda: f'{HEAD}, "samples": {{{",".join(f"{chr(34)}{i}{chr(34)}:1" for i in range(300_000))}}}}}'.encode(),
        r"samples\.0: Input should be",
    ),
    "too many lines": (
        lambda: lines(lambda i: f'"{i}":1', 2**21 + 1),
        r"expected .* values, or at most 1,048,576 samples with one line each, got over 2,097,1.. values",
    ),
    "a line of infinite numbers": (
        lambda: lines(lambda _: f'"a": {{"attributes": {{"x": [{"1e999," * 10**6} 1]}}}}', 1),
        "expected at most 131,072 values in sample 'a', got over 1,000,000",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", few_fast(HUGE, 4))
def test_a_large_invalid_manifest_is_refused_in_little_memory(name: str) -> None:
    """The refusal takes little more memory than the size of the file."""
    make, message = HUGE[name]
    data = make()
    with bounded(256 * MIB + len(data)), pytest.raises(ManifestError, match=rf"^m: not a valid manifest: .*{message}"):
        StoreManifest.parse(data, "m")


@pytest.mark.slow
def test_a_hundred_thousand_samples_are_read_in_the_memory_of_their_lines() -> None:
    data = lines(lambda i: f'"run_{i}": {SAMPLE}', 100_000)
    tracemalloc.start()
    try:
        manifest = StoreManifest.parse(data, "m")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(manifest.samples) == 100_000
    assert manifest.sample("run_99999").domains["surface"].n_points == GRID["n_points"]
    assert peak < len(data) + 30 * MIB


def sparse(path: Path, n_bytes: int) -> None:
    path.touch()
    os.truncate(path, n_bytes)


@pytest.mark.parametrize("n_bytes", [(1 << 30) + 1, 1 << 40], ids=["more than a GiB", "a TiB"])
def test_a_manifest_of_more_than_a_gibibyte_is_not_read(tmp_path: Path, n_bytes: int) -> None:
    sparse(tmp_path / "manifest.json", n_bytes)
    message = (
        rf"manifest\.json has {n_bytes:,} bytes, expected a document of at most 1,073,741,824; restore it from a copy$"
    )
    with bounded(), pytest.raises(TooLargeError, match=message):
        StoreManifest.load(str(tmp_path))


@pytest.mark.slow
def test_a_manifest_of_a_gibibyte_is_read_and_refused(tmp_path: Path) -> None:
    sparse(tmp_path / "manifest.json", 1 << 30)
    with bounded((1 << 30) + 64 * MIB), pytest.raises(ManifestError, match="Invalid JSON"):
        StoreManifest.load(str(tmp_path))


@pytest.mark.parametrize("kind", PLACES)
def test_too_large_documents_are_refused_but_files_of_that_size_are_read(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("base", "local"):
        monkeypatch.setattr(f"noether.data.zarr_store.stores.{module}.MAX_DOCUMENT_BYTES", 1000)
    place = make_place(kind, request)
    storage = open_storage(place.root, place.options)
    storage.update("fits.json", lambda _: bytes(1000))
    storage.write("large.json", bytes(1001))
    assert storage.read_if_there("fits.json") == bytes(1000)
    assert storage.read_if_there("none.json") is None
    with pytest.raises(TooLargeError, match=r"large\.json:? (it )?has 1,001 bytes, expected .* at most 1,000"):
        storage.read_if_there("large.json")
    with storage.open_file("large.json") as file:
        assert file.read() == bytes(1001)


def test_the_metadata_of_a_group_are_bounded_by_the_number_of_their_values() -> None:
    with bounded(), pytest.raises(ManifestError, match="over 5,"):
        StoreManifest.of_group(repeated("[]", ', "attributes": [', "]}"), "zarr.json")
