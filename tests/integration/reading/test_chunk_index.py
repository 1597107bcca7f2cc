"""The chunk index replaces metadata and shard indexes, and never causes wrong data."""

from __future__ import annotations

import json
import mmap
from io import BytesIO
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import zarr
from zarr.codecs import GzipCodec

from noether.data.zarr_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.errors import CorruptDataError, ManifestError
from noether.data.zarr_store.reading.chunk_index import open_chunk_index
from noether.data.zarr_store.reading.index_layouts import encode_index
from noether.data.zarr_store.reading.index_making import write_chunk_index
from noether.data.zarr_store.stores import open_storage
from support.ahmed import AHMED_FILEMAP, load_run
from support.lanes import few_fast
from support.places import PLACES, Place, make_place
from support.reading import write_runs
from support.repository import ROOT

NUM_POINTS = {"surface": 200, "volume": 900}


@pytest.fixture(params=few_fast([1024, None]), ids=["many shards", "one shard"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write_runs(tmp_path / "store", "run_1", "run_2", chunk_points=256, shard_points=request.param)


def assert_same_reads(root: Path | str, other: ZarrChunkReader, **options: object) -> None:
    """Compare a new reader with a reader that was opened before."""
    reader = ZarrChunkReader(root, **options)  # type: ignore[arg-type]  # the options of one parameter
    for sample_id in other.manifest.samples:
        for num_points in (None, NUM_POINTS):
            expected = other.read_arrays(sample_id, num_points, 5)
            for field, values in reader.read_arrays(sample_id, num_points, 5).items():
                np.testing.assert_array_equal(values, expected[field])


def test_a_store_reads_the_same_with_it_and_without(root: Path) -> None:
    before = ZarrChunkReader(root)
    name = write_chunk_index(root)
    assert StoreManifest.load(str(root)).sample_index == name
    assert_same_reads(root, before)


def test_the_file_holds_the_ids_and_the_lengths_of_all_chunks(root: Path) -> None:
    words = np.load(root / write_chunk_index(root))
    assert words.dtype == np.uint32
    manifest = json.loads((root / "manifest.json").read_bytes())
    lengths, ends, checksums = [], [0], []
    for sample in manifest["samples"].values():
        for domain, layout in manifest["domains"].items():
            grid = sample["domains"][domain]
            per_shard = grid["shard_points"] // grid["chunk_points"]
            for array in layout["arrays"].values():
                for shard in sorted((root / sample["relpath"] / array["array_name"] / "c").iterdir(), key=by_number):
                    index = np.frombuffer((shard / "0").read_bytes()[-(16 * per_shard + 4) : -4], "<u8").reshape(-1, 2)
                    lengths += [int(length) for length in index[:, 1] if length != 2**64 - 1]
        checksums.append(google_crc32c.value(np.array(lengths[ends[-1] :], "<u4").tobytes()))
        ends.append(len(lengths))
    assert words[:14].view(np.uint64).tolist() == [2, *ends, 0, 5, 10]
    assert words[14:16].tolist() == checksums
    assert words[16:19].tobytes() == b"run_1run_2\0\0"
    assert words[19:].tolist() == lengths
    assert [int(one["lengths_crc32c"], 16) for one in manifest["samples"].values()] == checksums


EXAMPLE = """
02000000 00000000
00000000 00000000 02000000 00000000 03000000 00000000
00000000 00000000 01000000 00000000 04000000 00000000
1c0e373f f0cd41c9
61622f31
28000000 29000000 32000000
"""


def test_the_index_words_match_the_example_of_the_format() -> None:
    data = encode_index({"b/1": np.array([50], np.uint32), "a": np.array([40, 41], np.uint32)})
    head = BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<u4", "fortran_order": False, "shape": (20,)})
    assert data == head.getvalue() + bytes.fromhex(EXAMPLE)
    text = (ROOT / "docs" / "format.md").read_text()
    assert all(f"\n{line}  " in text for line in EXAMPLE.strip().splitlines())


def by_number(path: Path) -> int:
    return int(path.name)


@pytest.mark.slow
def test_building_the_index_again_changes_nothing(root: Path) -> None:
    first = write_chunk_index(root)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert write_chunk_index(root) == first
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_arrays_that_the_index_cannot_describe_are_not_indexed(root: Path) -> None:
    path = root / "run_1.zarr/volume/pressure"
    values = np.asarray(zarr.open_array(path, mode="r")[:])
    zarr.create_array(path, data=values, chunks=(256, 1), compressors=GzipCodec(), overwrite=True)
    document = json.loads((root / "run_1.zarr/zarr.json").read_bytes())
    document["consolidated_metadata"]["metadata"]["volume/pressure"] = json.loads((path / "zarr.json").read_bytes())
    (root / "run_1.zarr/zarr.json").write_text(json.dumps(document))
    before = ZarrChunkReader(root)
    write_chunk_index(root)
    assert_same_reads(root, before)
    assert ZarrChunkReader(root).cost("run_1", NUM_POINTS).requests["volume_pressure"] is None
    assert ZarrChunkReader(root).cost("run_2", NUM_POINTS).requests["volume_pressure"] is not None


@pytest.mark.slow
def test_damage_of_one_array_is_reported_by_the_reader_and_not_by_the_index(root: Path) -> None:
    (root / "run_1.zarr/volume/pressure/c/0/0").unlink()
    write_chunk_index(root)
    reader = ZarrChunkReader(root)
    with pytest.raises(CorruptDataError, match=r"sample 'run_1', field volume_pressure: shard 0 is damaged"):
        reader.read_arrays("run_1")
    assert len(reader.read_arrays("run_1", fields=["volume_sdf"])["volume_sdf"]) == 18_219
    assert len(reader.read_arrays("run_2")["volume_pressure"]) == 18_423


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda data: data[:-4], "chunk index", id="cut"),
        pytest.param(lambda data: data[:0], "chunk index", id="empty"),
        pytest.param(lambda data: b"{}" + data, "chunk index", id="no array"),
    ],
)
def test_a_damaged_index_is_named_with_the_way_out(root: Path, damage: object, message: str) -> None:
    path = root / write_chunk_index(root)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]  # a function, of the cases above
    with pytest.raises(CorruptDataError, match=rf"{message}.*; rebuild it with noether-zarr index STORE$"):
        ZarrChunkReader(root).read_arrays("run_1")


def test_an_index_with_wrong_lengths_gives_an_error_and_no_wrong_data(root: Path) -> None:
    path = root / write_chunk_index(root)
    words = np.load(path)
    words[19:] += 1
    np.save(path, words)
    with pytest.raises(CorruptDataError, match=r"sample 'run_1', field \w+: .*damaged.*noether-zarr index STORE"):
        ZarrChunkReader(root).read_arrays("run_1", NUM_POINTS, 0)


def test_a_store_whose_index_file_is_gone_reads_without_it(root: Path) -> None:
    before = ZarrChunkReader(root)
    (root / write_chunk_index(root)).unlink()
    assert_same_reads(root, before)


@pytest.mark.parametrize("kind", PLACES)
def test_the_chunk_index_works_in_every_storage(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place: Place = make_place(kind, request)
    writer = ZarrStoreWriter(place.root, AHMED_FILEMAP, "ahmed", chunk_points=256, storage_options=place.options)
    writer.write_sample("run_1", load_run("run_1"))
    writer.save_manifest()
    before = ZarrChunkReader(place.root, storage_options=place.options)
    write_chunk_index(place.root, storage_options=place.options)
    assert_same_reads(place.root, before, storage_options=place.options)


def test_a_local_copy_is_never_of_another_store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = make_place("memory", request)
    writer = ZarrStoreWriter(place.root, AHMED_FILEMAP, "ahmed", chunk_points=256, storage_options=place.options)
    writer.write_sample("run_1", load_run("run_1"))
    writer.save_manifest()
    before = ZarrChunkReader(place.root)
    name = write_chunk_index(place.root)
    ours = place.files()[name]
    forged = ours[:-4] + b"\x01\0\0\0"
    place.replace(name, forged)
    with pytest.raises(CorruptDataError, match="noether-zarr index STORE"):
        ZarrChunkReader(place.root).read_arrays("run_1")
    place.replace(name, ours)
    assert_same_reads(str(place.root), before)


@pytest.fixture
def remote(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A remote store with a chunk index, and an empty cache for copies of the index."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = make_place("memory", request)
    write_runs(str(place.root), "run_1", chunk_points=256)
    write_chunk_index(place.root)
    return place


def cached(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_readers_of_a_machine_fetch_the_index_once_and_map_one_file(remote: Place, tmp_path: Path) -> None:
    before = ZarrChunkReader(remote.root)
    before.read_arrays("run_1", NUM_POINTS, 0)
    [file] = cached(tmp_path)
    assert file.read_bytes() == remote.files()[file.name]
    remote.remove(file.name)  # a second fetch would fail
    assert_same_reads(str(remote.root), before)
    index = open_chunk_index(open_storage(str(remote.root)), StoreManifest.load(str(remote.root)))
    assert index is not None
    lengths: object = index.lengths("run_1")["volume_velocity"]
    while isinstance(lengths, np.ndarray):
        lengths = lengths.base
    assert isinstance(lengths, mmap.mmap)


@pytest.mark.parametrize("home", ["a file", "none"])
def test_where_it_cannot_be_kept_each_reader_fetches_it(
    home: str, remote: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ZarrChunkReader(remote.root)
    before.read_arrays("run_1", NUM_POINTS, 0)
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    if home == "none":
        # Like a user without a passwd entry, as in a container.
        monkeypatch.delenv("HOME")
        monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    else:
        (tmp_path / "file").touch()
        monkeypatch.setenv("HOME", str(tmp_path / "file"))
    reader = ZarrChunkReader(remote.root)
    cost = reader.cost("run_1", NUM_POINTS, None, 0)
    assert cost.total_requests is not None
    assert_same_reads(str(remote.root), before)


def test_a_damaged_copy_on_the_machine_is_fetched_again(remote: Place, tmp_path: Path) -> None:
    before = ZarrChunkReader(remote.root)
    before.read_arrays("run_1", NUM_POINTS, 0)
    [file] = cached(tmp_path)
    whole = file.read_bytes()
    for damaged in (b"", whole[:-4], b"{}" + whole):
        file.write_bytes(damaged)
        assert_same_reads(str(remote.root), before)
        assert file.read_bytes() == whole


def test_the_remedy_for_a_copy_with_wrong_lengths_works(remote: Place, tmp_path: Path) -> None:
    before = ZarrChunkReader(remote.root)
    before.read_arrays("run_1", NUM_POINTS, 0)
    [file] = cached(tmp_path)
    words = np.load(file)
    words[-40:] += 1
    np.save(file, words)
    with pytest.raises(CorruptDataError, match="noether-zarr index STORE"):
        ZarrChunkReader(remote.root).read_arrays("run_1")
    write_chunk_index(remote.root)
    assert_same_reads(str(remote.root), before)


def test_indexing_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is no store"):
        write_chunk_index(tmp_path)
    assert list(tmp_path.iterdir()) == []
