"""Properties of the manifest: its JSON keeps everything, and a merge loses nothing."""

from __future__ import annotations

import json

from hypothesis import given

from noether.data.zarr_store.manifest import StoreManifest
from support.manifests import manifests, stores


@given(manifests)
def test_a_manifest_survives_a_round_trip_through_json(manifest: StoreManifest) -> None:
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
    chunk_index = None if manifest.samples else manifest.chunk_index
    assert rebuilt == manifest.model_copy(update={"chunk_index": chunk_index})


@given(stores(2))
def test_a_merge_has_the_samples_of_both_and_prefers_added_entries(
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
    assert store.merged_with(store, "m").samples == store.samples


@given(stores(2))
def test_a_merge_keeps_the_chunk_index_only_if_it_adds_no_sample(pair: list[StoreManifest]) -> None:
    store, added = pair
    merged = store.merged_with(added, "m")
    assert merged.chunk_index == (None if added.samples else store.chunk_index)
