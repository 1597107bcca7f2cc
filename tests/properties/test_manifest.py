"""Laws of the manifest: its JSON keeps everything, and merging loses nothing."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store.fidelity import FieldFidelity
from noether.data.zarr_store.grid import Grid
from noether.data.zarr_store.layout import build_domain_layouts
from noether.data.zarr_store.manifest import DomainSample, SampleEntry, StoreManifest
from noether.data.zarr_store.names import group_path
from support.ahmed import AHMED_FILEMAP

LAYOUTS = build_domain_layouts(AHMED_FILEMAP)
FIELDS = [field for layout in LAYOUTS.values() for field in layout.arrays]

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
ERRORS = st.floats(0, allow_infinity=False)
IDS = st.from_regex(r"[a-z0-9_äß翼]{1,8}(/[a-z0-9_]{1,8})?", fullmatch=True)

grids = st.builds(
    Grid.fit, st.integers(1, 2**40), st.integers(1, 2**20), shard_points=st.none() | st.integers(1, 2**30)
)
samples = st.dictionaries(
    IDS,
    st.builds(
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
            ),
            max_size=2,
        ),
    ),
    max_size=4,
)
settings: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "dataset_name": st.text(min_size=1),
        "format_version": st.just(1),
        "shuffle_seed": st.integers(),
        "coords_dtype": st.sampled_from(["float32", "float64"]),
        "values_dtype": st.sampled_from(["float16", "float32"]),
        "compressor": st.integers(0, 9).map("blosc-zstd-{}".format),
        "domains": st.just(LAYOUTS),
    },
    optional={
        "shuffle_algorithm": st.just("mt19937-v1"),
        "checksum": st.booleans(),
        "splits": st.dictionaries(st.text(), st.lists(IDS)),
        "chunk_index": st.just("chunk_index-0f.npy"),
        "unit_system": JSON,
    },
)
manifests = st.builds(lambda keys, entries: StoreManifest(**keys, samples=entries), settings, samples)


@st.composite
def stores(draw: st.DrawFn, count: int) -> list[StoreManifest]:
    """Manifests of writers with the same settings, whose samples may overlap."""
    keys = draw(settings)
    return [StoreManifest(**keys, samples=draw(samples)) for _ in range(count)]


@given(manifests)
def test_a_manifest_comes_back_from_its_json_with_all_it_holds(manifest: StoreManifest) -> None:
    again = StoreManifest.parse(manifest.model_dump_json().encode(), "manifest.json")
    assert again == manifest
    assert list(again.samples) == list(manifest.samples)
    assert again.model_dump_json() == manifest.model_dump_json()


@given(manifests)
def test_any_json_reader_finds_the_required_keys(manifest: StoreManifest) -> None:
    content = json.loads(manifest.model_dump_json())
    for sample_id, entry in manifest.samples.items():
        assert content["samples"][sample_id]["relpath"] == entry.relpath
        for domain, grid in entry.domains.items():
            assert content["samples"][sample_id]["domains"][domain] == {
                "n_points": grid.n_points,
                "chunk_points": grid.chunk_points,
                "shard_points": grid.shard_points,
                "n_chunks": grid.grid.n_chunks,
            }


@given(manifests)
def test_the_groups_of_all_samples_rebuild_the_manifest(manifest: StoreManifest) -> None:
    rebuilt = manifest.model_copy(update={"samples": {}})
    for sample_id, entry in manifest.samples.items():
        group = {"zarr_format": 3, "attributes": manifest.as_group_attributes(sample_id, entry)}
        alone = StoreManifest.of_group(json.dumps(group).encode(), "zarr.json")
        rebuilt = rebuilt.merged_with(alone, "zarr.json")
    assert rebuilt == manifest


@given(stores(2))
def test_a_merge_holds_the_samples_of_both_and_the_added_entry_of_one_that_both_have(
    pair: list[StoreManifest],
) -> None:
    store, added = pair
    before = store.model_dump_json(), added.model_dump_json()
    merged = store.merged_with(added, "manifest.json")
    assert merged.samples.keys() == store.samples.keys() | added.samples.keys()
    for sample_id, entry in merged.samples.items():
        assert entry == added.samples.get(sample_id, store.samples.get(sample_id))
    assert (store.model_dump_json(), added.model_dump_json()) == before


@given(stores(3))
def test_merging_is_associative(three: list[StoreManifest]) -> None:
    a, b, c = three
    assert a.merged_with(b, "m").merged_with(c, "m") == a.merged_with(b.merged_with(c, "m"), "m")


@given(stores(2))
def test_merging_again_changes_nothing(pair: list[StoreManifest]) -> None:
    store, added = pair
    merged = store.merged_with(added, "m")
    assert merged.merged_with(added, "m") == merged
    assert store.merged_with(store, "m") == store
