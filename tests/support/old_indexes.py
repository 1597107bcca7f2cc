"""The chunk index of earlier releases: the lengths in the order of the manifest, without sample ids."""

from __future__ import annotations

import hashlib
import json
from io import BytesIO
from pathlib import Path

import numpy as np

from noether.data.zarr_store import StoreManifest
from noether.data.zarr_store.reading import write_chunk_index
from noether.data.zarr_store.reading.chunk_index import open_chunk_index
from noether.data.zarr_store.stores import open_storage

__all__ = ["write_index_in_order"]


def write_index_in_order(root: Path) -> str:
    """Write a chunk index in the old format for a local store, and remove the keys of the new format."""
    new = write_chunk_index(root)
    manifest = StoreManifest.load(str(root))
    index = open_chunk_index(open_storage(str(root)), manifest)
    assert index is not None
    words = [index.words_of(sample_id) for sample_id in manifest.samples]
    starts = np.cumsum([0, *(len(one) for one in words if one is not None)]).astype("<u8")
    file = BytesIO()
    np.save(file, np.concatenate([starts.view("<u4"), *(one for one in words if one is not None)]))
    name = f"chunk_index-{hashlib.sha256(file.getvalue()).hexdigest()[:16]}.npy"
    (root / name).write_bytes(file.getvalue())
    (root / new).unlink()
    content = json.loads((root / "manifest.json").read_bytes())
    del content["sample_index"], content["crc32c"]
    for entry in content["samples"].values():
        del entry["lengths_crc32c"]
    without = StoreManifest.parse(json.dumps(content | {"chunk_index": name}).encode(), "manifest.json")
    (root / "manifest.json").write_bytes(without.to_json("manifest.json"))
    return name
