"""zarrita.js reads our stores in a browser, like a web viewer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether.data.zarr_store import ZarrChunkReader
from support.archive import STORE, domain_of, load_expected
from support.lanes import few_fast
from support.reading import FIELDS, write_runs
from support.zarrita import FoundGroup, missing, read_with_zarrita

# A developer's machine might not have a browser. CI checks that it has one before it runs these tests.
pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

SETTINGS: dict[str, dict[str, Any]] = {
    "whole shards": {"chunk_points": 4096},
    "capped shards": {"chunk_points": 500, "shard_points": 1500},
    "no checksum": {"chunk_points": 1024, "checksum": False},
    "float64": {"chunk_points": 2048, "coords_dtype": "float64", "values_dtype": "float64"},
}
TYPES = {"float16": "Float16Array", "float32": "Float32Array", "float64": "Float64Array"}


@pytest.fixture(
    scope="module", params=few_fast(SETTINGS, others=pytest.mark.browser), ids=lambda name: name.replace(" ", "_")
)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("store") / "store", "run_1", **SETTINGS[request.param])


@pytest.fixture(scope="module")
def found(store: Path) -> FoundGroup:
    return read_with_zarrita(store / "run_1.zarr")


def path_of(domain: str, field: str) -> str:
    return f"{domain}/{field.removeprefix(f'{domain}_')}"


def test_a_browser_gets_the_values_that_our_reader_gets(store: Path, found: FoundGroup) -> None:
    ours = ZarrChunkReader(store).read_arrays("run_1", dtype=None)
    for domain, fields in FIELDS.items():
        for field in fields:
            theirs = found.arrays[path_of(domain, field)]
            np.testing.assert_array_equal(theirs.reshape(ours[field].shape), ours[field], err_msg=field, strict=True)


def test_a_browser_has_the_stored_dtypes_natively(store: Path, found: FoundGroup) -> None:
    stored = ZarrChunkReader(store).read_arrays("run_1", dtype=None)
    types = {path_of(domain_of(field), field): TYPES[values.dtype.name] for field, values in stored.items()}
    assert found.types == types


def test_browser_reads_the_consolidated_metadata(found: FoundGroup) -> None:
    """It has every array, and the attributes."""
    assert set(found.arrays) == {path_of(domain, field) for domain, fields in FIELDS.items() for field in fields}
    assert found.attributes["attributes"] == {"name": "run_1"}


@pytest.mark.browser
def test_a_browser_gets_the_values_of_an_archived_store() -> None:
    expected = load_expected()
    for sample_id in expected.sources:
        arrays = read_with_zarrita(STORE / f"{sample_id}.zarr").arrays
        for field, values in expected.stored(sample_id).items():
            theirs = arrays.pop(path_of(domain_of(field), field))
            np.testing.assert_array_equal(theirs.reshape(values.shape), values, err_msg=field, strict=True)
        assert not arrays


@pytest.mark.browser
def test_unreadable_array_is_an_error_in_the_browser(tmp_path: Path) -> None:
    root = write_runs(tmp_path / "store", "run_1")
    (root / "run_1.zarr/volume/pressure/c/0/0").write_bytes(b"no shard at all, but long enough for its index")
    with pytest.raises(RuntimeError, match="Error"):
        read_with_zarrita(root / "run_1.zarr")
