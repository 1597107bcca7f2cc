"""Archived stores of earlier releases still read the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import zarr

from noether.data.zarr_store import StoreManifest, ZarrChunkReader
from noether.data.zarr_store.reading.chunk_index import open_chunk_index
from noether.data.zarr_store.stores import open_storage
from noether.data.zarr_store.upkeep.verify import verify_store
from support.archive import (
    ATTRIBUTES,
    DRAWS,
    INDEX_WITH_IDS,
    SPLITS,
    STORE,
    STORE_ARRAY_PATHS,
    STORE_HASH_ORDER,
    STORE_WHOLE_BLOCKS,
    Expected,
    domain_of,
    draw,
    load_expected,
    rows_of,
)
from support.trees import assert_same_arrays

IDS = sorted(ATTRIBUTES)
OPTIONAL = ("shuffle_algorithm", "checksum", "splits", "chunk_index", "copied_from", "crc32c")
"""Optional keys of the manifest."""


@pytest.fixture(scope="module")
def expected(root: Path) -> Expected:
    return load_expected(STORE_HASH_ORDER if StoreManifest.load(str(root)).shuffle_algorithm == "hash-v1" else root)


def with_ids(root: Path) -> Path:
    """Return a copy of the last archived store, with the chunk index that a later release built for it."""
    copied = Path(shutil.copytree(STORE_HASH_ORDER, root))
    next(copied.glob("chunk_index-*.npy")).unlink()
    return Path(shutil.copytree(INDEX_WITH_IDS, copied, dirs_exist_ok=True))


@pytest.fixture(
    scope="module",
    params=["with chunk index", "without", "whole blocks", "array paths", "hash order", "index with ids"],
)
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "with chunk index":
        return STORE
    if request.param == "whole blocks":
        return STORE_WHOLE_BLOCKS
    if request.param == "array paths":
        return STORE_ARRAY_PATHS
    if request.param == "hash order":
        return STORE_HASH_ORDER
    if request.param == "index with ids":
        return with_ids(tmp_path_factory.mktemp("archive") / "store")
    copied = Path(shutil.copytree(STORE, tmp_path_factory.mktemp("archive") / "store"))
    StoreManifest.update(str(copied), lambda manifest: manifest.model_copy(update={"chunk_index": None}))
    next(copied.glob("chunk_index-*.npy")).unlink()
    return copied


@pytest.mark.parametrize("sample_id", IDS)
def test_an_archived_sample_has_its_values_in_their_order(root: Path, expected: Expected, sample_id: str) -> None:
    read = ZarrChunkReader(root).read_arrays(sample_id, order="original", dtype=None)
    assert_same_arrays(read, expected.sources[sample_id])


@pytest.mark.parametrize("sample_id", IDS)
def test_an_archived_sample_is_stored_in_the_order_that_the_format_prescribes(
    root: Path, expected: Expected, sample_id: str
) -> None:
    reader = ZarrChunkReader(root)
    assert_same_arrays(reader.read_arrays(sample_id, dtype=None), expected.stored(sample_id))
    for domain, order in expected.orders[sample_id].items():
        np.testing.assert_array_equal(reader.permutation(sample_id, domain), order)


@pytest.mark.parametrize("number", range(len(DRAWS)))
def test_a_draw_of_an_archived_sample_has_the_values_of_its_points(root: Path, expected: Expected, number: int) -> None:
    asked = DRAWS[number]
    drawn, stored = draw(root, asked), expected.stored(asked["sample_id"])
    rows = rows_of(drawn, stored)
    assert {domain: len(set(one)) for domain, one in rows.items()} == asked["num_points"]
    assert_same_arrays(drawn, {field: values[rows[domain_of(field)]] for field, values in stored.items()})


def test_an_archived_store_keeps_attributes_and_splits(root: Path) -> None:
    reader = ZarrChunkReader(root)
    assert {sample_id: reader.attributes(sample_id) for sample_id in IDS} == ATTRIBUTES
    assert reader.manifest.splits == SPLITS


def test_an_archived_store_is_sound(root: Path) -> None:
    report = verify_store(root, workers=1)
    assert (report.findings, report.limits) == ((), ())


@pytest.mark.parametrize("form", ["in order", "with ids"])
def test_an_archived_chunk_index_describes_every_chunk(tmp_path: Path, form: str) -> None:
    root = STORE if form == "in order" else with_ids(tmp_path / "store")
    manifest = StoreManifest.load(str(root))
    index = open_chunk_index(open_storage(str(root)), manifest)
    assert index is not None
    for sample_id, entry in manifest.samples.items():
        fields = {field for domain in entry.domains for field in manifest.domains[domain].arrays}
        assert index.lengths(sample_id).keys() == fields
    assert len(list(root.glob("*_index-*.npy"))) == 1


def test_an_archived_store_needs_only_the_required_manifest_keys(
    tmp_path: Path,
) -> None:
    root, expected = Path(shutil.copytree(STORE, tmp_path / "store")), load_expected()
    manifest = json.loads((root / "manifest.json").read_text())
    samples = {name: {key: entry[key] for key in ("relpath", "domains")} for name, entry in manifest["samples"].items()}
    required = {key: value for key, value in manifest.items() if key not in OPTIONAL} | {"samples": samples}
    assert len(required) == 8
    (root / "manifest.json").write_text(json.dumps(required))
    reader = ZarrChunkReader(root)
    for sample_id in IDS:
        assert_same_arrays(reader.read_arrays(sample_id, dtype=None), expected.stored(sample_id))


def with_zarr_python(array: Path) -> Any:
    opened = zarr.open_array(array, mode="r")
    return opened[:]


def with_tensorstore(array: Path) -> Any:
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(array)}}
    return tensorstore.open(spec, read=True).result().read().result()


@pytest.mark.parametrize("read", [with_zarr_python, with_tensorstore])
def test_other_readers_get_the_values_of_an_archived_store(read: Callable[[Path], Any]) -> None:
    expected = load_expected()
    for sample_id in IDS:
        for field, values in expected.stored(sample_id).items():
            domain, _, name = field.partition("_")
            array = np.asarray(read(STORE / f"{sample_id}.zarr" / domain / name))
            np.testing.assert_array_equal(array.reshape(values.shape), values, err_msg=field, strict=True)
