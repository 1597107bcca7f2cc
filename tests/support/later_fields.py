"""Small stores whose samples get fields later, and stores that have all fields from the beginning."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from noether.data.schemas import FileMap
from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.reading import write_chunk_index
from support.ahmed import Arrays

__all__ = ["ADDED", "BASE", "IDS", "MORE", "fields_of", "open_writer", "parsed", "sample_of", "write"]

BASE = FileMap(surface_position="p", surface_pressure="c", volume_position="vp", volume_velocity="vv")
MORE = BASE.model_copy(update={"surface_friction": "f", "volume_pressure": "pressure"})
ADDED = ("surface_friction", "volume_pressure")
IDS = ("part/run_1", "run_2", "run_3")

_WIDTHS = {
    "surface_position": 3,
    "surface_pressure": 1,
    "surface_friction": 3,
    "volume_position": 3,
    "volume_pressure": 1,
    "volume_velocity": 3,
}


def sample_of(sample_id: str) -> Arrays:
    """Return all fields of a sample; the values depend only on its id. ``run_3`` has no volume."""
    rng = np.random.default_rng(list(sample_id.encode()))
    sizes = {"surface": 150 + len(sample_id), "volume": 220}
    fields = {field: rng.random((sizes[field.split("_")[0]], width)) for field, width in _WIDTHS.items()}
    return {
        field: values.astype(np.float32)
        for field, values in fields.items()
        if sample_id != "run_3" or field.startswith("surface")
    }


def fields_of(sample_id: str, names: Iterable[str]) -> Arrays:
    """Return those of the named fields that a sample has."""
    return {field: values for field, values in sample_of(sample_id).items() if field in set(names)}


def open_writer(
    root: Path | str, filemap: FileMap = BASE, options: dict[str, Any] | None = None, **parameters: Any
) -> ZarrStoreWriter:
    settings: dict[str, Any] = {"chunk_points": 32, "shard_points": 64, "threads": 2} | parameters
    return ZarrStoreWriter(root, filemap, "ahmed", storage_options=options, **settings)


def write(
    root: Path | str,
    filemap: FileMap = BASE,
    ids: Iterable[str] = IDS,
    options: dict[str, Any] | None = None,
    **parameters: Any,
) -> None:
    """Write a store with a chunk index."""
    writer = open_writer(root, filemap, options, **parameters)
    known = {field for layout in writer.layouts.values() for field in layout.arrays}
    for sample_id in ids:
        writer.write_sample(sample_id, fields_of(sample_id, known), attributes={"id": sample_id})
    writer.save_manifest()
    write_chunk_index(root, storage_options=options)


def parsed(document: bytes) -> dict[str, Any]:
    """Return a root or manifest without its checksum, and without the record that fields were added later.

    Domains that a sample does not have are removed from its group: fields that are added to them do not change it.
    """
    content: dict[str, Any] = json.loads(document)
    content.pop("crc32c", None)
    attributes = content.get("attributes", {})
    attributes.pop("crc32c", None)
    for entry in attributes.get("manifest", {}).get("samples", {}).values():
        domains = attributes["manifest"]["domains"]
        attributes["manifest"]["domains"] = {name: one for name, one in domains.items() if name in entry["domains"]}
    for manifest in (content, attributes.get("manifest", {})):
        for entry in manifest.get("samples", {}).values():
            entry.pop("added_fields", None)
    return content
