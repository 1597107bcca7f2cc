"""The checksums of the stored values of each field, which differ if a sample is written again with other values."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.errors import ManifestError
from noether.data.zarr_store.manifest import StoreManifest
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.upkeep.copying import copy_store
from noether.data.zarr_store.upkeep.repair import repair_store
from noether.data.zarr_store.upkeep.verify import verify_store
from support.reading import write_runs

SMALL = FileMap(surface_position="p", surface_pressure="c")


def checksums_of_files(root: Path, sample_id: str, *, n_crc_bytes: int = 4) -> dict[str, str]:
    """Return the checksums by their definition in the format, from the chunks in the shards on disk."""
    found = {}
    group = root / f"{sample_id}.zarr"
    for array in {shard.parents[2] for shard in group.glob("*/*/c/*/0")}:
        checksums = b""
        for shard in sorted(array.glob("c/*/0"), key=lambda shard: int(shard.parent.name)):
            for chunk in chunks_of(shard.read_bytes(), array):
                checksums += struct.pack("<I", google_crc32c.value(chunk[: len(chunk) - n_crc_bytes]))
        found[f"{array.parent.name}_{array.name}"] = f"{google_crc32c.value(checksums):08x}"
    return found


def chunks_of(shard: bytes, array: Path) -> list[bytes]:
    metadata = json.loads((array / "zarr.json").read_bytes())
    rows = metadata["codecs"][0]["configuration"]["chunk_shape"][0]
    n_chunks = metadata["chunk_grid"]["configuration"]["chunk_shape"][0] // rows
    index = struct.unpack(f"<{2 * n_chunks}Q", shard[-16 * n_chunks - 4 : -4])
    pairs = zip(index[::2], index[1::2], strict=True)
    return [shard[offset : offset + length] for offset, length in pairs if length < 2**63]


def entry_of_root(root: Path, sample_id: str) -> dict[str, Any]:
    document = json.loads((root / f"{sample_id}.zarr/zarr.json").read_bytes())
    entry: dict[str, Any] = document["attributes"]["manifest"]["samples"][sample_id]
    return entry


@pytest.fixture(scope="module", params=[None, 1024], ids=["one shard", "many shards"])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("content") / "store"
    return write_runs(directory, "run_1", "run_2", chunk_points=256, shard_points=request.param)


def test_manifest_and_root_have_the_checksum_of_the_chunks_of_each_field(root: Path) -> None:
    for sample_id in ("run_1", "run_2"):
        expected = checksums_of_files(root, sample_id)
        assert len(expected) > 4
        assert StoreManifest.load(str(root)).sample(sample_id).content_crc32c == expected
        assert entry_of_root(root, sample_id)["content_crc32c"] == expected


def test_samples_of_the_same_lengths_and_losses_have_other_checksums(tmp_path: Path) -> None:
    """Without compression and loss, the root has no other entry that depends on the values."""
    writer = ZarrStoreWriter(tmp_path, SMALL, "small", values_dtype="float32", compression_level=0)
    entries = []
    for value in (1.0, 2.0):
        fields = {"surface_position": np.zeros((10, 3), np.float32), "surface_pressure": np.full(10, value, np.float32)}
        entries.append(writer.write_group("s1", fields))
    one, other = (entry.content_crc32c for entry in entries)
    assert one["surface_position"] == other["surface_position"]
    assert one["surface_pressure"] != other["surface_pressure"]
    assert replace(entries[0], content_crc32c=other) == entries[1]


def test_content_checksum_is_independent_of_chunk_checksums(tmp_path: Path) -> None:
    for checksum in (True, False):
        root = write_runs(tmp_path / str(checksum), "run_1", chunk_points=256, checksum=checksum)
        expected = checksums_of_files(root, "run_1", n_crc_bytes=4 if checksum else 0)
        assert StoreManifest.load(str(root)).sample("run_1").content_crc32c == expected
    assert expected == checksums_of_files(tmp_path / "True", "run_1")


def test_whole_copy_keeps_content_checksums(root: Path, tmp_path: Path) -> None:
    """A copy of some points gets its own."""
    for name, fraction in (("whole", 1.0), ("part", 0.3)):
        copy = tmp_path / name
        for _ in range(2):  # the second time, all samples are there
            report = copy_store(str(root), str(copy), fraction=fraction)
            manifest = StoreManifest.load(str(copy))
            assert manifest.sample("run_1").content_crc32c == checksums_of_files(copy, "run_1")
        assert (report.copied, report.skipped) == (0, 2)
    assert checksums_of_files(tmp_path / "whole", "run_1") == checksums_of_files(root, "run_1")


def test_copy_of_other_content_is_made_again(tmp_path: Path) -> None:
    fields = {"surface_position": np.zeros((10, 3), np.float32), "surface_pressure": np.zeros(10, np.float32)}
    writer = ZarrStoreWriter(tmp_path / "store", SMALL, "small", values_dtype="float32", compression_level=0)
    for value in (1, 2):
        writer.write_sample("s1", {**fields, "surface_pressure": np.full(10, value, np.float32)})
        writer.save_manifest()
        assert copy_store(str(tmp_path / "store"), str(tmp_path / "copy")).copied == 1


def test_lost_root_is_restored_with_content_checksums(tmp_path: Path) -> None:
    root = write_runs(tmp_path / "store", "run_1", chunk_points=256)
    document = (root / "run_1.zarr/zarr.json").read_bytes()
    (root / "run_1.zarr/zarr.json").write_bytes(document.replace(b"content_crc32c", b"content_crc32d"))
    repair_store(root)
    assert (root / "run_1.zarr/zarr.json").read_bytes() == document
    assert verify_store(root).findings == ()


def test_old_entries_stay_without_content_checksums(tmp_path: Path) -> None:
    root = write_runs(tmp_path / "store", "run_1", "run_2", chunk_points=256)
    content = json.loads((root / "manifest.json").read_bytes())
    del content["samples"]["run_1"]["content_crc32c"], content["crc32c"]
    (root / "manifest.json").write_text(json.dumps(content))
    write_chunk_index(root)
    saved = json.loads((root / "manifest.json").read_bytes())["samples"]
    assert "content_crc32c" not in saved["run_1"]
    assert "content_crc32c" in saved["run_2"]
    assert verify_store(root).findings == ()


@pytest.mark.parametrize("digits", ["", "0123456", "0123456G", 5, None])
def test_malformed_digits_are_refused(digits: object) -> None:
    manifest = {
        "dataset_name": "d",
        "format_version": 1,
        "shuffle_seed": 0,
        "coords_dtype": "float32",
        "values_dtype": "float16",
        "compressor": "blosc-zstd-5",
        "domains": {},
        "samples": {"a": {"relpath": "a.zarr", "domains": {}, "content_crc32c": {"surface_position": digits}}},
    }
    with pytest.raises(ManifestError, match="content_crc32c"):
        StoreManifest.parse(json.dumps(manifest).encode(), "manifest.json")
