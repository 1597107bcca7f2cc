"""Mappings in the documentation."""

from __future__ import annotations

import re

import pytest

from noether.data.zarr_store.layout import build_domain_layouts
from noether.data.zarr_store.sources.mapping_files import parse_mapping, shipped_mappings
from support.repository import ROOT

DOCUMENTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("docs/convert.md", "docs/sources.md")}
SHOWN = [
    pytest.param(text, id=f"{name} {number}")
    for name, document in DOCUMENTS.items()
    for number, text in enumerate(re.findall(r"```toml\n(.*?)```", document, re.DOTALL), start=1)
]


@pytest.mark.parametrize("text", SHOWN)
def test_documented_mappings_are_valid(text: str) -> None:
    assert build_domain_layouts(parse_mapping(text, "documentation").filemap())


def test_every_document_has_a_mapping() -> None:
    assert all("```toml" in document for document in DOCUMENTS.values())


def test_the_mappings_that_come_with_the_library_are_listed() -> None:
    listed = re.findall(r"^\| `([a-z-]+-(?:raw|vtk|ensight))` \|", DOCUMENTS["docs/sources.md"], re.MULTILINE)
    assert sorted(listed) == sorted(shipped_mappings())
