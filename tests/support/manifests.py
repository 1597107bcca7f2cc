"""Manifests for tests: a minimal manifest, and strategies for arbitrary ones."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from noether.data.zarr_store.core.grid import Grid
from noether.data.zarr_store.core.names import group_path
from noether.data.zarr_store.layout import build_domain_layouts
from noether.data.zarr_store.manifest import DomainSample, SampleEntry, StoreManifest
from noether.data.zarr_store.manifest.fidelity import FieldFidelity
from support.ahmed import AHMED_FILEMAP

__all__ = ["GRID", "IDS", "JSON", "Json", "entry", "manifests", "minimal", "parse", "sample_entries", "stores"]

Json = dict[str, Any]

GRID = {"n_points": 2041, "chunk_points": 512, "shard_points": 1024, "n_chunks": 4}
LAYOUTS = build_domain_layouts(AHMED_FILEMAP)
FIELDS = [field for layout in LAYOUTS.values() for field in layout.arrays]


def minimal() -> Json:
    """Return the JSON of a manifest with only the required keys."""
    return {
        "dataset_name": "ahmed",
        "format_version": 1,
        "shuffle_seed": 3,
        "coords_dtype": "float32",
        "values_dtype": "float16",
        "compressor": "blosc-zstd-5",
        "domains": {
            "surface": {
                "position": "surface_position",
                "arrays": {
                    "surface_position": {
                        "array_name": "surface/position",
                        "field": "surface_position",
                        "dtype": "float32",
                        "dim": 3,
                    },
                    "surface_pressure": {
                        "array_name": "surface/pressure",
                        "field": "surface_pressure",
                        "dtype": "float16",
                        "dim": 1,
                    },
                },
            }
        },
        "samples": {"run_1": {"relpath": "run_1.zarr", "domains": {"surface": dict(GRID)}}},
    }


def parse(content: Json) -> StoreManifest:
    return StoreManifest.parse(json.dumps(content).encode(), "/store/manifest.json")


def entry(sample_id: str, **more: Any) -> SampleEntry:
    """Return the entry of a sample that fits `minimal`."""
    return SampleEntry(f"{sample_id}.zarr", {"surface": DomainSample.of(Grid.fit(2041, 512, 1024))}, **more)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
PRINTED = st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]))
ERRORS = st.floats(0, allow_infinity=False)
# The first three ids are frequent, so that two manifests share samples.
IDS = st.sampled_from(["run_1", "run_2", "part/run_1"]) | st.from_regex(
    r"[a-z0-9_äß翼]{1,8}(/[a-z0-9_]{1,8})?", fullmatch=True
)

grids = st.builds(
    Grid.fit, st.integers(1, 2**40), st.integers(1, 2**20), shard_points=st.none() | st.integers(1, 2**30)
)
sample_entries = st.builds(
    SampleEntry,
    relpath=IDS.map(group_path),
    domains=st.dictionaries(st.sampled_from(list(LAYOUTS)), grids.map(DomainSample.of), min_size=1),
    attributes=st.dictionaries(st.text(), JSON, max_size=3),
    fidelity=st.dictionaries(
        st.sampled_from(FIELDS),
        st.builds(
            FieldFidelity,
            source_dtype=st.sampled_from(["float32", "int64"]),
            max_abs_error=ERRORS,
            max_rel_error=ERRORS,
            flushed_to_zero=st.integers(0, 2**40),
            needs_float64=st.booleans(),
        ),
        max_size=2,
    ),
)
samples = st.dictionaries(IDS, sample_entries, max_size=4)
coordinates = st.floats(allow_nan=False, allow_infinity=False)


def _with_version(keys: Json) -> Json:
    return keys | {"format_version": 2 if "origin" in keys else 1}


settings: st.SearchStrategy[Json] = st.fixed_dictionaries(
    {
        "dataset_name": PRINTED.filter(bool),
        "shuffle_seed": st.integers(),
        "coords_dtype": st.sampled_from(["float32", "float64"]),
        "values_dtype": st.sampled_from(["float16", "float32"]),
        "compressor": st.integers(0, 9).map("blosc-zstd-{}".format),
        "domains": st.just(LAYOUTS),
    },
    optional={
        "shuffle_algorithm": st.just("mt19937-v1"),
        "checksum": st.booleans(),
        "splits": st.dictionaries(PRINTED, st.lists(IDS)),
        "chunk_index": st.just("chunk_index-0f.npy"),
        "removing": st.dictionaries(IDS.map("removed/{}.zarr".format), IDS, max_size=2),
        "origin": st.tuples(coordinates, coordinates, coordinates),
        "unit_system": JSON,
    },
).map(_with_version)
manifests = st.builds(lambda keys, entries: StoreManifest(**keys, samples=entries), settings, samples)


@st.composite
def stores(draw: st.DrawFn, count: int) -> list[StoreManifest]:
    """Return manifests of writers with the same settings. Their samples can overlap."""
    keys = draw(settings)
    return [StoreManifest(**keys, samples=draw(samples)) for _ in range(count)]
