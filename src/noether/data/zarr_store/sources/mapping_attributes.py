"""Attributes in a mapping: a value, a file per sample, or a table of many samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Discriminator, JsonValue, StringConstraints, Tag

from noether.data.zarr_store.sources.mapping_fields import MappingModel, Pattern
from noether.data.zarr_store.sources.patterns import PathPattern

__all__ = ["AttributeFile", "AttributeMapping", "AttributeTable", "check_attribute_file", "shown"]


class AttributeFile(MappingModel):
    """An attribute that each sample has in its own file: ``.npy``, ``.npz``, ``.pt``, ``.json``, ``.csv``, ``.tsv``."""

    file: Pattern


class AttributeTable(AttributeFile):
    """An attribute in a table with one row per sample: ``.csv``, ``.tsv``.

    Attributes
    ----------
    file : str
        Pattern of the table, which can lack placeholders of the id.
    id : str
        Name of the column that holds the sample ids or, if `file` lacks exactly one placeholder, the values of
        that placeholder.
    """

    id: Annotated[str, StringConstraints(min_length=1)]


def _kind_of_attribute(value: Any) -> str:
    if isinstance(value, AttributeFile):
        value = value.model_dump()
    if not isinstance(value, dict) or "file" not in value:
        return "value"
    return "table" if "id" in value else "file"


AttributeMapping = Annotated[
    Annotated[AttributeFile, Tag("file")]
    | Annotated[AttributeTable, Tag("table")]
    | Annotated[JsonValue, Tag("value")],
    Discriminator(_kind_of_attribute),
]


def check_attribute_file(name: str, attribute: AttributeFile, of_id: Sequence[str], of_files: Sequence[str]) -> None:
    """Check the placeholders of an attribute's file.

    `of_id` are the placeholders of the id. `of_files` are the placeholders of a file that holds all time steps: the
    same, but without ``{step}``.
    """
    names, is_table = set(PathPattern.parse(attribute.file).names), isinstance(attribute, AttributeTable)
    has_fewer = names < set(of_id)
    if names in (set(of_id), set(of_files)) or (is_table and has_fewer):
        return
    hint = f"; for a table of all samples, name the column of the ids: {{ file = {attribute.file!r}, id = COLUMN }}"
    raise ValueError(
        f"attribute {name!r}: file {attribute.file!r}: expected the placeholders of the id: {shown(of_id)}"
        f"{hint if has_fewer else ''}"
    )


def shown(placeholders: Sequence[str]) -> str:
    """Return placeholders as a mapping writes them."""
    return ", ".join(f"{{{name}}}" for name in placeholders) or "none"
