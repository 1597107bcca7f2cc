"""Fields that are added to existing samples."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from noether.data.schemas import FileMap
from noether.data.zarr_store import StoreManifest, ZarrChunkReader
from noether.data.zarr_store.datasets import ZarrStoreDataset
from noether.data.zarr_store.errors import (
    ManifestConflictError,
    OriginalOrderError,
    SampleDataError,
    StorageError,
    StoreError,
    UnknownNameError,
)
from noether.data.zarr_store.reading import (
    index_making,
    index_subset,
    join_fields,
    record_added_fields,
    write_chunk_index,
)
from noether.data.zarr_store.stores import LocalStorage
from noether.data.zarr_store.upkeep import copy_store, merge_groups, remove_samples, set_attributes
from noether.data.zarr_store.upkeep.repair import repair_store
from noether.data.zarr_store.upkeep.verify import verify_store
from support.ahmed import Arrays
from support.damage import every_file
from support.foreign_stores import CODECS, write_foreign
from support.later_fields import ADDED, IDS, MORE, fields_of, open_writer, parsed, sample_of, write
from support.local_reads import note_reads
from support.out_of_core import shrink
from support.places import PLACES, Place, make_place
from support.storm import read_whole


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("without") / "store"
    write(root)
    return root


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a conversion with all fields."""
    root = tmp_path_factory.mktemp("at once") / "store"
    write(root, MORE)
    return root


@pytest.fixture
def root(without: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(without, tmp_path / "store"))


def manifest_of(root: Path | str, options: dict[str, Any] | None = None) -> StoreManifest:
    return StoreManifest.load(str(root), storage_options=options)


def add(root: Path | str, names: tuple[str, ...] = ADDED, ids: tuple[str, ...] = IDS, **settings: Any) -> None:
    writer = open_writer(root, **{"filemap": MORE} | settings)
    for sample_id in ids:
        given = fields_of(sample_id, names)
        if given:
            writer.add_fields(sample_id, given)
    writer.save_manifest()


def fields_in(manifest: StoreManifest) -> set[str]:
    return {field for layout in manifest.domains.values() for field in layout.arrays}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    return make_place(request.param, request)


def test_the_bytes_are_those_of_a_conversion_with_all_fields_at_once(place: Place, at_once: Path) -> None:
    """The only differences are the key ``added_fields`` in entries, and the checksums of documents."""
    write(place.root, options=place.options)
    add(place.root, options=place.options)
    found, expected = place.files(), every_file(at_once)
    assert found.keys() == expected.keys()
    for key, data in expected.items():
        if key in ("manifest.json", *(f"{sample_id}.zarr/zarr.json" for sample_id in IDS)):
            assert json.dumps(parsed(found[key])) == json.dumps(parsed(data)), key
        else:
            assert found[key] == data, key
    assert verify_store(place.root, storage_options=place.options).findings == ()


def test_other_zarr_readers_find_the_new_array(root: Path) -> None:
    add(root)
    array = zarr.open_group(root / "run_2.zarr", mode="r", use_consolidated=True)["surface/friction"]
    assert isinstance(array, zarr.Array)
    order = ZarrChunkReader(root).permutation("run_2", "surface")
    given = sample_of("run_2")["surface_friction"].astype(np.float16)
    np.testing.assert_array_equal(array[:], given[order])


def test_no_other_shard_is_read_or_changed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("c/*/0")}
    reads = note_reads(monkeypatch)
    add(root, names=(*ADDED, "surface_position"))
    read = {key.split(".zarr/")[1].rpartition("/c/")[0] for key, *_ in reads}
    assert read <= {"surface/position", "surface/friction", "volume/pressure"}
    assert "surface/position" in read
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_samples_keep_their_own_chunks_and_shards(tmp_path: Path) -> None:
    root = tmp_path / "store"
    write(root, chunk_points=16, shard_points=48)
    add(root, chunk_points=100, shard_points=None)
    array = zarr.open_array(root / "run_2.zarr" / "surface" / "friction", mode="r")
    assert (array.chunks, array.shards) == ((16, 3), (48, 3))
    assert verify_store(root).findings == ()


def test_a_field_is_pending_until_all_samples_with_its_domain_have_it(root: Path, at_once: Path) -> None:
    expected = read_whole(at_once)
    early = ZarrChunkReader(root)
    early.read_arrays("run_2")
    for number, sample_id in enumerate(IDS):
        add(root, ids=(sample_id,))
        manifest = manifest_of(root)
        assert manifest.index_name is not None
        # The last sample has no volume.
        joined = {"volume_pressure"} if number == 1 else set(ADDED) if number == 2 else set()
        assert fields_in(manifest) & set(ADDED) == joined
        assert {field for arrays in manifest.pending_fields.values() for field in arrays} == set(ADDED) - joined
        for one in IDS:
            for field, values in ZarrChunkReader(root).read_arrays(one, order="original").items():
                np.testing.assert_array_equal(values, expected[one][field])
            for field, values in early.read_arrays(one, order="original").items():
                np.testing.assert_array_equal(values, expected[one][field])
        assert {one.kind for one in verify_store(root).findings} <= {"pending_field"}
    assert manifest_of(root).sample("part/run_1").added_fields == ADDED


def test_new_chunk_index_equals_one_of_all_fields(root: Path) -> None:
    """The index that is extended equals an index that is made again."""
    add(root)
    name = str(manifest_of(root).index_name)
    data = (root / name).read_bytes()
    assert write_chunk_index(root) == name
    assert (root / name).read_bytes() == data


def test_new_chunk_index_reads_no_other_shard_index(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gather, asked = index_making.gather_fields, set[str]()

    def noted(storage: Any, manifest: Any, sample_id: str, fields: Any) -> Any:
        asked.update(fields)
        return gather(storage, manifest, sample_id, fields)

    def fail(*_: object) -> None:
        raise AssertionError("the whole chunk index is made again")

    monkeypatch.setattr(index_subset, "gather_fields", noted)
    monkeypatch.setattr(index_making, "_gather_sample", fail)
    add(root)
    assert asked == set(ADDED)


def drop_index(root: Path) -> None:
    def change(manifest: StoreManifest) -> StoreManifest:
        samples = {one: replace(entry, lengths_crc32c=None) for one, entry in manifest.samples.items()}
        return manifest.model_copy(update={"sample_index": None, "samples": samples})

    (root / str(manifest_of(root).index_name)).unlink()
    StoreManifest.update(str(root), change)


def test_an_index_of_other_fields_describes_no_sample(root: Path) -> None:
    """The index was made while a field was added. Its lengths are in the order of the fields that its writer knew."""
    drop_index(root)
    writer = open_writer(root, MORE)
    for sample_id in IDS:
        writer.add_fields(sample_id, fields_of(sample_id, ["surface_friction"]))
    record_added_fields(root, IDS)
    seen = manifest_of(root)
    assert join_fields(root) == ["surface_friction"]
    now = manifest_of(root)
    checksums = dict.fromkeys(IDS, "00000000")
    named, is_whole = now.with_index("sample_index-0123456789abcdef.npy", checksums, seen)
    assert not is_whole
    assert all(named.sample(one).lengths_crc32c is None for one in IDS)


def test_a_store_without_a_chunk_index_gets_none(root: Path) -> None:
    drop_index(root)
    add(root)
    assert manifest_of(root).index_name is None
    assert fields_in(manifest_of(root)) >= set(ADDED)


def test_pending_field_error_names_samples_that_lack_it(root: Path) -> None:
    add(root, ids=("run_2",))
    message = (
        r"field 'surface_friction' is pending: 2 of 3 samples lack it \('part/run_1', 'run_3'\); add it to them with "
        r"noether-zarr add-fields STORE SOURCE, or remove it with noether-zarr remove STORE --field surface_friction"
    )
    with pytest.raises(UnknownNameError, match=message):
        ZarrChunkReader(root).read_arrays("run_2", fields=["surface_friction"])
    with pytest.raises(UnknownNameError, match=message):
        ZarrStoreDataset(root, num_points={"surface": 10}, fields=(one for one in ["surface_friction"]))
    assert len(ZarrStoreDataset(root, num_points={"surface": 10, "volume": 10})) == 3


def moved(sample_id: str) -> Arrays:
    """Return the positions of a sample, with one of them slightly changed."""
    given = fields_of(sample_id, ("surface_position", "surface_friction"))
    given["surface_position"][7, 1] = np.nextafter(given["surface_position"][7, 1], np.float32(2))
    return given


def reversed_rows(sample_id: str) -> Arrays:
    return {field: values[::-1] for field, values in fields_of(sample_id, ("surface_position", ADDED[0])).items()}


BAD: dict[str, tuple[Callable[[], tuple[str, Arrays]], str]] = {
    "other positions": (
        lambda: ("run_2", moved("run_2")),
        r"sample 'run_2', field surface_position: the points or their order differ: expected \[.*\] in "
        r"stored row \d+, got \[.*\]; nothing was written; use the arrays of the source",
    ),
    "another order": (lambda: ("run_2", reversed_rows("run_2")), "the points or their order differ"),
    "another number of points": (
        lambda: ("run_2", {"surface_friction": np.zeros((154, 3))}),
        "sample 'run_2', field surface_friction: expected 155 points as in the store, got 154; use",
    ),
    "another width": (lambda: ("run_2", {"surface_friction": np.zeros((155, 2))}), r"expected shape \(n_points, 3\)"),
    "no such sample": (lambda: ("run_9", moved("run_2")), "sample 'run_9' is not in the store"),
    "no such field": (lambda: ("run_2", {"surface_frictoin": np.zeros(155)}), "unknown field 'surface_frictoin'"),
    "no field": (lambda: ("run_2", {}), "expected at least one field to add, got none; name a field"),
    "a field that exists": (
        lambda: ("run_2", fields_of("run_2", ("surface_pressure",))),
        "sample 'run_2', field surface_pressure: expected a new field, but the sample was converted with it",
    ),
    "no such domain": (
        lambda: ("run_3", {"volume_pressure": np.zeros(220)}),
        "sample 'run_3': it has no domain 'volume' for volume_pressure; add only fields of surface",
    ),
    "overflow": (lambda: ("run_2", {"surface_friction": np.full((155, 3), 1e6)}), "surface_friction"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_additions_are_refused_and_leave_no_trace(root: Path, case: str) -> None:
    make, message = BAD[case]
    before = every_file(root)
    sample_id, given = make()
    with pytest.raises(StoreError, match=message):
        open_writer(root, MORE).add_fields(sample_id, given)
    assert every_file(root) == before


def test_same_field_is_skipped_and_other_values_are_refused(root: Path) -> None:
    """Adding the same field again is a no-op."""
    add(root)
    before = every_file(root)
    add(root)
    assert every_file(root) == before
    given = fields_of("run_2", ("surface_friction",))
    given["surface_friction"][3] += 1
    with pytest.raises(SampleDataError, match=r"already has it with other values: expected .* in stored row"):
        open_writer(root, MORE).add_fields("run_2", given)
    assert every_file(root) == before


def test_another_dtype_than_that_of_the_pending_field_is_refused(root: Path) -> None:
    add(root, ids=("run_2",))
    before = every_file(root)
    with pytest.raises(ManifestConflictError, match="surface_friction"):
        add(root, field_dtypes={"surface_friction": "float32"})
    assert every_file(root) == before


def test_a_copy_of_a_fraction_refuses(root: Path, tmp_path: Path) -> None:
    copy_store(str(root), str(tmp_path / "part"), fraction=0.5)
    with pytest.raises(OriginalOrderError, match=rf"no field can be added: the store has 0.5 of the points of {root}"):
        open_writer(tmp_path / "part", MORE)


def test_a_store_of_unknown_order_refuses(tmp_path: Path) -> None:
    write_foreign(tmp_path / "store", CODECS["as we write it"])
    filemap = FileMap(surface_position="p", surface_pressure="c", surface_friction="f")
    with pytest.raises(OriginalOrderError, match="names no shuffle algorithm"):
        open_writer(tmp_path / "store", filemap)


def test_a_file_map_of_the_new_field_and_the_position_is_enough(root: Path, at_once: Path) -> None:
    filemap = FileMap(surface_position="p", surface_friction="f")
    add(root, names=("surface_position", "surface_friction"), filemap=filemap, adds_fields=True)
    assert "surface_friction" in fields_in(manifest_of(root))
    expected = read_whole(at_once)
    for sample_id, arrays in read_whole(root).items():
        np.testing.assert_array_equal(arrays["surface_friction"], expected[sample_id]["surface_friction"])
    with pytest.raises(ManifestConflictError, match="this writer only adds fields"):
        open_writer(root, filemap, adds_fields=True).write_sample("run_9", sample_of("run_9"))


def test_a_writer_with_new_fields_writes_no_sample(root: Path) -> None:
    before = every_file(root)
    with pytest.raises(ManifestConflictError, match="the store lacks surface_friction, volume_pressure"):
        open_writer(root, MORE).write_sample("run_9", sample_of("run_9"))
    assert every_file(root) == before


def test_rows_in_stored_order_are_not_shuffled(root: Path, at_once: Path) -> None:
    writer, reader = open_writer(root, MORE), ZarrChunkReader(at_once)
    for sample_id in IDS:
        stored = reader.read_arrays(sample_id, dtype=None)
        given = {field: values for field, values in stored.items() if field in (*ADDED, "surface_position")}
        writer.add_fields(sample_id, given, order="stored")
    writer.save_manifest()
    for key, data in every_file(at_once).items():
        if "/c/" in key:
            assert (root / key).read_bytes() == data


def test_an_origin_counts_for_the_positions_that_are_compared(tmp_path: Path) -> None:
    origin = (10.0, -5.5, 1e3)
    write(tmp_path / "store", origin=origin)
    add(tmp_path / "store", names=(*ADDED, "surface_position"), origin=origin)
    assert fields_in(manifest_of(tmp_path / "store")) >= set(ADDED)


def test_arrays_not_in_memory_make_the_same_bytes(
    root: Path, at_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink(monkeypatch, 600, block_bytes=300)
    writer = open_writer(root, MORE)
    for sample_id in IDS:
        given = {}
        for field, values in fields_of(sample_id, (*ADDED, "surface_position")).items():
            np.save(tmp_path / f"{field}.npy", values)
            given[field] = np.load(tmp_path / f"{field}.npy", mmap_mode="r")
        writer.add_fields(sample_id, given)
    writer.save_manifest()
    for key, data in every_file(at_once).items():
        if "/c/" in key:
            assert (root / key).read_bytes() == data
    with pytest.raises(SampleDataError, match="the points or their order differ"):
        writer.add_fields("run_2", {"surface_position": np.load(tmp_path / "surface_position.npy")[::-1]})


def test_units_become_attributes_of_the_new_array(root: Path) -> None:
    add(root, field_attributes={"surface_friction": {"units": "Pa"}})
    assert zarr.open_array(root / "run_2.zarr" / "surface" / "friction", mode="r").attrs.asdict() == {"units": "Pa"}
    assert verify_store(root).findings == ()


def test_a_conversion_that_does_not_know_the_field_goes_on(root: Path) -> None:
    """It can save the manifest. Complete samples stay complete, and a new sample makes the field pending again."""
    conversion = open_writer(root)
    add(root)
    assert conversion.find_group("run_2") == manifest_of(root).sample("run_2")
    conversion.write_sample("run_4", fields_of("run_4", ("surface_position", "surface_pressure")))
    conversion.save_manifest()
    manifest = manifest_of(root)
    assert "volume_pressure" in fields_in(manifest)
    assert list(manifest.pending_fields["surface"]) == ["surface_friction"]
    assert manifest.sample("run_2").added_fields == ADDED
    assert {one.kind for one in verify_store(root).findings} == {"pending_field"}
    add(root, names=("surface_friction",), ids=("run_4",))
    assert fields_in(manifest_of(root)) >= set(ADDED)
    assert verify_store(root).findings == ()


def test_a_conversion_that_knows_the_field_joins_it(root: Path) -> None:
    add(root, ids=("part/run_1", "run_2"))
    assert open_writer(root, MORE).find_group("run_3") is None
    writer = open_writer(root, MORE)
    writer.write_sample("run_3", sample_of("run_3"))
    writer.save_manifest()
    assert fields_in(manifest_of(root)) >= set(ADDED)
    assert verify_store(root).findings == ()


def test_sample_written_without_the_field_loses_it(root: Path) -> None:
    add(root)
    writer = open_writer(root)
    writer.write_sample("run_3", fields_of("run_3", ("surface_position", "surface_pressure")))
    writer.save_manifest()
    assert list(manifest_of(root).pending_fields["surface"]) == ["surface_friction"]
    assert manifest_of(root).sample("run_3").added_fields == ()
    for one in IDS:
        ZarrChunkReader(root).read_arrays(one)
    assert {one.kind for one in verify_store(root).findings} == {"pending_field"}


LESS = FileMap(surface_position="p", volume_position="vp", volume_velocity="vv", surface_friction="f")


@pytest.mark.parametrize("parameters", [{"shuffle_seed": 1}, {"values_dtype": "float32"}, {"filemap": LESS}])
def test_other_differences_stay_conflicts(root: Path, parameters: dict[str, Any]) -> None:
    """For example a writer that lacks a field with which the store was converted."""
    add(root)
    with pytest.raises(ManifestConflictError, match="was written with other settings"):
        open_writer(root, **{"filemap": MORE} | parameters)


def test_last_sample_that_lacks_a_field_can_be_removed(root: Path) -> None:
    add(root, ids=("part/run_1", "run_2"))
    remove_samples(root, ["run_3"])
    assert fields_in(manifest_of(root)) >= set(ADDED)
    assert verify_store(root).findings == ()


@pytest.mark.parametrize("ids", [IDS, IDS[:2]], ids=["joined", "pending"])
def test_the_manifest_is_made_again_from_the_groups(root: Path, ids: tuple[str, ...]) -> None:
    add(root, ids=ids)
    write_chunk_index(root)
    before = (root / "manifest.json").read_bytes()
    (root / "manifest.json").unlink()
    merge_groups(root)
    assert (root / "manifest.json").read_bytes() == before
    (root / "manifest.json").write_bytes(before[:-9])
    assert repair_store(root).is_sound
    assert (root / "manifest.json").read_bytes() == before


def test_unrecorded_fields_are_found_and_repaired(root: Path, at_once: Path) -> None:
    """A writer was killed after the roots of its samples named the fields."""
    writer = open_writer(root, MORE)
    for sample_id in IDS:
        writer.add_fields_to_group(sample_id, fields_of(sample_id, ADDED))
    assert {one.kind for one in verify_store(root).having("damage")} == {"entry_differs"}
    assert repair_store(root).is_sound
    assert fields_in(manifest_of(root)) >= set(ADDED)
    assert read_whole(root).keys() == read_whole(at_once).keys()
    assert verify_store(root).findings == ()


def test_damage_of_an_added_array_is_found_while_it_is_pending(root: Path) -> None:
    add(root, ids=("run_2",))
    shard = root / "run_2.zarr" / "surface" / "friction" / "c" / "1" / "0"
    data = bytearray(shard.read_bytes())
    data[20] ^= 1
    shard.write_bytes(data)
    assert {one.field for one in verify_store(root).having("damage")} == {"surface_friction"}


def test_a_damaged_root_is_made_again_to_the_byte(root: Path) -> None:
    add(root, ids=("run_2",))
    path = root / "run_2.zarr" / "zarr.json"
    before = path.read_bytes()
    path.write_bytes(before[:-7])
    assert repair_store(root).is_sound
    assert path.read_bytes() == before


def test_writers_at_once_lose_nothing(root: Path) -> None:
    """Four writers add two fields to all samples."""
    together = threading.Barrier(4)

    def work(number: int) -> None:
        writer = open_writer(root, MORE)
        together.wait()
        for sample_id in IDS[:: 1 if number % 2 else -1]:
            given = fields_of(sample_id, ADDED[number // 2 : number // 2 + 1])
            if given:
                try:
                    writer.add_fields(sample_id, given)
                except StorageError:  # the other one wrote the same array at the same time
                    writer.add_fields(sample_id, given)
        writer.save_manifest()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert fields_in(manifest_of(root)) >= set(ADDED)
    assert verify_store(root).findings == ()


def test_sample_rewritten_during_an_addition_lacks_the_field(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    update = LocalStorage.update

    def after_another(self: LocalStorage, key: str, change: Any) -> None:
        if key.endswith("zarr.json"):
            monkeypatch.undo()
            open_writer(root).write_group(
                "run_2", fields_of("run_2", {f"surface_{one}" for one in ("position", "pressure")})
            )
        update(self, key, change)

    monkeypatch.setattr(LocalStorage, "update", after_another)
    with pytest.raises(StorageError, match="another process wrote or removed the sample; add the fields again"):
        open_writer(root, MORE).add_fields("run_2", fields_of("run_2", ADDED))


def test_removed_array_is_not_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repair removed the array as a leftover, or another process removed the field."""
    update = LocalStorage.update

    def after_removal(self: LocalStorage, key: str, change: Any) -> None:
        shutil.rmtree(root / "run_2.zarr" / "surface" / "friction", ignore_errors=key.startswith("manifest"))
        update(self, key, change)

    monkeypatch.setattr(LocalStorage, "update", after_removal)
    with pytest.raises(StorageError, match="another process removed surface/friction; add the fields again"):
        open_writer(root, MORE).add_fields("run_2", fields_of("run_2", ["surface_friction"]))
    assert "friction" not in (root / "run_2.zarr" / "zarr.json").read_text()


def test_attributes_are_set_beside_added_fields(root: Path) -> None:
    add(root, ids=("run_2",))
    set_attributes(root, {"run_2": {"speed": 3}})
    add(root, ids=("part/run_1", "run_3"))
    assert manifest_of(root).sample("run_2").attributes == {"id": "run_2", "speed": 3}
    assert fields_in(manifest_of(root)) >= set(ADDED)
    assert verify_store(root).findings == ()


def test_a_copy_leaves_pending_fields_out(root: Path, tmp_path: Path) -> None:
    add(root, ids=("run_2",))
    copy_store(str(root), str(tmp_path / "copy"))
    assert manifest_of(tmp_path / "copy").pending_fields == {}
    assert verify_store(tmp_path / "copy").findings == ()


def test_a_copy_has_the_fields_of_the_store_from_the_beginning(root: Path, tmp_path: Path, at_once: Path) -> None:
    add(root)
    copy_store(str(root), str(tmp_path / "copy"))
    copied, expected = every_file(tmp_path / "copy"), every_file(at_once)
    assert copied.keys() == expected.keys()
    for key in expected.keys() - {"manifest.json", "run_3.zarr/zarr.json"}:
        assert copied[key] == expected[key], key
