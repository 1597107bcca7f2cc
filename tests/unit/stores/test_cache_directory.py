"""The directory of a cache: its marker, the removal of files, and its limit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.stores import CacheDirectory, CacheSettings, RangeCache, cache_settings
from noether.data.zarr_store.stores.weaknesses import StorageWarning, warn_once
from support.near import disk_bytes

URL = "s3://bucket/store"
KB = b"x" * 1024


def name(number: int) -> str:
    return f"{number:032x}.part"


def open_cache(path: Path, limit: int = 1 << 20, root: str = URL) -> RangeCache:
    return RangeCache.open(CacheSettings(str(path), limit), root)


def only_store(path: Path) -> Path:
    (store,) = (one for one in path.iterdir() if one.is_dir())
    return store


def test_a_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ArgumentError, match=r"is not empty, and no cache of this library .*; name an empty directory"):
        open_cache(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArgumentError, match="is not a directory"):
        open_cache(tmp_path / "file")


def test_a_link_or_directory_does_not_count_as_the_marker(tmp_path: Path) -> None:
    for number, place in enumerate(("link", "directory")):
        cache = tmp_path / str(number)
        cache.mkdir()
        marker = cache / "noether-zarr-cache"
        marker.symlink_to("/etc/hostname") if place == "link" else marker.mkdir()
        with pytest.raises(ArgumentError, match="not empty"):
            open_cache(cache)


def test_written_ranges_are_read_at_their_offsets_and_holes_are_zeros(tmp_path: Path) -> None:
    cache = open_cache(tmp_path / "cache")
    cache.store(name(1), 5000, b"chunk")
    for one in (cache, open_cache(tmp_path / "cache")):
        assert one.read(name(1), 4998, 7) == b"\0\0chunk"
        assert one.read(name(1), 5003, 9) == b"nk"
        assert one.read(name(2), 0, 5) == b""
        assert one.read_tail(name(1), 3) == (b"unk", 5005)
    assert cache.stored_bytes == 5


def test_stores_do_not_see_the_files_of_each_other(tmp_path: Path) -> None:
    open_cache(tmp_path).store(name(1), 0, b"one")
    assert open_cache(tmp_path, root="s3://bucket/other").read(name(1), 0, 3) == b""
    assert list(CacheDirectory(tmp_path).stores().values()) == [URL]


def test_passwords_in_urls_are_not_written(tmp_path: Path) -> None:
    open_cache(tmp_path, root="https://me:secret@host/store").store(name(1), 0, b"one")
    assert list(CacheDirectory(tmp_path).stores().values()) == ["https://host/store"]


def test_the_least_recently_used_files_are_removed_first(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, limit=200 << 10)
    for number in range(8):
        cache.store(name(number), 0, KB * 10)
        os.utime(only_store(tmp_path) / name(number), ns=(0, 10**9 * (number + 1)))
    # Another process reads the oldest file.
    assert open_cache(tmp_path).read(name(0), 0, 1) == b"x"
    cache.store(name(8), 0, KB * 100)
    there = sorted(int(one.name[:32], 16) for one in only_store(tmp_path).glob("*.part"))
    assert there == [0, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("size", [100, 5000, 40_000])
def test_the_disk_never_has_more_than_the_limit(size: int, tmp_path: Path) -> None:
    limit = 200_000
    caches = [open_cache(tmp_path, limit), open_cache(tmp_path, limit, "s3://bucket/other")]
    most = 0
    for number in range(200):
        caches[number % 2].store(name(number % 50), (number // 50) * size, b"x" * size)
        most = max(most, disk_bytes(tmp_path))
    assert limit * 0.5 < most <= limit


def test_a_range_beyond_the_limit_is_not_stored_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = open_cache(tmp_path, limit=50_000)
    for _ in range(3):
        cache.store(name(1), 0, b"x" * 60_000)
    assert disk_bytes(tmp_path) == 0
    assert [one.getMessage() for one in caplog.records] == [
        f"{URL}: 60,000 bytes are not cached: the cache_limit is 50,000"
    ]


def test_a_lost_or_invalid_count_is_made_again(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, limit=100 << 10)
    usage = tmp_path / "noether-zarr-cache.usage"
    for content in (None, b"", b"senseless"):
        usage.unlink(missing_ok=True)
        if content is not None:
            usage.write_bytes(content)
        for number in range(40):
            cache.store(name(number), 0, KB * 10)
        assert disk_bytes(tmp_path) <= 100 << 10


def test_blocks_of_removed_files_are_free_while_others_read_them(tmp_path: Path) -> None:
    reader, writer = (open_cache(tmp_path, limit=100_000) for _ in range(2))
    writer.store(name(0), 0, KB * 40)
    (file,) = reader.files(name(0))
    for number in range(1, 9):
        writer.store(name(number), 0, KB * 40)
    assert os.fstat(file.descriptor).st_blocks == 0
    assert reader.read(name(0), 0, 10) == b""
    writer.store(name(0), 0, KB)
    assert reader.read(name(0), 0, 10) == b"x" * 10


def test_only_files_with_names_of_the_cache_are_removed(tmp_path: Path) -> None:
    cache = open_cache(tmp_path / "cache", limit=100_000)
    cache.store(name(0), 0, KB)
    store = only_store(tmp_path / "cache")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / name(1)).write_bytes(KB * 50)
    foreign = [tmp_path / "cache" / "notes.txt", store / "notes.txt", store / "a.part", store / f"{name(3)}~"]
    for one in foreign:
        one.write_bytes(KB * 50)
    (store / name(4)).symlink_to(outside / name(1))
    (tmp_path / "cache" / ("0" * 16)).symlink_to(outside)
    (store / name(5)).mkdir()
    for number in range(10, 30):
        cache.store(name(number), 0, KB * 20)
    cache.store(name(4), 0, b"y")
    assert cache.read(name(4), 0, 1) == b""
    CacheDirectory(tmp_path / "cache").clear()
    assert all(one.read_bytes() == KB * 50 for one in foreign)
    assert (outside / name(1)).read_bytes() == KB * 50
    assert list(store.glob("*.part")) != []


def test_a_file_with_a_hard_link_elsewhere_is_not_emptied(tmp_path: Path) -> None:
    cache = open_cache(tmp_path / "cache")
    cache.store(name(0), 0, KB)
    os.link(only_store(tmp_path / "cache") / name(0), tmp_path / "kept")
    assert CacheDirectory(tmp_path / "cache").clear() == 1
    assert (tmp_path / "kept").read_bytes() == KB


def test_clearing_a_store_keeps_the_others_and_readers_continue(tmp_path: Path) -> None:
    one, other = open_cache(tmp_path), open_cache(tmp_path, root="s3://bucket/other")
    for cache in (one, other):
        cache.store(name(0), 0, KB)
    directory = CacheDirectory(tmp_path)
    (store,) = (key for key, root in directory.stores().items() if root == URL)
    assert directory.clear(store) == 1
    assert list(directory.stores().values()) == ["s3://bucket/other"]
    assert (one.read(name(0), 0, 3), other.read(name(0), 0, 3)) == (b"", b"xxx")
    one.store(name(0), 0, KB)
    assert one.read(name(0), 0, 3) == b"xxx"


def test_reads_continue_after_the_cache_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noether.data.zarr_store.stores.range_cache._PAUSE_SECONDS", 0.0)
    cache = open_cache(tmp_path / "cache")
    cache.store(name(0), 0, KB)
    (tmp_path / "cache").rename(tmp_path / "moved")
    cache.store(name(1), 0, KB)
    assert cache.failure is not None
    cache.store(name(1), 0, KB)
    assert open_cache(tmp_path / "cache").read(name(1), 0, 3) == b"xxx"


def test_reads_continue_while_the_lock_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("noether.data.zarr_store.stores.cache_directory._LOCK_SECONDS", 0.01)
    cache = open_cache(tmp_path)
    with CacheDirectory(tmp_path).locked():
        cache.store(name(0), 0, KB)
        cache.store(name(1), 0, KB)
    (record,) = caplog.records
    assert "another process holds its lock" in record.getMessage()
    assert cache.read(name(0), 0, 3) == b""


def test_the_environment_sets_a_cache_only_for_remote_stores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_settings(None, None, is_remote=True) is None
    monkeypatch.setenv("NOETHER_ZARR_CACHE_DIR", str(tmp_path))
    assert cache_settings(None, None, is_remote=True) == CacheSettings(str(tmp_path), 100 * 10**9)
    monkeypatch.setenv("NOETHER_ZARR_CACHE_LIMIT", "2 GiB")
    assert cache_settings(None, None, is_remote=True) == CacheSettings(str(tmp_path), 2 << 30)
    assert cache_settings("/else", "1 GB", is_remote=True) == CacheSettings("/else", 10**9)
    assert cache_settings(None, None, is_remote=False) is None
    assert cache_settings(None, None, is_remote=True, has_factory=True) is None


def test_invalid_cache_arguments_raise_or_warn(tmp_path: Path) -> None:
    for directory, limit, message in (
        (None, "1 GB", r"cache_limit: expected cache_dir \(or NOETHER_ZARR_CACHE_DIR\)"),
        ("", None, "cache_dir: expected a path"),
        ("s3://bucket/cache", None, "cache_dir: expected a directory of this machine"),
        (str(tmp_path), "1", "cache_limit: expected a whole number of bytes"),
    ):
        with pytest.raises(ArgumentError, match=message):
            cache_settings(directory, limit, is_remote=True)
    with pytest.raises(ArgumentError, match="store_factory"):
        cache_settings(str(tmp_path), None, is_remote=True, has_factory=True)
    warn_once.cache_clear()
    with pytest.warns(StorageWarning, match="a local store is not cached; leave cache_dir out"):
        assert cache_settings(str(tmp_path), None, is_remote=False) is None
