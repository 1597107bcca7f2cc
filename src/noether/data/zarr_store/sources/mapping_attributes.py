"""What a mapping says of an attribute of the samples: its value, its file, or a table of all samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Discriminator, JsonValue, StringConstraints, Tag

from noether.data.zarr_store.sources.mapping_fields import MappingModel, Pattern
from noether.data.zarr_store.sources.patterns import PathPattern

__all__ = ["AttributeFile", "AttributeMapping", "AttributeTable", "check_attribute_file", "shown"]


class AttributeFile(MappingModel):
    """An attribute of the samples that lies in a file of its own: ``.npy``, ``.pt``, ``.json``, ``.csv``, ``.tsv``."""

    file: Pattern


class AttributeTable(AttributeFile):
    """An attribute of the samples that lies in a table with a row for each: ``.csv``, ``.tsv``.

    Attributes
    ----------
    file : str
        The table; a pattern, which may lack placeholders of the id.
    id : str
        The column whose cells name the samples: by their ids, or by the value of the one placeholder that the file
        lacks.
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
    """Check the placeholders of an attribute's file; files that have all time steps lack that of the step."""
    names, is_table = set(PathPattern.parse(attribute.file).names), isinstance(attribute, AttributeTable)
    has_fewer = names < set(of_id)
    if names in (set(of_id), set(of_files)) or (is_table and has_fewer):
        return
    hint = f"; a table of all samples names the column of their ids: {{ file = {attribute.file!r}, id = COLUMN }}"
    raise ValueError(
        f"attribute {name!r}: file {attribute.file!r}: expected the placeholders of the id: {shown(of_id)}"
        f"{hint if has_fewer else ''}"
    )


def shown(placeholders: Sequence[str]) -> str:
    """Return placeholders as a mapping writes them."""
    return ", ".join(f"{{{name}}}" for name in placeholders) or "none"
