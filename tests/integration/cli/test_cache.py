"""The commands `cache fill`, `cache show` and `cache clear`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from noether.data.zarr_store import StoreManifest, ZarrChunkReader
from noether.data.zarr_store.reading import write_chunk_index
from support.near import as_remote, disk_bytes
from support.reading import write_runs
from support.trees import call


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_runs(tmp_path_factory.mktemp("cache") / "store", "run_1", "run_2", chunk_points=256)
    write_chunk_index(root)

    def add_splits(manifest: StoreManifest) -> StoreManifest:
        return manifest.model_copy(update={"splits": {"train": ["run_1"], "test": ["run_2"]}})

    StoreManifest.update(str(root), add_splits)
    return root


def test_a_split_is_filled_shown_and_cleared(root: Path, tmp_path: Path) -> None:
    url, cache = as_remote(root), ("--cache-dir", tmp_path / "cache")
    ran = call("cache", "fill", url, "--split", "train", *cache)
    assert (ran.code, ran.stderr) == (0, "")
    size = re.fullmatch(r"run_1: (\S+ kB)", ran.stdout.splitlines()[0])
    assert size is not None
    assert ran.stdout.splitlines()[1] == f"1 sample in the cache, {size[1]}; {size[1]} fetched"
    ran = call("cache", "fill", url, "--split", "train", *cache)
    assert ran.stdout.splitlines()[1] == f"1 sample in the cache, {size[1]}; 0 bytes fetched"
    ran = call("cache", "show", *cache)
    assert ran.code == 0
    assert re.fullmatch(rf"{url}: (\S+ kB) in 10 files\n1 store, \1 in all\n", ran.stdout)
    assert call("cache", "clear", "local:///else", *cache).code == 2
    assert call("cache", "clear", url, *cache).stdout == "removed 10 files\n"
    assert call("cache", "show", *cache).stdout == "0 stores, 0 bytes in all\n"
    assert disk_bytes(tmp_path / "cache") == 0


def test_samples_without_room_are_named(root: Path, tmp_path: Path) -> None:
    """The exit code is 1."""
    ran = call("cache", "fill", as_remote(root), "--cache-dir", tmp_path, "--cache-limit", "5 kB")
    assert ran.code == 1
    assert ran.stdout == "0 samples in the cache, 0 bytes; 0 bytes fetched\n"
    assert ran.stderr == ("no room for 2 samples: run_1, run_2; raise --cache-limit, or name a --split or --field\n")


def test_the_environment_names_the_cache(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOETHER_ZARR_CACHE_DIR", str(tmp_path / "cache"))
    assert call("cache", "fill", as_remote(root), "--sample", "run_1", "--field", "volume_pressure").code == 0
    assert "in 1 file\n" in call("cache", "show").stdout
    assert call("cache", "clear").stdout == "removed 1 file\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show",), "error: cache_dir: expected a directory, got none; set cache_dir or NOETHER_ZARR_CACHE_DIR\n"),
        (("clear",), "error: cache_dir: expected a directory, got none; set cache_dir or NOETHER_ZARR_CACHE_DIR\n"),
        (
            ("show", "--cache-dir", "/nowhere"),
            "error: cache_dir: /nowhere is not a cache of this library; check the path\n",
        ),
        (("clear", "--cache-dir", "/usr"), "error: cache_dir: /usr is not a cache of this library; check the path\n"),
        (
            ("fill", "/store"),
            "error: store_root: expected a URL, got the local path /store; read a local store without a cache\n",
        ),
    ],
)
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...], message: str) -> None:
    ran = call("cache", *arguments)
    assert (ran.code, ran.stderr) == (2, message)


def test_a_directory_of_the_user_is_left_alone(root: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    ran = call("cache", "fill", as_remote(root), "--cache-dir", tmp_path)
    assert ran.code == 2
    assert "is not empty, and no cache of this library" in ran.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["thesis.tex"]


def test_readers_of_a_filled_cache_get_the_values(root: Path, tmp_path: Path) -> None:
    call("cache", "fill", as_remote(root), "--cache-dir", tmp_path)
    near = ZarrChunkReader(as_remote(root), cache_dir=tmp_path).read_arrays("run_2")
    for field, values in ZarrChunkReader(root).read_arrays("run_2").items():
        assert (near[field] == values).all()
