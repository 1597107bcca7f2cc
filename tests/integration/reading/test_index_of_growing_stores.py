"""The chunk index still serves the samples that it describes, but no sample that was written again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether.data.zarr_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.convert import convert
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.reading.chunk_index import has_whole_index, open_chunk_index
from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.stores import LocalStorage, open_storage
from noether.data.zarr_store.upkeep import copy_store, merge_groups, remove_samples, set_attributes
from noether.data.zarr_store.upkeep.verify import verify_store
from support.ahmed import Arrays
from support.hostile_stores import FILEMAP, make_small_store
from support.old_indexes import write_index_in_order
from support.places import PLACES, make_place
from support.trees import TREE_FILEMAP, save_runs

NUM_POINTS = {"surface": 10}


def sample(seed: int, n_points: int = 50) -> Arrays:
    rng = np.random.default_rng(seed)
    positions = rng.normal(size=(n_points, 3)).astype(np.float32)
    # Zeros are stored in fewer bytes than random values.
    return {"surface_position": positions * (seed % 2), "surface_pressure": positions[:, 0]}


def open_writer(root: Path | str, chunk_points: int = 8, **settings: Any) -> ZarrStoreWriter:
    return ZarrStoreWriter(root, FILEMAP, "ahmed", chunk_points=chunk_points, **settings)


def write(root: Path | str, sample_id: str, fields: Arrays, **settings: Any) -> None:
    writer = open_writer(root, **settings)
    writer.write_sample(sample_id, fields)
    writer.save_manifest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store of the samples s1 and s2, with a chunk index."""
    root = make_small_store(tmp_path / "store")
    write_chunk_index(root)
    return root


@contextmanager
def noted_metadata() -> Iterator[list[str]]:
    """Record the keys of all metadata and shard indexes that are read."""
    noted: list[str] = []

    def noting(read: Callable[..., Any]) -> Callable[..., Any]:
        def run(self: LocalStorage, key: str, *arguments: Any) -> Any:
            noted.append(key)
            return read(self, key, *arguments)

        return run

    with pytest.MonkeyPatch.context() as patched:
        for name in ("read_if_there", "read_tail"):
            patched.setattr(LocalStorage, name, noting(getattr(LocalStorage, name)))
        yield noted


def metadata_read(root: Path, sample_id: str, num_points: dict[str, int] | None = NUM_POINTS) -> list[str]:
    """Return the metadata and shard indexes that a new reader reads for one draw."""
    reader = ZarrChunkReader(root)
    with noted_metadata() as noted:
        reader.read_arrays(sample_id, num_points, 0)
    return noted


def assert_reads(root: Path | str, sample_id: str, fields: Arrays, **options: Any) -> None:
    read = ZarrChunkReader(root, **options).read_arrays(sample_id, order="original")
    np.testing.assert_array_equal(read["surface_position"], fields["surface_position"])


def add_here(root: Path) -> None:
    write(root, "a3", sample(3))


def add_in_another_process(root: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from integration.reading.test_index_of_growing_stores import *; "
        "write(Path(sys.argv[1]), 'a3', sample(3))"
    )
    subprocess.run([sys.executable, "-c", script, str(root)], check=True, cwd=Path(__file__).parents[2])


def add_by_a_merge(root: Path) -> None:
    writer = open_writer(root)
    writer.write_group("a3", sample(3))
    with pytest.MonkeyPatch.context() as patched:  # the state before the merge rebuilds the index
        patched.setattr("noether.data.zarr_store.upkeep.merge.write_chunk_index", lambda *_, **__: "")
        merge_groups(root)


@pytest.mark.parametrize(
    "add",
    [add_here, pytest.param(add_in_another_process, marks=pytest.mark.slow), add_by_a_merge],
    ids=["here", "in another process", "by a merge"],
)
def test_indexed_samples_read_only_chunks_after_another_is_added(root: Path, add: Callable[[Path], None]) -> None:
    add(root)
    assert metadata_read(root, "s1") == metadata_read(root, "s2") == []
    assert metadata_read(root, "a3") != []
    assert_reads(root, "a3", sample(3))
    assert verify_store(root).findings == ()
    write_chunk_index(root)
    assert metadata_read(root, "a3") == metadata_read(root, "s1") == []


def test_a_reader_opened_before_reads_on_without_metadata(root: Path) -> None:
    reader = ZarrChunkReader(root)
    expected = reader.read_arrays("s2", NUM_POINTS, 0)
    add_here(root)
    with noted_metadata() as noted:
        again = reader.read_arrays("s2", NUM_POINTS, 0)
    assert noted == []
    np.testing.assert_array_equal(again["surface_position"], expected["surface_position"])


def test_shard_indexes_of_new_samples_are_cached_beside_a_chunk_index(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shard indexes from the chunk index are rebuilt when needed, so a reader keeps few of them."""
    monkeypatch.setattr("noether.data.zarr_store.reading.fetch._MAX_MADE_INDEX_BYTES", 1)
    add_here(root)
    reader = ZarrChunkReader(root)
    reader.read_arrays("a3")
    with noted_metadata() as noted:
        reader.read_arrays("a3")
    assert noted == []


REPLACEMENTS: dict[str, Callable[[], tuple[Arrays, dict[str, int]]]] = {
    "other values": lambda: (sample(4), {}),
    "other points": lambda: (sample(5, n_points=90), {}),
    "other chunks": lambda: (sample(5), {"chunk_points": 16}),
}


@pytest.mark.parametrize("name", REPLACEMENTS)
def test_a_rewritten_sample_is_never_read_by_its_old_lengths(root: Path, name: str) -> None:
    fields, settings = REPLACEMENTS[name]()
    write(root, "s1", fields, **settings)
    assert_reads(root, "s1", fields)
    assert metadata_read(root, "s1") != []
    write_chunk_index(root)
    assert metadata_read(root, "s1") == []
    assert_reads(root, "s1", fields)


@pytest.mark.parametrize("name", REPLACEMENTS)
def test_a_reader_opened_before_the_manifest_is_saved_uses_no_old_lengths(root: Path, name: str) -> None:
    fields, settings = REPLACEMENTS[name]()
    open_writer(root, **settings).write_group("s1", fields)
    index = open_chunk_index(open_storage(str(root)), StoreManifest.load(str(root)))
    assert index is None or index.words_of("s1") is None


def test_a_writer_with_an_old_manifest_drops_lengths_of_a_sample_too(root: Path) -> None:
    ignorant = open_writer(root)
    write(root, "a3", sample(3))
    write_chunk_index(root)
    ignorant.write_group("a3", sample(4))
    index = open_chunk_index(open_storage(str(root)), StoreManifest.load(str(root)))
    assert index is None or index.words_of("a3") is None


def root_without_content(path: Path) -> object:
    """Return the root of a group as an earlier release would have written it."""
    root = json.loads(path.read_bytes())
    del root["attributes"]["crc32c"], root["attributes"]["manifest"]["samples"]["s1"]["content_crc32c"]
    return root


def test_a_sample_whose_root_is_the_same_to_the_byte_may_have_other_lengths(root: Path) -> None:
    """A checksum of the root would be the same for both samples, so the lengths have their own checksum.

    That is so in stores of earlier releases, which wrote no checksums of the content.
    """
    roots, checksums = [], []
    for values in (np.zeros(4000), np.random.default_rng(0).integers(0, 999, 4000)):
        numbers = values.astype(np.float32)
        fields = {"surface_position": numbers[:3000].reshape(1000, 3), "surface_pressure": numbers[3000:]}
        write(root, "s1", fields, chunk_points=256)
        assert_reads(root, "s1", fields)
        roots.append(root_without_content(root / "s1.zarr/zarr.json"))
        write_chunk_index(root)
        checksums.append(StoreManifest.load(str(root)).sample("s1").lengths_crc32c)
    assert roots[0] == roots[1]
    assert checksums[0] != checksums[1]


def test_a_replacement_by_a_program_without_the_index_is_detected(root: Path) -> None:
    """Such a program keeps unknown keys of the manifest, and writes its own entry."""
    fields = sample(5)
    kept = (root / str(StoreManifest.load(str(root)).sample_index)).read_bytes()
    write(root, "s1", fields)
    name = write_chunk_index(root)
    manifest = json.loads((root / "manifest.json").read_bytes())
    del manifest["samples"]["s1"]["lengths_crc32c"], manifest["crc32c"]
    (root / "manifest.json").write_text(json.dumps(manifest))
    (root / name).write_bytes(kept)
    assert_reads(root, "s1", fields)
    assert metadata_read(root, "s2") == []


def test_a_removed_sample_that_comes_back_has_no_lengths(root: Path) -> None:
    remove_samples(root, ["s1"])
    assert metadata_read(root, "s2") == []
    write(root, "s1", sample(5, n_points=70))
    assert_reads(root, "s1", sample(5, n_points=70))
    assert metadata_read(root, "s2") == []
    assert verify_store(root).findings == ()


def test_an_index_of_a_part_of_the_samples_outlasts_a_removal(root: Path) -> None:
    write(root, "a3", sample(3))
    remove_samples(root, ["s1"])
    assert metadata_read(root, "s2") == []
    assert metadata_read(root, "a3") != []
    assert verify_store(root).findings == ()


def test_a_copy_has_an_index_of_its_own_chunks(root: Path, tmp_path: Path) -> None:
    write(root, "s1", sample(5, n_points=90))
    copy_store(str(root), str(tmp_path / "copy"), fraction=0.5)
    for sample_id in ("s1", "s2"):
        assert metadata_read(tmp_path / "copy", sample_id, None) == []
    assert verify_store(tmp_path / "copy").findings == ()


def test_other_attributes_leave_a_sample_described(root: Path) -> None:
    set_attributes(root, {"s1": {"angle": 3}})
    assert metadata_read(root, "s1") == []


def test_an_index_describes_all_samples_or_not(root: Path) -> None:
    assert has_whole_index(str(root), StoreManifest.load(str(root)))
    add_here(root)
    assert not has_whole_index(str(root), StoreManifest.load(str(root)))
    merge_groups(root)
    assert has_whole_index(str(root), StoreManifest.load(str(root)))


def test_a_conversion_completes_the_index_of_a_killed_conversion(tmp_path: Path) -> None:
    source = TreeSource(save_runs(tmp_path / "tree", ("run_1", "run_2")), TREE_FILEMAP)
    root = tmp_path / "converted"

    def run(**settings: Any) -> None:
        convert(source, ZarrStoreWriter(root, TREE_FILEMAP, "ahmed", chunk_points=4096), **settings)

    run(limit=1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("noether.data.zarr_store.convert.engine.write_chunk_index", lambda *_, **__: "")
        run()
    assert metadata_read(root, "run_1") == []
    assert metadata_read(root, "run_2") != []
    run()
    assert metadata_read(root, "run_2") == []


def test_a_sample_added_while_the_index_is_built_is_described(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    update = StoreManifest.update

    def add_first(*arguments: Any, **options: Any) -> None:
        monkeypatch.undo()
        add_here(root)
        update(*arguments, **options)

    monkeypatch.setattr(StoreManifest, "update", add_first)
    write_chunk_index(root)
    assert metadata_read(root, "a3") == metadata_read(root, "s1") == []
    assert len(list(root.glob("*_index-*"))) == 1


@pytest.mark.parametrize("is_indexed", [False, True], ids=["alone", "and indexed by another process"])
def test_a_sample_that_is_replaced_while_the_index_is_made_each_time_is_left_out(
    root: Path, monkeypatch: pytest.MonkeyPatch, is_indexed: bool
) -> None:
    update, seeds = StoreManifest.update, iter(range(10, 20))

    def replace_first(*arguments: Any, **options: Any) -> None:
        with pytest.MonkeyPatch.context() as undone:
            undone.setattr(StoreManifest, "update", update)
            write(root, "s1", sample(0, n_points=20 * next(seeds)))
            if is_indexed:
                write_chunk_index(root)
        update(*arguments, **options)

    monkeypatch.setattr(StoreManifest, "update", replace_first)
    write_chunk_index(root)
    monkeypatch.undo()
    assert metadata_read(root, "s1") != []
    assert metadata_read(root, "s2") == []
    assert verify_store(root).findings == ()


def test_an_index_of_the_earlier_layout_serves_until_a_sample_is_added(root: Path) -> None:
    former = write_index_in_order(root)
    assert metadata_read(root, "s1") == []
    add_here(root)
    assert not (root / former).exists()
    assert metadata_read(root, "s1") != []
    write_chunk_index(root)
    assert metadata_read(root, "s1") == metadata_read(root, "a3") == []
    assert StoreManifest.load(str(root)).chunk_index is None


def test_of_two_named_indexes_the_earlier_layout_is_read(root: Path) -> None:
    """A program that knows only the earlier layout wrote the index last, and kept the key of the later layout."""
    write(root, "s1", sample(5))
    write_index_in_order(root)
    former = StoreManifest.load(str(root)).chunk_index
    (root / "sample_index-0f.npy").write_bytes(b"not looked at")
    changed = {"sample_index": "sample_index-0f.npy"}
    StoreManifest.update(str(root), lambda manifest: manifest.model_copy(update=changed))
    assert metadata_read(root, "s1") == []
    assert_reads(root, "s1", sample(5))
    name = write_chunk_index(root)
    assert {path.name for path in root.glob("*_index-*")} == {name}
    assert name != former


def test_a_removal_turns_an_index_of_the_earlier_form_into_one_with_ids(root: Path) -> None:
    write_index_in_order(root)
    remove_samples(root, ["s1"])
    assert metadata_read(root, "s2") == []
    assert {path.name for path in root.glob("*_index-*")} == {StoreManifest.load(str(root)).sample_index}
    assert verify_store(root).findings == ()


@pytest.mark.parametrize("kind", PLACES)
def test_stores_grow_in_every_storage(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = make_place(kind, request)
    options: Any = {"storage_options": place.options}
    write(place.root, "s1", sample(1), **options)
    write_chunk_index(place.root, **options)
    write(place.root, "a3", sample(3), **options)
    index = open_chunk_index(
        open_storage(str(place.root), place.options), StoreManifest.load(str(place.root), **options)
    )
    assert index is not None
    assert (list(index.lengths("s1")), list(index.lengths("a3"))) == (list(sample(1)), [])
    assert_reads(place.root, "s1", sample(1), **options)
    assert_reads(place.root, "a3", sample(3), **options)


def test_indexing_keeps_unknown_keys_of_entries(tmp_path: Path) -> None:
    root = make_small_store(tmp_path / "store")
    manifest = json.loads((root / "manifest.json").read_bytes())
    del manifest["crc32c"]
    manifest["samples"]["s1"]["of another program"] = {"é": [1.5, None]}
    (root / "manifest.json").write_bytes(StoreManifest.parse(json.dumps(manifest).encode(), "m").to_json("m"))
    lines = (root / "manifest.json").read_text().replace('"relpath":"s1.zarr"', '"relpath":"s1.zarr","other":[1.5]')
    (root / "manifest.json").write_text(lines.replace('"crc32c"', '"former"', 1))
    write_chunk_index(root)
    assert json.loads((root / "manifest.json").read_bytes())["samples"]["s1"]["other"] == [1.5]
    assert metadata_read(root, "s1") == []


def test_entries_taken_from_a_manifest_are_recorded_without_lengths(root: Path) -> None:
    writer = open_writer(root)
    entry = StoreManifest.load(str(root)).sample("s1")
    writer.write_group("s1", sample(5))
    writer.manifest.samples["s1"] = entry
    writer.save_manifest()
    assert StoreManifest.load(str(root)).sample("s1").lengths_crc32c is None


def test_a_group_does_not_depend_on_the_chunk_index(root: Path) -> None:
    """So the bytes of a copied or repaired group do not depend on the index."""
    manifest = StoreManifest.load(str(root))
    said = json.dumps(manifest.as_group_attributes("s1", manifest.sample("s1")))
    assert "lengths_crc32c" not in said
    assert "sample_index" not in said
