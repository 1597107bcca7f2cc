"""Properties of added fields: their places depend only on the samples, not on the order of the additions."""

from __future__ import annotations

import json
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store.core import Grid
from noether.data.zarr_store.layout import ArrayLayout, DomainLayout
from noether.data.zarr_store.manifest import (
    DomainSample,
    FieldFidelity,
    OwnManifest,
    SampleEntry,
    StoreManifest,
    declared,
    settled,
    united,
)

IDS = ("a", "b", "c")
LATER = ("surface_friction", "surface_area", "surface_zeta")
GRID = DomainSample.of(Grid.fit(10, 4, None))
# A step writes a sample, or adds fields to one. The last sample has no surface.
steps = st.lists(st.tuples(st.sampled_from(["write", "add"]), st.sampled_from(IDS), st.sets(st.sampled_from(LATER))))


def layout(field: str) -> ArrayLayout:
    return ArrayLayout(field.replace("_", "/", 1), field, "float16", 1)


def base(later: Iterable[str] = ()) -> StoreManifest:
    fields = ("surface_position", "surface_pressure", *sorted(later))
    domains = {
        "surface": DomainLayout("surface_position", {field: layout(field) for field in fields}),
        "volume": DomainLayout("volume_position", {"volume_position": layout("volume_position")}),
    }
    return StoreManifest(
        dataset_name="x",
        format_version=1,
        shuffle_seed=0,
        coords_dtype="float32",
        values_dtype="float16",
        compressor="blosc-zstd-5",
        domains=domains,
        samples={},
        shuffle_algorithm="hash-v1",
    )


def entry(sample_id: str, fields: Iterable[str]) -> SampleEntry:
    domain = "volume" if sample_id == "c" else "surface"
    has = tuple(sorted(fields)) if domain == "surface" else ()
    return SampleEntry(f"{sample_id}.zarr", {domain: GRID}, fidelity=dict.fromkeys(has, LOSS), added_fields=has)


LOSS = FieldFidelity("float32")


def built(done: Iterable[tuple[str, str, set[str]]]) -> tuple[StoreManifest, dict[str, set[str]], set[str]]:
    """Apply steps as writers do. Return the manifest, the fields of each sample, and the declared fields."""
    manifest, has, known = base(), dict[str, set[str]](), set[str]()
    for kind, sample_id, fields in done:
        if kind == "add" and has.keys() & {sample_id} and sample_id != "c":
            known |= fields
            manifest = declared(manifest, {"surface": {field: layout(field) for field in fields}}, "here")
            has[sample_id] |= fields
            manifest.samples[sample_id] = entry(sample_id, has[sample_id])
            manifest = settled(manifest)
        elif kind == "write":
            # A writer knows the original fields of the store, and some of the added ones.
            written = fields & known
            writer = base(written).model_copy(update={"samples": {sample_id: entry(sample_id, written)}})
            manifest = settled(manifest.merged_with(writer, "here"))
            has[sample_id] = written if sample_id != "c" else set()
    return manifest, has, known


@given(steps)
def test_a_field_is_joined_only_while_all_samples_have_it(done: list[tuple[str, str, set[str]]]) -> None:
    manifest, has, known = built(done)
    of_surface = [has[sample_id] for sample_id in has if sample_id != "c"]
    joined = {field for field in known if of_surface and all(field in fields for fields in of_surface)}
    assert manifest.domains["surface"].arrays.keys() - {"surface_position", "surface_pressure"} == joined
    assert manifest.pending_fields.get("surface", {}).keys() == known - joined
    for sample_id, fields in has.items():
        assert set(manifest.sample(sample_id).added_fields) == fields
    # Known names in the order of `FileMap`, then all other names.
    order = [field for field in ("surface_friction", "surface_area", "surface_zeta") if field in joined]
    assert list(manifest.domains["surface"].arrays) == ["surface_position", "surface_pressure", *order]
    again = StoreManifest.parse(manifest.to_json("here"), "here")
    assert (again.domains, again.pending_fields) == (manifest.domains, manifest.pending_fields)


@given(steps)
def test_the_groups_rebuild_the_manifest(done: list[tuple[str, str, set[str]]]) -> None:
    """Except for declared fields that no sample has."""
    manifest, has, _ = built(done)
    groups = [
        OwnManifest.of_root(group_of(manifest, sample_id), f"{sample_id}.zarr", "here") for sample_id in sorted(has)
    ]
    rebuilt = united(None, groups, [one.entry.relpath for one in groups], trusted=False)
    if rebuilt is None:
        assert not has
        return
    assert rebuilt.domains == manifest.domains
    had = set().union(*has.values())
    pending = {field for field in manifest.pending_fields.get("surface", {}) if field in had}
    assert rebuilt.pending_fields.get("surface", {}).keys() == pending
    assert dict(rebuilt.samples) == dict(manifest.samples)


def group_of(manifest: StoreManifest, sample_id: str) -> bytes:
    attributes = manifest.as_group_attributes(sample_id, manifest.sample(sample_id))
    return json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}).encode()
