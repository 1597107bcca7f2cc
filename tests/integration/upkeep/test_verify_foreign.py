"""Stores of other programs are sound if they can be read, and the report names the limits of the check."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.codec.shard_index import MISSING
from noether.data.zarr_store.core.document_checksum import CHECKSUM_KEY
from noether.data.zarr_store.errors import CorruptDataError
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.upkeep.repair import repair_store
from noether.data.zarr_store.upkeep.verify import verify_store
from support.damage import flip, found, remove
from support.foreign_stores import CODECS, write_foreign
from support.reading import write_runs
from support.shards import forge_index

SURFACE = "run_1.zarr/surface"


@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part:UserWarning")
@pytest.mark.parametrize("consolidated", [False, True], ids=["plain", "consolidated"])
@pytest.mark.parametrize("codecs", CODECS)
def test_a_minimal_store_is_sound_with_limits(tmp_path: Path, codecs: str, consolidated: bool) -> None:
    """The report names the damage that cannot be found in such a store."""
    root = write_foreign(tmp_path / "store", CODECS[codecs], consolidated=consolidated)
    for level in ("census", "index", "data"):
        assert verify_store(root, level=level).findings == ()
    report = verify_store(root)
    assert any(limit.startswith("manifest.json carries no checksum") for limit in report.limits)
    assert any("the metadata carry no checksum" in limit for limit in report.limits)
    assert any("read by zarr-python" in limit for limit in report.limits) == (codecs in ("other codecs", "no shards"))
    assert any("the chunks carry no checksum" in limit for limit in report.limits) == (codecs == "no checksums")


@pytest.mark.parametrize("codecs", ["as we write it", "no shards"])
def test_missing_shards_are_fill_values(tmp_path: Path, codecs: str) -> None:
    root = write_foreign(tmp_path / "store", CODECS[codecs], holes=True)
    assert verify_store(root).findings == ()


@pytest.mark.filterwarnings("ignore:.*disables partial reads:UserWarning")
@pytest.mark.parametrize(
    ("codecs", "key", "kind", "named"),
    [
        pytest.param("as we write it", f"{SURFACE}/position/c/0/0", "chunk_damaged", None, id="our codecs"),
        pytest.param("other codecs", f"{SURFACE}/position/c/0/0", "chunk_damaged", f"{SURFACE}/position", id="others"),
        pytest.param("no shards", f"{SURFACE}/position/c/1/0", "chunk_damaged", f"{SURFACE}/position", id="no shards"),
    ],
)
def test_damage_that_a_reader_would_notice_is_found(
    tmp_path: Path, codecs: str, key: str, kind: str, named: str | None
) -> None:
    root = write_foreign(tmp_path / "store", CODECS[codecs])
    flip(key, 60)(root)
    assert found(verify_store(root)) == {(kind, "run_1", named or key)}
    with pytest.raises(CorruptDataError):
        ZarrChunkReader(root).read_arrays("run_1")


@pytest.mark.parametrize(
    ("key", "kind", "named"),
    [
        ("run_1.zarr", "missing_group", "run_1.zarr"),
        ("run_1.zarr/zarr.json", "half_written_group", "run_1.zarr"),
        (f"{SURFACE}/pressure", "missing_array", f"{SURFACE}/pressure"),
    ],
)
def test_removed_objects_are_found(tmp_path: Path, key: str, kind: str, named: str) -> None:
    root = write_foreign(tmp_path / "store", CODECS["as we write it"])
    remove(key)(root)
    assert found(verify_store(root)) == {(kind, "run_1", named)}


@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part:UserWarning")
def test_metadata_that_differ_from_their_copies_are_found(tmp_path: Path) -> None:
    root = write_foreign(tmp_path / "store", CODECS["as we write it"], consolidated=True)
    file = root / SURFACE / "pressure" / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text())))  # other formatting of the JSON, which is not damage
    assert verify_store(root).findings == ()
    file.write_text(file.read_text().replace("2041", "2042"))
    assert found(verify_store(root)) == {("metadata_damaged", "run_1", f"{SURFACE}/pressure/zarr.json")}


def test_a_chunk_index_with_a_hash_of_another_kind_is_compared_with_the_shards(tmp_path: Path) -> None:
    root, other = write_foreign(tmp_path / "store", CODECS["no checksums"]), "sample_index-0f.npy"
    name = write_chunk_index(root)
    manifest = json.loads((root / "manifest.json").read_text())
    del manifest[CHECKSUM_KEY]
    (root / "manifest.json").write_text(json.dumps(manifest | {"sample_index": other}))
    (root / name).rename(root / other)
    assert verify_store(root).findings == ()
    flip(other, -1)(root)
    assert {kind for kind, _, _ in found(verify_store(root))} == {"chunk_index_damaged"}


def test_a_manifest_of_another_program_over_our_groups_is_sound(tmp_path: Path) -> None:
    root = write_runs(tmp_path / "store", "run_1")
    manifest = json.loads((root / "manifest.json").read_text())
    for key in ("shuffle_algorithm", "checksum", "splits", "chunk_index", "copied_from", CHECKSUM_KEY):
        manifest.pop(key, None)
    for entry in manifest["samples"].values():
        for key in entry.keys() - {"relpath", "domains"}:
            del entry[key]
    (root / "manifest.json").write_text(json.dumps(manifest))
    report = verify_store(root)
    assert report.findings == ()
    shard = root / "run_1.zarr/volume/velocity/c/0/0"
    data, index_bytes = shard.read_bytes(), 5 * 16 + 4
    numbers = struct.unpack("<10Q", data[-index_bytes:-4])
    entries = list(zip(numbers[::2], numbers[1::2], strict=True))
    # In a group of this library, a chunk that is not stored is lost.
    shard.write_bytes(data[:-index_bytes] + forge_index([(MISSING, MISSING), *entries[1:]]))
    assert {kind for kind, _, _ in found(verify_store(root))} == {"shard_index_damaged"}


def test_a_repair_removes_nothing_of_another_program(tmp_path: Path) -> None:
    """Missing data of the store stay missing."""
    root = write_foreign(tmp_path / "store", CODECS["as we write it"])
    remove(f"{SURFACE}/pressure/zarr.json")(root)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    report = repair_store(root)
    assert (report.actions, report.is_sound) == ((), False)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
