"""Recording of samples in the manifest, and writers that can or cannot add to a store."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import zarr

from noether.data.schemas import FileMap
from noether.data.zarr_store import StoreManifest, ZarrStoreWriter
from noether.data.zarr_store.errors import ArgumentError, ManifestConflictError, ManifestError, SampleIdError
from support.ahmed import AHMED_FILEMAP, Arrays, load_run
from support.places import PLACES, Place, make_place

OTHER_FILEMAP = FileMap(surface_position="p", surface_pressure="c")

# Settings that all writers of a store must share: the key in the message, the value of the store, and of the writer.
CONFLICTS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "seed": ({"shuffle_seed": 1}, "shuffle_seed", "0", "1"),
    "coords dtype": ({"coords_dtype": "float64"}, "coords_dtype", "float32", "float64"),
    "values dtype": ({"values_dtype": "float32"}, "values_dtype", "float16", "float32"),
    "field dtype": (
        {"field_dtypes": {"surface_area": "float32"}},
        "domains",
        ".*'surface_area': 'float16.*",
        ".*'surface_area': 'float32.*",
    ),
    "fields": ({"filemap": OTHER_FILEMAP}, "domains", ".*'volume': .*", "(?!.*'volume').*'surface_pressure'.*"),
    "dataset name": ({"dataset_name": "other"}, "dataset_name", "ahmed", "other"),
    "compression level": ({"compression_level": 9}, "compressor", "blosc-zstd-5", "blosc-zstd-9"),
    "checksum": ({"checksum": False}, "checksum", "True", "False"),
}


@pytest.fixture(scope="module")
def surface(run_1: Arrays) -> Arrays:
    return {field: values for field, values in run_1.items() if field.startswith("surface_")}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    return make_place(request.param, request)


def open_writer(place: Place | Path, **parameters: Any) -> ZarrStoreWriter:
    root, options = (place.root, place.options) if isinstance(place, Place) else (place, None)
    return ZarrStoreWriter(
        **{"store_root": root, "filemap": AHMED_FILEMAP, "dataset_name": "ahmed", "storage_options": options}
        | parameters
    )


def saved_samples(place: Place) -> list[str]:
    return list(StoreManifest.load(str(place.root), storage_options=place.options).samples)


def refusal(case: str) -> tuple[dict[str, Any], str]:
    parameters, key, stored, own = CONFLICTS[case]
    return (
        parameters,
        rf"manifest\.json: .*{key}: the store has {stored}, this writer {own}.*; use the settings of the store",
    )


def test_write_group_leaves_the_manifest_alone_and_write_sample_records(tmp_path: Path, surface: Arrays) -> None:
    writer = open_writer(tmp_path)
    entry = writer.write_group("a", surface)
    assert writer.manifest.samples == {}
    writer.write_sample("b", surface)
    assert list(writer.manifest.samples) == ["b"]
    assert not (tmp_path / "manifest.json").exists()
    writer.record("a", entry)
    writer.save_manifest()
    assert list(StoreManifest.load(str(tmp_path)).samples) == ["a", "b"]


def test_the_manifest_holds_the_grid_that_each_group_has(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, chunk_points=3000, shard_points=7000)
    writer.write_sample("part/run_2", load_run("run_2"))
    entry = writer.manifest.sample("part/run_2")
    assert entry.relpath == "part/run_2.zarr"
    for domain, sample in entry.domains.items():
        array = zarr.open_array(tmp_path / entry.relpath / domain / "position", mode="r")
        assert (sample.n_points,) == array.shape[:1]
        assert (sample.chunk_points,) == array.chunks[:1]
        assert array.shards is not None
        assert (sample.shard_points,) == array.shards[:1]
        assert sample.n_chunks == -(-sample.n_points // sample.chunk_points)


def test_the_manifest_does_not_depend_on_the_order_of_writing(tmp_path: Path, surface: Arrays) -> None:
    for root, order in (("one", "abc"), ("two", "cab")):
        writer = open_writer(tmp_path / root)
        for sample_id in order:
            writer.write_sample(sample_id, surface)
            writer.save_manifest()
    assert (tmp_path / "one" / "manifest.json").read_bytes() == (tmp_path / "two" / "manifest.json").read_bytes()


def test_a_second_writer_sees_what_is_there_and_adds_to_it(place: Place, surface: Arrays) -> None:
    first = open_writer(place)
    first.write_sample("a", surface)
    first.save_manifest()
    second = open_writer(place)
    assert list(second.manifest.samples) == ["a"]
    second.write_sample("b", surface)
    second.save_manifest()
    assert saved_samples(place) == ["a", "b"]


def test_a_sample_written_again_replaces_its_entry(tmp_path: Path, run_1: Arrays, surface: Arrays) -> None:
    for arrays, domains in ((run_1, ["surface", "volume"]), (surface, ["surface"])):
        writer = open_writer(tmp_path)
        writer.write_sample("a", arrays)
        writer.save_manifest()
        assert list(StoreManifest.load(str(tmp_path)).sample("a").domains) == domains


@pytest.mark.parametrize("case", CONFLICTS)
def test_a_writer_with_other_settings_is_refused_when_it_is_opened(tmp_path: Path, case: str) -> None:
    parameters, message = refusal(case)
    open_writer(tmp_path).save_manifest()
    with pytest.raises(ManifestConflictError, match=message):
        open_writer(tmp_path, **parameters)


@pytest.mark.parametrize("case", CONFLICTS)
def test_a_writer_with_other_settings_is_refused_when_it_saves(tmp_path: Path, case: str) -> None:
    """The writer was opened before the store existed."""
    parameters, message = refusal(case)
    first, second = open_writer(tmp_path), open_writer(tmp_path, **parameters)
    first.save_manifest()
    before = (tmp_path / "manifest.json").read_bytes()
    with pytest.raises(ManifestConflictError, match=message):
        second.save_manifest()
    assert (tmp_path / "manifest.json").read_bytes() == before


def test_two_writers_with_the_same_settings_are_united(place: Place, surface: Arrays) -> None:
    """Both writers were opened before either saved."""
    first, second = open_writer(place), open_writer(place)
    first.write_sample("a", surface)
    second.write_sample("b", surface)
    first.save_manifest()
    second.save_manifest()
    assert saved_samples(place) == ["a", "b"]
    assert list(second.manifest.samples) == ["a", "b"]


def test_chunks_shards_and_non_finite_may_differ_from_writer_to_writer(tmp_path: Path, surface: Arrays) -> None:
    for sample_id, parameters in (("a", {}), ("b", {"chunk_points": 7, "shard_points": 70, "non_finite": "allow"})):
        writer = open_writer(tmp_path, **parameters)
        writer.write_sample(sample_id, surface)
        writer.save_manifest()
    samples = StoreManifest.load(str(tmp_path)).samples
    assert [entry.domains["surface"].chunk_points for entry in samples.values()] == [2041, 7]


def test_invalid_manifest_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ManifestError, match=r"manifest\.json: not a valid manifest"):
        open_writer(tmp_path)
    assert (tmp_path / "manifest.json").read_text() == "{}"


def test_manifest_is_always_whole(tmp_path: Path, surface: Arrays) -> None:
    """A reader that polls the manifest never finds a part of it."""
    writer = open_writer(tmp_path)
    entry = writer.write_group("run_0", surface)
    writer.record("run_0", entry)
    writer.save_manifest()
    broken: list[ValueError] = []
    sizes: set[int] = set()
    done = threading.Event()

    def poll() -> None:
        while not done.is_set():
            try:
                sizes.add(len(json.loads((tmp_path / "manifest.json").read_bytes())["samples"]))
            except ValueError as error:
                broken.append(error)

    poller = threading.Thread(target=poll)
    poller.start()
    for i in range(60):
        writer.record(f"run_{i}", entry)
        writer.save_manifest()
    done.set()
    poller.join()
    assert broken == []
    assert len(sizes) > 1


def test_find_group_returns_none_without_a_group(place: Place) -> None:
    assert open_writer(place).find_group("a") is None


def test_find_group_returns_the_entry_of_a_complete_group(place: Place, run_1: Arrays) -> None:
    written = open_writer(place).write_group("part/a", run_1, attributes={"speed": 0.1})
    assert open_writer(place).find_group("part/a") == written


def test_find_group_returns_none_for_an_incomplete_group(place: Place, surface: Arrays) -> None:
    open_writer(place).write_group("a", surface)
    place.remove("a.zarr/zarr.json")
    assert open_writer(place).find_group("a") is None


@pytest.mark.parametrize("case", CONFLICTS)
def test_find_group_refuses_a_group_of_other_settings(tmp_path: Path, surface: Arrays, case: str) -> None:
    parameters, key, stored, own = CONFLICTS[case]
    open_writer(tmp_path).write_group("a", surface)
    with pytest.raises(
        ManifestConflictError, match=rf"a\.zarr/zarr\.json: .*{key}: the store has {stored}, this writer {own}"
    ):
        open_writer(tmp_path, **parameters).find_group("a")


def test_find_group_refuses_a_group_that_another_tool_wrote(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "a.zarr")
    with pytest.raises(ManifestError, match=r"a\.zarr/zarr\.json: not a group of this library"):
        open_writer(tmp_path).find_group("a")


def test_entries_that_are_assigned_are_saved(place: Place, surface: Arrays) -> None:
    writer = open_writer(place)
    writer.manifest.samples["a"] = writer.write_group("a", surface)
    writer.manifest.samples.update(b=writer.write_group("b", surface))
    assert list(writer.manifest.samples) == ["a", "b"]
    writer.save_manifest()
    assert saved_samples(place) == ["a", "b"]


def test_assigned_entries_are_saved_beside_those_of_others(place: Place, surface: Arrays) -> None:
    """Each of two writers saves the entries that were assigned to it, and later entries with the next save."""
    first, second = open_writer(place), open_writer(place)
    for sample_id, writer in (("a", first), ("b", second), ("c", first)):
        writer.manifest.samples[sample_id] = writer.write_group(sample_id, surface)
        writer.save_manifest()
    assert saved_samples(place) == list(first.manifest.samples) == ["a", "b", "c"]


def test_assigned_mapping_of_samples_is_saved(tmp_path: Path, surface: Arrays) -> None:
    writer = open_writer(tmp_path)
    writer.write_sample("a", surface)
    writer.save_manifest()
    writer.manifest.samples = {"b": writer.write_group("b", surface)}
    writer.save_manifest()
    assert list(StoreManifest.load(str(tmp_path)).samples) == ["a", "b"]


def test_a_saved_entry_is_not_saved_again_over_that_of_another_writer(tmp_path: Path, surface: Arrays) -> None:
    first, second = open_writer(tmp_path), open_writer(tmp_path)
    first.write_sample("a", surface)
    first.save_manifest()
    second.write_sample("a", surface, attributes={"by": "second"})
    second.save_manifest()
    first.save_manifest()
    assert StoreManifest.load(str(tmp_path)).sample("a").attributes == {"by": "second"}


def test_samples_accept_only_entries_and_no_deletion(tmp_path: Path, surface: Arrays) -> None:
    writer = open_writer(tmp_path)
    writer.write_sample("a", surface)
    with pytest.raises(ArgumentError, match=r"expected a SampleEntry, got \{\}"):
        writer.manifest.samples["b"] = {}  # type: ignore[assignment]  # as a caller without types may
    with pytest.raises(SampleIdError, match=r"'\.\./b'"):
        writer.manifest.samples["../b"] = writer.manifest.samples["a"]
    with pytest.raises(ArgumentError, match="a writer cannot remove samples; use remove_samples"):
        del writer.manifest.samples["a"]
    assert list(writer.manifest.samples) == ["a"]
