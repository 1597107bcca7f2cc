"""manifest.json: required keys, optional keys, and refused content."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from noether.data.schemas import FileMap
from noether.data.zarr_store.errors import ManifestConflictError, ManifestError, UnknownNameError
from noether.data.zarr_store.layout import ArrayLayout, build_domain_layouts
from noether.data.zarr_store.manifest import DomainSample, SampleEntry, StoreManifest
from noether.data.zarr_store.manifest.fidelity import FieldFidelity
from support.manifests import GRID, Json, entry, minimal, parse

Edit = Callable[[Json], object]

LAYOUTS = build_domain_layouts(FileMap(surface_position="a.npy", surface_pressure="b.npy"))


def edited(edit: Edit) -> Json:
    content = minimal()
    edit(content)
    return content


def test_a_manifest_with_only_the_required_keys_is_read_with_defaults() -> None:
    manifest = parse(minimal())
    assert manifest.domains == LAYOUTS
    assert manifest.samples == {"run_1": SampleEntry("run_1.zarr", {"surface": DomainSample(**GRID)}, {}, {})}
    assert manifest.shuffle_algorithm is None
    assert manifest.checksum is False
    assert manifest.splits == {}
    assert manifest.chunk_index is None


def test_each_required_key_is_written_again_for_readers_that_know_only_those() -> None:
    written = json.loads(parse(minimal()).model_dump_json())
    for key, value in minimal().items():
        if key != "samples":
            assert written[key] == value
    sample = written["samples"]["run_1"]
    assert (sample["relpath"], sample["domains"]) == ("run_1.zarr", {"surface": GRID})


@pytest.mark.parametrize("key", list(minimal()))
def test_a_manifest_without_a_required_key_is_refused_with_the_key(key: str) -> None:
    with pytest.raises(
        ManifestError,
        match=f"^/store/manifest.json: not a valid manifest: {key}: Field required; repair it: noether-zarr repair .*$",
    ):
        parse(edited(lambda content: content.pop(key)))


def test_unknown_keys_of_the_manifest_are_kept() -> None:
    manifest = parse(minimal() | {"units": {"pressure": "Pa"}, "licence": "CC"})
    written = json.loads(manifest.model_dump_json())
    assert (written["units"], written["licence"]) == ({"pressure": "Pa"}, "CC")


def test_unknown_keys_of_a_sample_are_no_error() -> None:
    content = edited(lambda content: content["samples"]["run_1"].update(mesh="tet"))
    assert parse(content).samples == parse(minimal()).samples


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(minimal() | {"format_version": 3}, id="otherwise-readable"),
        pytest.param({"format_version": 3}, id="all-else-missing"),
        pytest.param({"samples": [7], "domains": 7, "dataset_name": None, "format_version": 3}, id="all-else-changed"),
    ],
)
def test_a_higher_format_version_is_refused_by_name(content: Json) -> None:
    """The version is named even if nothing else of the manifest can be read."""
    message = r"^/store/manifest.json: .*format version 3 is not known .* reads versions up to 2; upgrade: pip install"
    with pytest.raises(ManifestError, match=message):
        parse(content)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format_version": 1', b'{"a": %b}' % (b"9" * 5000)],
    ids=["empty", "cut", "list", "null", "no-utf-8", "deeply-nested", "half", "huge-number"],
)
def test_an_invalid_manifest_is_refused_with_its_path(data: bytes) -> None:
    with pytest.raises(ManifestError, match=r"^/store/manifest.json: not a valid manifest: "):
        StoreManifest.parse(data, "/store/manifest.json")


def _sample(key: str, value: object) -> Edit:
    return lambda content: content["samples"]["run_1"].update({key: value})


def _grid(**changes: object) -> Edit:
    return lambda content: content["samples"]["run_1"]["domains"]["surface"].update(changes)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        pytest.param(_sample("relpath", "../run_1.zarr"), "starts with a dot", id="relpath-leaves-the-root"),
        pytest.param(_sample("relpath", "/etc"), "starts or ends with '/'", id="absolute-relpath"),
        pytest.param(
            lambda content: content["samples"].update({"../a": content["samples"]["run_1"]}),
            r"sample id '\.\./a': a segment of it starts with a dot",
            id="sample-id-leaves-the-root",
        ),
        pytest.param(
            lambda content: content["domains"].update({"../a": content["domains"]["surface"]}),
            r"path '\.\./a': a segment of it starts with a dot",
            id="domain-leaves-the-group",
        ),
        pytest.param(
            lambda content: content["domains"]["surface"]["arrays"]["surface_pressure"].update(array_name="../../a"),
            r"path '\.\./\.\./a': a segment of it starts with a dot",
            id="array-leaves-the-group",
        ),
        pytest.param(
            lambda content: content.update(chunk_index="/etc/passwd"),
            "chunk_index: String should match pattern",
            id="chunk-index-leaves-the-root",
        ),
        pytest.param(
            _grid(n_chunks=5),
            "n_chunks: expected 4 for 2,041 points in chunks of 512, got 5",
            id="n-chunks-that-lies",
        ),
        pytest.param(_grid(n_points=0), "n_points: expected a whole number of at least 1, got 0", id="no-points"),
        pytest.param(_grid(n_points=-5), "n_points: expected a whole number of at least 1", id="negative-points"),
        pytest.param(_grid(n_points=1.5), "valid integer", id="half-a-point"),
        pytest.param(_grid(chunk_points=0), "chunk_points: expected a whole number of at least 1", id="empty-chunks"),
        pytest.param(
            _grid(shard_points=700),
            "shard_points: expected a multiple of chunk_points 512, got 700",
            id="shard-of-part-of-a-chunk",
        ),
        pytest.param(
            lambda content: content["domains"]["surface"].update(position="surface_area"),
            "domain 'surface': its arrays lack its position 'surface_area'",
            id="position-that-is-not-there",
        ),
        pytest.param(
            _sample("domains", {"volume": GRID}),
            r"sample 'run_1': the store has no domains \['volume'\]",
            id="sample-of-an-unknown-domain",
        ),
    ],
)
def test_a_forged_manifest_is_refused(edit: Edit, message: str) -> None:
    with pytest.raises(ManifestError, match="^/store/manifest.json: not a valid manifest: .*" + message):
        parse(edited(edit))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda content: content.update(tolerance=0.25), id="unknown-key"),
        pytest.param(_sample("attributes", {"a": [0.25]}), id="attribute"),
        pytest.param(_sample("fidelity", {"f": {"source_dtype": "float32", "max_abs_error": 0.25}}), id="fidelity"),
    ],
)
def test_numbers_that_are_not_finite_are_refused(edit: Edit, number: str) -> None:
    data = json.dumps(edited(edit)).replace("0.25", number)
    with pytest.raises(ManifestError, match=r"^/store/manifest.json: not a valid .*: (Invalid JSON|.*finite number)"):
        StoreManifest.parse(data.encode(), "/store/manifest.json")


def test_of_many_problems_the_first_is_named_and_the_others_counted() -> None:
    with pytest.raises(
        ManifestError, match=r"dataset_name: Field required \(and 2 more\); repair it: noether-zarr repair STORE$"
    ):
        parse(edited(lambda content: [content.pop(key) for key in ("dataset_name", "compressor", "samples")]))


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("dataset_name", "drivaer", "dataset_name: the store has ahmed, this writer drivaer"),
        ("shuffle_seed", 4, "shuffle_seed: the store has 3, this writer 4"),
        ("shuffle_algorithm", "other", "shuffle_algorithm: the store has None, this writer other"),
        ("coords_dtype", "float64", "coords_dtype: the store has float32, this writer float64"),
        ("values_dtype", "float32", "values_dtype: the store has float16, this writer float32"),
        ("compressor", "blosc-zstd-9", "compressor: the store has blosc-zstd-5, this writer blosc-zstd-9"),
        ("checksum", True, "checksum: the store has False, this writer True"),
    ],
)
def test_other_settings_are_refused_with_both_values(key: str, value: object, shown: str) -> None:
    store, writer = parse(minimal()), parse(minimal() | {key: value})
    with pytest.raises(ManifestConflictError) as caught:
        store.merged_with(writer, "/store/manifest.json")
    assert str(caught.value) == (
        f"/store/manifest.json: the store was written with other settings ({shown}); "
        "use the settings of the store, or write to another store"
    )


def test_all_settings_that_differ_are_listed_and_no_others() -> None:
    store = parse(minimal())
    writer = parse(minimal() | {"shuffle_seed": 4, "values_dtype": "float32", "splits": {"train": []}})
    with pytest.raises(
        ManifestConflictError, match=r"\(shuffle_seed: [^;]*; values_dtype: [^;]*\); use the settings of the store"
    ):
        store.require_same_settings(writer, "/store/manifest.json")


@pytest.mark.parametrize(
    ("array", "store", "writer"),
    [
        pytest.param(
            ArrayLayout("surface/pressure", "surface_pressure", "float32", 1), "float16 x 1", "float32 x 1", id="dtype"
        ),
        pytest.param(
            ArrayLayout("surface/pressure", "surface_pressure", "float16", 3), "float16 x 1", "float16 x 3", id="width"
        ),
    ],
)
def test_another_layout_is_refused_with_what_differs(array: ArrayLayout, store: str, writer: str) -> None:
    ours, theirs = parse(minimal()), parse(minimal())
    theirs.domains["surface"].arrays["surface_pressure"] = array
    with pytest.raises(ManifestConflictError, match=f"'{store}'.* this writer .*'{writer}'"):
        ours.require_same_settings(theirs, "/store/manifest.json")


LATER = {"array_name": "surface/friction", "field": "surface_friction", "dtype": "float16", "dim": 3}


@pytest.mark.parametrize("key", ["pending_fields", "removing_fields"])
@pytest.mark.parametrize(
    ("domain", "changed", "message"),
    [
        pytest.param("nowhere", {}, "pending_fields, removing_fields: the store has no domain 'nowhere'", id="domain"),
        pytest.param("surface", {"array_name": "../x"}, "path", id="outside"),
        pytest.param(
            "surface", {"array_name": "surface"}, "expected an array in 'surface', got 'surface'", id="a domain"
        ),
        pytest.param(
            "surface", {"array_name": "surface/position/c"}, "expected an array in 'surface'", id="in an array"
        ),
        pytest.param(
            "surface", {"array_name": "surface/pressure"}, "another field has the same array", id="same array"
        ),
        pytest.param("surface", {"field": "surface_area"}, "its array names another field, 'surface_area'", id="name"),
        pytest.param("surface", {"dtype": "int8"}, "dtype", id="dtype"),
    ],
)
def test_forged_later_fields_are_refused(key: str, domain: str, changed: dict[str, Any], message: str) -> None:
    parse(minimal() | {key: {"surface": {"surface_friction": LATER}}})
    with pytest.raises(ManifestError, match=message):
        parse(minimal() | {key: {domain: {"surface_friction": LATER | changed}}})


def test_a_field_is_not_listed_and_being_removed() -> None:
    fields = minimal()["domains"]["surface"]["arrays"]
    with pytest.raises(
        ManifestError, match="field 'surface_pressure': it is listed twice, once as pending or being removed"
    ):
        parse(minimal() | {"removing_fields": {"surface": {"surface_pressure": fields["surface_pressure"]}}})


def test_a_merge_keeps_splits_and_unknown_keys_of_the_store() -> None:
    store = parse(minimal() | {"splits": {"train": ["run_1"]}, "units": "SI"})
    merged = store.merged_with(parse(minimal()), "/store/manifest.json")
    assert json.loads(merged.model_dump_json()) == json.loads(store.model_dump_json())


def test_a_group_has_a_manifest_of_only_its_sample_and_attributes_once() -> None:
    sample = entry("run_2", attributes={"angle": 25.0}, fidelity={"surface_pressure": FieldFidelity("float32", 0.5)})
    attributes = parse(minimal()).as_group_attributes("run_2", sample)
    assert attributes["attributes"] == {"angle": 25.0}
    assert list(attributes["manifest"]["samples"]) == ["run_2"]
    assert "attributes" not in attributes["manifest"]["samples"]["run_2"]
    assert json.loads(json.dumps(attributes)) == attributes


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff", id="no-utf-8"),
        pytest.param(b"{}", id="no-attributes"),
        pytest.param(b"[]", id="list"),
        pytest.param(b'{"attributes": {}}', id="attributes-of-another-program"),
        pytest.param(b'{"attributes": {"manifest": {"samples": []}, "attributes": {}}}', id="samples-no-mapping"),
        pytest.param(b'{"attributes": {"manifest": {"samples": {"a": 1}}, "attributes": {}}}', id="entry-no-mapping"),
        pytest.param(b"[" * 100_000, id="deeply-nested"),
        pytest.param(
            b'{"attributes": {"manifest": {"samples": {"a": {}, "b": {}}}, "attributes": {}}}', id="of-two-samples"
        ),
    ],
)
def test_a_group_of_another_program_is_refused(data: bytes) -> None:
    with pytest.raises(ManifestError, match=r"^/store/run_1.zarr/zarr.json: not a group of this library \("):
        StoreManifest.of_group(data, "/store/run_1.zarr/zarr.json")


def test_a_group_of_a_higher_format_version_is_refused_by_name() -> None:
    group = {"attributes": {"attributes": {}, "manifest": minimal() | {"format_version": 3}}}
    with pytest.raises(ManifestError, match="format version 3 is not known"):
        StoreManifest.of_group(json.dumps(group).encode(), "/store/run_1.zarr/zarr.json")


def test_the_error_for_an_unknown_sample_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"^sample 'run_11' is not in the store; did you mean 'run_1'\?$"):
        parse(minimal()).sample("run_11")


def test_the_entry_of_a_known_sample_is_returned() -> None:
    assert parse(minimal()).sample("run_1") == entry("run_1")


def test_a_bare_array_name_is_read_as_a_path_in_its_domain() -> None:
    def shorten(content: Json) -> None:
        for array in content["domains"]["surface"]["arrays"].values():
            array["array_name"] = array["array_name"].removeprefix("surface/")

    bare = parse(edited(shorten))
    assert bare.domains == parse(minimal()).domains
    assert not bare.differing_settings(parse(minimal()))
    assert json.loads(bare.model_dump_json())["domains"] == minimal()["domains"]


def test_layouts_and_entries_turn_into_plain_dicts_and_back() -> None:
    manifest = parse(minimal())
    domain, entry = manifest.domains["surface"], manifest.sample("run_1")
    values: list[Any] = [domain, *domain.arrays.values(), entry, *entry.domains.values()]
    for value in values:
        content = json.loads(json.dumps(value.to_dict()))
        assert type(value).from_dict(content) == value
    assert domain.to_dict() == minimal()["domains"]["surface"]
    assert entry.to_dict()["domains"] == {"surface": GRID}


def test_an_invalid_dict_of_an_entry_is_a_value_error() -> None:
    entry = parse(minimal()).sample("run_1").to_dict()
    with pytest.raises(ValueError, match="n_chunks"):
        SampleEntry.from_dict(entry | {"domains": {"surface": GRID | {"n_chunks": 99}}})
