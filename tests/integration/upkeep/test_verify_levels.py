"""The checks of each level, and their cost."""

from __future__ import annotations

import errno
import json
import shutil
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.codec.shard_index import MISSING
from noether.data.zarr_store.core.document_checksum import ZERO_CHECKSUM, with_checksum
from noether.data.zarr_store.errors import ArgumentError, StorageError
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.upkeep.verify import LEVELS, FindingKind, Level, VerifyReport, verify_store
from support.damage import Damage, flip, found
from support.reading import write_runs
from support.shards import forge_index

CHUNK_POINTS, PER_SHARD = 512, 4
ARRAY = "run_1.zarr/volume/velocity"
# 18,219 points are 36 chunks in 9 shards.
SHARD, LAST_SHARD = f"{ARRAY}/c/1/0", f"{ARRAY}/c/8/0"
INDEX_BYTES = PER_SHARD * 16 + 4
Entries = list[tuple[int, int]]


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {"chunk_points": CHUNK_POINTS, "shard_points": PER_SHARD * CHUNK_POINTS}
    return write_runs(tmp_path_factory.mktemp("levels") / "store", "run_1", **settings)


@pytest.fixture
def root(intact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(intact, tmp_path / "store"))


def entries_of(data: bytes) -> Entries:
    numbers = struct.unpack(f"<{2 * PER_SHARD}Q", data[-INDEX_BYTES:-4])
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def forge(change: Callable[[Entries], Entries], shard: str = SHARD) -> Damage:
    """Replace the index of a shard by an index with a valid checksum."""

    def damage(root: Path) -> None:
        data = (root / shard).read_bytes()
        (root / shard).write_bytes(data[:-INDEX_BYTES] + forge_index(change(entries_of(data))))

    return damage


def insert_gap(root: Path) -> None:
    """Insert a few bytes before the chunks of a shard."""
    data = (root / SHARD).read_bytes()
    entries = [(start + 7, length) for start, length in entries_of(data)]
    (root / SHARD).write_bytes(bytes(7) + data[:-INDEX_BYTES] + forge_index(entries))


def append_to_chunks(root: Path) -> None:
    """Put a few bytes between the last chunk of a shard and its index."""
    data = (root / SHARD).read_bytes()
    (root / SHARD).write_bytes(data[:-INDEX_BYTES] + bytes(7) + data[-INDEX_BYTES:])


def add_blank(key: str) -> Damage:
    """Change the bytes of a JSON document, but not its content."""

    def damage(root: Path) -> None:
        (root / key).write_bytes((root / key).read_bytes() + b" ")

    return damage


def in_node(key: str, change: Callable[[dict[str, Any]], object]) -> Damage:
    """Change the metadata of a node below the root."""

    def damage(root: Path) -> None:
        document = json.loads((root / key).read_bytes())
        change(document)
        (root / key).write_text(json.dumps(document, indent=2))

    return damage


def forge_root(change: Callable[[dict[str, Any]], object]) -> Damage:
    """Change the root and its checksum, like a writer with a bug."""

    def damage(root: Path) -> None:
        document = json.loads((root / "run_1.zarr/zarr.json").read_bytes())
        change(document["consolidated_metadata"]["metadata"])
        document["attributes"] |= ZERO_CHECKSUM
        (root / "run_1.zarr/zarr.json").write_bytes(with_checksum(json.dumps(document, indent=2).encode()))

    return damage


DAMAGES: dict[str, tuple[Damage, Level, FindingKind, str]] = {
    "a blank in a node": (add_blank(f"{ARRAY}/zarr.json"), "index", "metadata_damaged", f"{ARRAY}/zarr.json"),
    "a node says otherwise": (
        in_node(f"{ARRAY}/zarr.json", lambda node: node["dimension_names"].reverse()),
        "index",
        "metadata_damaged",
        f"{ARRAY}/zarr.json",
    ),
    "a root without a node": (
        forge_root(lambda nodes: nodes.pop("volume/velocity")),
        "index",
        "metadata_damaged",
        f"{ARRAY}/zarr.json",
    ),
    "a dtype that the manifest does not have": (
        forge_root(lambda nodes: nodes["volume/velocity"].update(data_type="float64")),
        "index",
        "metadata_damaged",
        ARRAY,
    ),
    "a flipped bit of an index": (flip(SHARD, -9), "index", "shard_index_damaged", SHARD),
    "chunks that overlap": (
        forge(lambda old: [(old[0][0], old[0][1] + 1), *old[1:]]),
        "index",
        "shard_index_damaged",
        SHARD,
    ),
    "a chunk that is not stored": (
        forge(lambda old: [(MISSING, MISSING), *old[1:]]),
        "index",
        "shard_index_damaged",
        SHARD,
    ),
    "chunks that are swapped": (
        forge(lambda old: [old[1], old[0], *old[2:]]),
        "index",
        "shard_index_damaged",
        SHARD,
    ),
    "bytes that belong to no chunk": (insert_gap, "index", "shard_index_damaged", SHARD),
    "bytes after the last chunk": (append_to_chunks, "index", "shard_index_damaged", SHARD),
    "a flipped bit of a chunk": (flip(SHARD, 100), "data", "chunk_damaged", SHARD),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found_from_its_level_on(root: Path, name: str) -> None:
    damage, first, kind, key = DAMAGES[name]
    damage(root)
    for level in ("census", "index", "data"):
        is_found = LEVELS.index(level) >= LEVELS.index(first)
        damaged = found(verify_store(root, level=level))
        assert ((kind, "run_1", key) in damaged) == is_found
        assert {key.startswith(ARRAY) for _, _, key in damaged if key is not None} == ({True} if is_found else set())


def test_damaged_chunks_of_a_shard_are_one_finding_that_names_them(root: Path) -> None:
    starts = [start for start, _ in entries_of((root / SHARD).read_bytes())]
    for start in starts[:3]:
        flip(SHARD, start + 20)(root)
    flip(LAST_SHARD, 20)(root)
    first, last = verify_store(root).having("damage")
    assert (first.object, last.object) == (SHARD, LAST_SHARD)
    assert first.explanation == "3 chunks are damaged (4, 5, 6), the first: its checksum does not match its bytes"
    assert last.explanation == "chunk 32 is damaged: its checksum does not match its bytes"
    assert (first.sample_id, first.field) == ("run_1", "volume_velocity")


def test_a_chunk_index_that_differs_from_the_shards_is_found(root: Path) -> None:
    write_chunk_index(root)
    assert verify_store(root).findings == ()
    other = write_runs(root.parent / "other", "run_1", chunk_points=CHUNK_POINTS, shard_points=2048, shuffle_seed=5)
    shutil.copytree(other / ARRAY / "c", root / ARRAY / "c", dirs_exist_ok=True)
    kinds = {one.kind for one in verify_store(root, level="index").having("damage")}
    assert "chunk_index_damaged" in kinds


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_the_report_does_not_depend_on_the_number_of_threads(root: Path, workers: int) -> None:
    for key in (SHARD, LAST_SHARD, f"{ARRAY}/zarr.json"):
        flip(key)(root)

    def essence(report: VerifyReport) -> tuple[object, ...]:
        return report.findings, report.limits, report.n_samples, report.n_objects, report.n_bytes

    assert essence(verify_store(root, workers=workers)) == essence(verify_store(root, workers=3))


def test_progress_has_the_read_and_total_bytes(intact: Path) -> None:
    told: list[tuple[int, int]] = []
    report = verify_store(intact, workers=2, progress=lambda done, total: told.append((done, total)))
    total = sum(path.stat().st_size for path in intact.glob("**/c/*/0"))
    assert {of for _, of in told} == {total}
    assert told == sorted(told)
    assert told[-1] == (total, total)
    assert len(told) > 10
    assert report.n_bytes == total - 9 * 5 * INDEX_BYTES - 5 * 1 * INDEX_BYTES


def write_values(root: Path, values: Any, **settings: Any) -> Path:
    n_points = len(values)
    positions = np.zeros((n_points, 3), "f4")
    writer = ZarrStoreWriter(root, FileMap(volume_position="x", volume_pressure="p"), "own", **settings)
    writer.write_sample("run_1", {"volume_position": positions, "volume_pressure": values})
    writer.save_manifest()
    return root


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_non_finite_values_are_sound_only_if_allowed(tmp_path: Path, dtype: str, hole: float) -> None:
    values = np.linspace(0, 9, 1000)
    allowed = write_values(
        tmp_path / "allowed", np.where(values < 3, hole, values), non_finite="allow", values_dtype=dtype
    )
    assert verify_store(allowed).findings == ()
    promised = write_values(tmp_path / "promised", values, values_dtype=dtype)
    shutil.copytree(
        allowed / "run_1.zarr/volume/pressure/c", promised / "run_1.zarr/volume/pressure/c", dirs_exist_ok=True
    )
    [finding] = verify_store(promised).findings
    assert (finding.kind, finding.field) == ("not_finite", "volume_pressure")
    assert finding.explanation == "expected 0 NaN or infinite values, as when the sample was written, got 333"


def test_non_finite_values_are_not_counted_in_damaged_arrays(tmp_path: Path) -> None:
    values = np.where(np.arange(1000) % 2, np.nan, 1.0)
    root = write_values(tmp_path / "store", values, non_finite="allow", chunk_points=100)
    flip("run_1.zarr/volume/pressure/c/0/0", 20)(root)
    assert [one.kind for one in verify_store(root).findings] == ["chunk_damaged"]


def test_attributes_missing_in_an_own_manifest_are_found(tmp_path: Path) -> None:
    root = write_values(tmp_path / "store", np.zeros(10))
    writer = ZarrStoreWriter(root, FileMap(volume_position="x", volume_pressure="p"), "own")
    fields = {"volume_position": np.zeros((10, 3), "f4"), "volume_pressure": np.zeros(10)}
    writer.write_group("run_1", fields, attributes={"angle": 7})
    [finding] = verify_store(root).findings
    assert (finding.kind, finding.explanation) == (
        "entry_differs",
        "the group disagrees with the manifest on attributes",
    )


def test_memory_holds_a_few_chunks_and_not_a_field(tmp_path: Path) -> None:
    root = write_values(tmp_path / "store", np.linspace(0, 1, 1_500_000), shard_points=400_000, coords_dtype="float64")
    verify_store(root, workers=1)
    tracemalloc.start()
    try:
        assert verify_store(root, workers=1).is_sound
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The positions have 36 MB.
    assert peak < 6_000_000


class BrokenDisk(LocalFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """A disk with an unreadable block."""

    protocol = "brokendisk"
    cachable = False

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        if path.endswith(SHARD) and start == 0:
            raise OSError(errno.EIO, "Input/output error")
        if path.endswith(LAST_SHARD) and start == 0:
            raise OSError(errno.ECONNRESET, "Connection reset by peer")
        data: bytes = super().cat_file(path, start=start, end=end, **kwargs)
        return data


fsspec.register_implementation("brokendisk", BrokenDisk, clobber=True)


def test_an_unreadable_disk_block_is_damage(root: Path) -> None:
    """A lost connection is not damage."""
    (root / LAST_SHARD).rename(root / "last")
    [shard, *_] = verify_store(f"brokendisk://{root}", level="data").having("damage")
    assert (shard.kind, shard.object) == ("chunk_damaged", SHARD)
    assert "the disk cannot read the data" in shard.explanation
    (root / "last").rename(root / LAST_SHARD)
    with pytest.raises(StorageError, match="Connection reset by peer"):
        verify_store(f"brokendisk://{root}", level="data")


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        pytest.param({"level": "deep"}, "level: expected one of census, index, data, source, got 'deep'", id="level"),
        pytest.param(
            {"level": "source"}, "source: expected a source with the level 'source', and none", id="no source"
        ),
        pytest.param({"workers": 0}, "workers: expected a whole number of at least 1, got 0", id="workers"),
        pytest.param({"sample_ids": "run_1"}, "sample_ids: expected a list of ids", id="a str"),
    ],
)
def test_invalid_parameters_are_refused_before_any_read(intact: Path, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{message}"):
        verify_store(intact, **kwargs)
