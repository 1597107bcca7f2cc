"""Parsing of ``zarr.json`` documents, as far as reading needs them. Their content is checked before use. Pure."""

from __future__ import annotations

from typing import Any

from noether.data.zarr_store.core import parse_document
from noether.data.zarr_store.errors import CorruptDataError

__all__ = ["Metadata", "parse_array", "parse_group", "require_array"]

Metadata = dict[str, Any]


def parse_group(document: bytes, where: str) -> Metadata | None:
    """Return the metadata of all nodes of a group by path, from its root ``zarr.json``.

    Parameters
    ----------
    document : bytes
        The JSON text.
    where : str
        Sample, with which error messages begin.

    Returns
    -------
    dict or None
        None if the root has no consolidated metadata; then the caller must read the ``zarr.json`` of each node.

    Raises
    ------
    CorruptDataError
        The document is not the ``zarr.json`` of a group.
    """
    parsed = _parse(document)
    if not isinstance(parsed, dict) or parsed.get("node_type") != "group" or parsed.get("zarr_format") != 3:
        raise CorruptDataError(f"{where}: the metadata of its group cannot be read; convert the sample again")
    consolidated = parsed.get("consolidated_metadata")
    nodes = consolidated.get("metadata") if isinstance(consolidated, dict) else None
    return nodes if isinstance(nodes, dict) else None


def parse_array(document: bytes, where: str) -> Metadata:
    """Return the metadata of an array from its own ``zarr.json``; raise `CorruptDataError` if it is malformed."""
    parsed = _parse(document)
    if not isinstance(parsed, dict):
        raise CorruptDataError(f"{where}: its metadata cannot be read; convert the sample again")
    return parsed


def require_array(metadata: Any, shape: tuple[int, int], where: str) -> Metadata:
    """Return the metadata of a node; raise `CorruptDataError` unless the node is an array of shape `shape`."""
    is_array = isinstance(metadata, dict) and metadata.get("node_type") == "array"
    if is_array and metadata.get("shape") == list(shape):
        # zarr-python, as of 3.4, accepts a chunk size of 0, uses another size, and returns fill values.
        if not _has_whole_sizes(metadata.get("chunk_grid")):
            raise CorruptDataError(f"{where}: expected chunk and shard sizes of at least 1; convert the sample again")
        return dict(metadata)
    found = f"an array of shape {metadata.get('shape')}" if is_array else "a group"
    raise CorruptDataError(
        f"{where}: expected an array of shape {shape}, as in the manifest, got {found}; convert the sample again"
    )


def _has_whole_sizes(chunk_grid: Any) -> bool:
    try:
        if chunk_grid["name"] != "regular":  # zarr-python checks the other kinds
            return True
        return all(type(size) is int and size > 0 for size in chunk_grid["configuration"]["chunk_shape"])
    except (LookupError, TypeError):
        return False


def _parse(document: bytes) -> Any:
    try:
        return parse_document(document, finite=False)
    except ValueError:
        return None
