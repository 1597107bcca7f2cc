"""Reads of remote stores through a cache on this machine."""

from __future__ import annotations

import errno
import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from noether.data.zarr_store import StoreManifest, ZarrChunkReader
from noether.data.zarr_store.errors import ArgumentError, CorruptDataError, StorageError
from noether.data.zarr_store.reading import ResultDtypes, write_chunk_index
from noether.data.zarr_store.stores import make_store
from noether.data.zarr_store.stores.weaknesses import StorageWarning, warn_once
from noether.data.zarr_store.upkeep import clear_cache, fill_cache
from support.ahmed import Arrays, load_run
from support.near import as_remote, disk_bytes, requests_made
from support.reading import write_runs, write_samples

DRAW = {"surface": 500, "volume": 700}


@pytest.fixture(scope="module", params=[True, False], ids=["chunk index", "no chunk index"])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_runs(tmp_path_factory.mktemp("near") / "store", "run_1", "run_2", chunk_points=256, shard_points=1024)
    if request.param:
        write_chunk_index(root)
    return root


def open_reader(root: Path, cache: Path, limit: int | str = "1 GB", **settings: Any) -> ZarrChunkReader:
    return ZarrChunkReader(as_remote(root), cache_dir=cache, cache_limit=limit, **settings)


def assert_same(one: Arrays, other: Arrays) -> None:
    assert one.keys() == other.keys()
    for field in one:
        np.testing.assert_array_equal(one[field], other[field])


def read_twice(reader: ZarrChunkReader, sample_id: str = "run_1", dtype: Any = "float32") -> list[str]:
    """Read a draw twice, compare it with a read without a cache, and return the requests of the second read."""
    local = ZarrChunkReader(reader.store_root.removeprefix("local://"))
    expected = local.read_arrays(sample_id, DRAW, 3, dtype=dtype)
    with requests_made() as requests:
        assert_same(reader.read_arrays(sample_id, DRAW, 3, dtype=dtype), expected)
        n_first = len(requests)
        assert_same(reader.read_arrays(sample_id, DRAW, 3, dtype=dtype), expected)
    return requests[n_first:]


def cached_files(cache: Path) -> list[Path]:
    return sorted(cache.glob("*/*.part"))


@pytest.mark.parametrize("concurrency", [1, 16])
@pytest.mark.parametrize("dtype", ["float32", "float64", None])
def test_the_second_read_of_a_draw_makes_no_request(root: Path, tmp_path: Path, concurrency: int, dtype: Any) -> None:
    assert read_twice(open_reader(root, tmp_path, read_concurrency=concurrency), dtype=dtype) == []


@pytest.mark.parametrize(("concurrency", "dtype"), [(1, "float32"), (4, "float32"), (1, "float64")])
def test_chunks_of_the_cache_are_counted(root: Path, tmp_path: Path, concurrency: int, dtype: Any) -> None:
    reader = open_reader(root, tmp_path, read_concurrency=concurrency)
    read_twice(reader, dtype=dtype)
    counted = reader.io_statistics()
    assert 0 < counted.requests <= counted.cache_misses
    assert counted.cache_hits == counted.cache_misses  # the second draw has the chunks of the first


def test_another_process_makes_no_request_either(root: Path, tmp_path: Path) -> None:
    read_twice(open_reader(root, tmp_path))
    reader = pickle.loads(pickle.dumps(open_reader(root, tmp_path)))
    with requests_made() as requests:
        reader.read_arrays("run_1", DRAW, 3)
    assert [one for one in requests if "sample_index" not in one] == []
    assert reader._fetcher.cache.misses == 0
    assert reader._fetcher.cache.hits == sum(reader.cost("run_1", DRAW, generator=3).chunks.values())


def test_what_the_cache_has_is_read_without_threads(root: Path, tmp_path: Path) -> None:
    """Handing a read to a thread would take longer than the read."""
    fill_cache(as_remote(root), cache_dir=tmp_path)
    reader = open_reader(root, tmp_path)
    reads = reader._fetcher.prepare(reader._plan_reads("run_1", DRAW, 3, None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader._fetcher, "_threads", lambda _: pytest.fail("a thread was asked"))
        for fields in reads:
            reader._fetcher.read(fields, ResultDtypes.of("float32", reader.manifest.domains))


def test_bytes_are_counted_as_they_are_fetched_and_read(root: Path, tmp_path: Path) -> None:
    reader = open_reader(root, tmp_path)
    n_bytes, n_chunks = (
        reader.cost("run_1", DRAW, generator=3).total_bytes,
        sum(reader.cost("run_1", DRAW, generator=3).chunks.values()),
    )
    for _ in range(2):
        reader.read_arrays("run_1", DRAW, 3)
    cache = reader._fetcher.cache
    assert cache is not None
    assert (cache.hits, cache.misses) == (n_chunks, n_chunks)
    assert (cache.hit_bytes, cache.missed_bytes) == (n_bytes, n_bytes)


def test_without_the_compiled_module_it_is_the_same(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("decode", "read"):
        monkeypatch.setattr(f"noether.data.zarr_store.codec.native.{name}", None)
    monkeypatch.setattr("noether.data.zarr_store.codec.native.warn_of_slow_path", lambda: None)
    assert read_twice(open_reader(root, tmp_path)) == []


def test_fresh_draws_miss_what_no_draw_before_has_read(tmp_path: Path) -> None:
    root = write_runs(tmp_path / "store", "run_1", chunk_points=64)
    write_chunk_index(root)
    reader, plain = open_reader(root, tmp_path / "cache"), ZarrChunkReader(root)
    seen: set[tuple[str, int]] = set()
    cache = reader._fetcher.cache
    assert cache is not None
    for seed in range(30):
        planned = plain._plan_reads("run_1", DRAW, seed, None)
        chunks = {(one.domain, part.chunk) for one in planned for part in one.plan.parts for _ in one.layouts}
        fields = {one.domain: len(one.layouts) for one in planned}
        missed = sum(fields[domain] for domain, chunk in chunks if (domain, chunk) not in seen)
        before = cache.misses
        assert_same(reader.read_arrays("run_1", DRAW, seed), plain.read_arrays("run_1", DRAW, seed))
        # A range from the first missing chunk to the last may contain cached chunks.
        assert missed <= cache.misses - before <= sum(fields[domain] for domain, _ in chunks)
        seen |= chunks
    assert cache.hits > cache.misses > 0


def test_a_filled_cache_serves_whole_samples(root: Path, tmp_path: Path) -> None:
    filled = fill_cache(as_remote(root), cache_dir=tmp_path, sample_ids=["run_1"])
    assert (filled.samples, filled.left_out) == (("run_1",), ())
    reader = open_reader(root, tmp_path)
    with requests_made() as requests:
        assert_same(reader.read_arrays("run_1"), ZarrChunkReader(root).read_arrays("run_1"))
    assert [one for one in requests if "sample_index" not in one] == []
    again = fill_cache(as_remote(root), cache_dir=tmp_path, sample_ids=["run_1"])
    assert (again.n_bytes, again.n_fetched) == (filled.n_bytes, 0)


def test_a_sample_that_was_written_again_is_never_served(tmp_path: Path) -> None:
    """With uncompressed exact values, manifest, root, lengths and sizes are otherwise the same."""
    root = tmp_path / "store"
    for value in (1.0, 2.0):
        fields = {
            "surface_position": np.zeros((1000, 3), np.float32),
            "surface_pressure": np.full(1000, value, np.float32),
        }
        settings = {"values_dtype": "float32", "compression_level": 0, "chunk_points": 256}
        write_samples(root, {"s1": fields}, small_filemap(), **settings)
        write_chunk_index(root)
        for _ in range(2):
            read = open_reader(root, tmp_path / "cache").read_arrays("s1", {"surface": 300}, 3)
            assert set(read["surface_pressure"]) == {value}


def small_filemap() -> Any:
    from noether.data.schemas import FileMap

    return FileMap(surface_position="p", surface_pressure="c")


def without_content(root: Path, *sample_ids: str) -> None:
    """Remove from the entries the keys that earlier releases did not write."""
    manifest = json.loads((root / "manifest.json").read_bytes())
    for sample_id in sample_ids:
        del manifest["samples"][sample_id]["content_crc32c"]
    del manifest["crc32c"]
    (root / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("indexed", [True, False])
def test_samples_of_earlier_releases_differ_by_their_objects(tmp_path: Path, indexed: bool) -> None:
    root = tmp_path / "store"
    for run in ("run_1", "run_2", "run_1"):
        write_samples(root, {"s1": load_run(run)}, chunk_points=256)
        if indexed:
            write_chunk_index(root)
        without_content(root, "s1")
        assert read_twice(open_reader(root, tmp_path / "cache"), "s1") == []
        with requests_made() as requests:
            open_reader(root, tmp_path / "cache").read_arrays("s1", DRAW, 3)
        assert [one.partition(" ")[0] for one in requests].count("objects") == 1
        assert [one for one in requests if one.startswith("read_range")] == []


def damage_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    nonzero = np.flatnonzero(np.frombuffer(data, np.uint8))
    data[int(nonzero[len(nonzero) // 2])] ^= 1
    file.write_bytes(data)


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def zero(file: Path) -> None:
    file.write_bytes(b"\0" * file.stat().st_size)


def grow(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(b"\0" * 5000)


@pytest.mark.parametrize("harm", [damage_bit, cut, zero, grow, Path.unlink])
@pytest.mark.parametrize("verify", [True, False])
def test_damage_of_the_cache_is_fetched_again(
    root: Path, tmp_path: Path, harm: Callable[[Path], None], verify: bool
) -> None:
    reader = open_reader(root, tmp_path, verify_checksums=verify)
    for _ in range(2):
        assert read_twice(reader) == []
        for file in cached_files(tmp_path):
            harm(file)
        with requests_made() as requests:
            assert_same(reader.read_arrays("run_1", DRAW, 3), ZarrChunkReader(root).read_arrays("run_1", DRAW, 3))
        # Deleted files remain readable for processes that have them open.
        assert requests or harm in {grow, Path.unlink}
        reader = open_reader(root, tmp_path, verify_checksums=verify)


def test_damage_of_the_store_is_an_error_until_it_is_repaired(tmp_path: Path) -> None:
    root = write_runs(tmp_path / "store", "run_1", chunk_points=256)
    write_chunk_index(root)
    shard = root / "run_1.zarr/volume/pressure/c/0/0"
    sound = shard.read_bytes()
    shard.write_bytes(bytes([sound[0] ^ 1]) + sound[1:])
    reader = open_reader(root, tmp_path / "cache")
    for _ in range(2):
        with pytest.raises(CorruptDataError, match=r"run_1.*volume_pressure.*chunk 0"):
            reader.read_arrays("run_1")
    shard.write_bytes(sound)
    assert_same(reader.read_arrays("run_1"), ZarrChunkReader(root).read_arrays("run_1"))


def test_a_store_without_checksums_is_not_cached_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_runs(tmp_path / "store", "run_1", chunk_points=256, checksum=False)
    write_chunk_index(root)
    assert read_twice(open_reader(root, tmp_path / "cache")) != []
    assert [one.getMessage() for one in caplog.records] == [
        f"{as_remote(root)}: the chunks of this store have no checksums and are not cached; "
        "convert it again with checksums"
    ]
    assert cached_files(tmp_path / "cache") == []
    with pytest.raises(
        ArgumentError,
        match=r"the field cannot be cached: its chunks carry no checksums.*; convert the sample again with checksums$",
    ):
        fill_cache(as_remote(root), cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("call", ["pwrite", "ftruncate", "open", "mkdir"])
def test_disks_that_fail_cost_the_cache_and_not_the_read(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
    call: str,
) -> None:
    reader = open_reader(root, tmp_path / "cache", limit=20_000)
    original = getattr(os, call)

    def fail(path: Any, *args: Any, **more: Any) -> Any:
        if call == "open" and str(tmp_path / "cache") not in str(path) and "dir_fd" not in more:
            return original(path, *args, **more)
        raise OSError(number, os.strerror(number))

    expected = ZarrChunkReader(root).read_arrays("run_2")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        for _ in range(2):
            assert_same(reader.read_arrays("run_2"), expected)
    messages = [one.getMessage() for one in caplog.records if os.strerror(number) in one.getMessage()]
    assert len(messages) == (1 if call in {"pwrite", "open", "mkdir"} else len(messages))
    assert_same(reader.read_arrays("run_2"), expected)


@pytest.mark.parametrize("call", ["pread", "fstat", "utime"])
def test_a_cache_that_cannot_be_read_costs_the_cache(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    read_twice(open_reader(root, tmp_path))
    reader = open_reader(root, tmp_path)
    expected = ZarrChunkReader(root).read_arrays("run_1")

    def fail(*args: Any) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(f"noether.data.zarr_store.stores.range_cache.os.{call}", fail)
        read = reader.read_arrays("run_1")
    assert_same(read, expected)


def test_storage_that_fails_is_still_told(root: Path, tmp_path: Path) -> None:
    reader = open_reader(root, tmp_path)
    reader.read_arrays("run_1", DRAW, 3)
    with pytest.MonkeyPatch.context() as patch:

        def fail(*args: Any) -> Any:
            raise StorageError("the network is down")

        patch.setattr("noether.data.zarr_store.stores.fsspec_store.FsspecStorage.read_range", fail)
        reader.read_arrays("run_1", DRAW, 3)
        with pytest.raises(StorageError, match=r"run_1.*the network is down"):
            reader.read_arrays("run_1")


def test_the_disk_has_no_more_than_the_limit(tmp_path: Path) -> None:
    root = write_runs(tmp_path / "store", "run_1", "run_2", chunk_points=128, shard_points=512)
    write_chunk_index(root)
    reader, plain = open_reader(root, tmp_path / "cache", limit=120_000), ZarrChunkReader(root)
    for seed in range(16):
        sample_id = f"run_{1 + seed % 2}"
        assert_same(reader.read_arrays(sample_id, DRAW, seed), plain.read_arrays(sample_id, DRAW, seed))
        assert disk_bytes(tmp_path / "cache") <= 120_000
    assert disk_bytes(tmp_path / "cache") > 60_000


def test_a_cache_that_another_process_clears_is_filled_again(root: Path, tmp_path: Path) -> None:
    reader = open_reader(root, tmp_path)
    for _ in range(2):
        assert read_twice(reader) == []
        assert clear_cache(tmp_path, as_remote(root)) > 0
        assert cached_files(tmp_path) == []


def test_samples_beyond_the_cache_limit_are_left_out_and_named(root: Path, tmp_path: Path) -> None:
    done: list[str] = []
    size = fill_cache(as_remote(root), cache_dir=tmp_path / "whole", sample_ids=["run_1"]).n_bytes
    room = size + 8192 * len(cached_files(tmp_path / "whole"))
    filled = fill_cache(
        as_remote(root),
        cache_dir=tmp_path / "small",
        cache_limit=int(room * 1.5),
        on_sample=lambda sample_id, _: done.append(sample_id),
    )
    assert (filled.samples, filled.left_out, done) == (("run_1",), ("run_2",), ["run_1"])
    reader = open_reader(root, tmp_path / "small")
    with requests_made() as requests:
        reader.read_arrays("run_1")
    assert [one for one in requests if "sample_index" not in one] == []


def test_only_the_fields_that_are_named_are_filled(root: Path, tmp_path: Path) -> None:
    fill_cache(as_remote(root), cache_dir=tmp_path, fields=["volume_pressure"])
    reader = open_reader(root, tmp_path)
    with requests_made() as requests:
        reader.read_arrays("run_1", fields=["volume_pressure"])
        assert [one for one in requests if "sample_index" not in one] == []
        reader.read_arrays("run_1", fields=["volume_velocity"])
    assert [one for one in requests if "velocity" in one] != []


def test_a_fill_of_a_disk_that_is_full_is_an_error(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", fail)
    with pytest.raises(StorageError, match=r"cannot write the cache .*: No space left on device"):
        fill_cache(as_remote(root), cache_dir=tmp_path)


def test_a_fill_is_refused_before_any_request(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with requests_made() as requests:
        for url, directory, message in (
            (
                str(tmp_path),
                None,
                "store_root: expected a URL, got the local path .*; read a local store without a cache",
            ),
            ("local:///nowhere", None, "cache_dir: expected a directory"),
            ("local:///nowhere", tmp_path, "neither empty nor a cache"),
        ):
            with pytest.raises(ArgumentError, match=message):
                fill_cache(url, cache_dir=directory)
    assert requests == []


def test_a_local_store_is_not_cached_and_makes_no_directory(root: Path, tmp_path: Path) -> None:
    warn_once.cache_clear()
    with pytest.warns(StorageWarning, match="a local store is not cached"):
        reader = ZarrChunkReader(root, cache_dir=tmp_path / "cache")
    reader.read_arrays("run_1", DRAW, 3)
    assert reader.cache_limit is None
    assert not (tmp_path / "cache").exists()


def test_the_environment_turns_it_on(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOETHER_ZARR_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("NOETHER_ZARR_CACHE_LIMIT", "1 GB")
    assert read_twice(ZarrChunkReader(as_remote(root))) == []
    assert ZarrChunkReader(as_remote(root), store_factory=make_store).read_arrays("run_1", DRAW, 3)


def test_local_reads_make_no_calls_for_the_cache(root: Path) -> None:
    """A read of a local store enters no function of the cache, and no thread."""
    reader = ZarrChunkReader(root)
    reader.read_arrays("run_1", DRAW, 3)
    entered: set[tuple[str, str]] = set()

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            entered.add((Path(frame.f_code.co_filename).name, frame.f_code.co_name))

    sys.setprofile(watch)
    try:
        reader.read_arrays("run_1", DRAW, 3)
    finally:
        sys.setprofile(None)
    files, functions = ({one[part] for one in entered} for part in (0, 1))
    assert "sharded_array.py" in files
    assert not files & {"near.py", "range_cache.py", "cache_directory.py", "cache_settings.py"}
    assert not functions & {"read_near", "_cache_misses", "_do_all", "_threads"}


def test_manifests_are_not_cached_so_new_samples_are_seen(tmp_path: Path) -> None:
    root = write_runs(tmp_path / "store", "run_1", chunk_points=256)
    open_reader(root, tmp_path / "cache").read_arrays("run_1", DRAW, 3)
    write_samples(root, {"run_1": load_run("run_2")}, chunk_points=256)
    assert StoreManifest.load(str(root)).sample("run_1").content_crc32c
    read = open_reader(root, tmp_path / "cache").read_arrays("run_1", DRAW, 3)
    assert_same(read, ZarrChunkReader(root).read_arrays("run_1", DRAW, 3))
