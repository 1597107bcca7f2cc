"""docs/api.md lists what other code may import."""

from __future__ import annotations

import importlib
import re

import pytest

from noether.data import zarr_store
from support.repository import ROOT

SECTIONS = re.split(r"^## ", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
LISTED = {
    section.partition("`")[2].partition("`")[0]: re.findall(r"^\| `(\w+)` \| \S", section, flags=re.MULTILINE)
    for section in SECTIONS
}


def test_the_supported_modules_are_these() -> None:
    package = "noether.data.zarr_store"
    wings = ["writer", "reader", "manifest", "layout", "stores", "statistics", "convert", "convert.executors"]
    wings += [
        "datasets",
        "datasets.transforms",
        "export",
        "plotting",
        "sources",
        "sources.presets",
        "sources.inspection",
    ]
    wings += ["upkeep", "upkeep.verify", "upkeep.repair", "errors"]
    assert list(LISTED) == ["noether.data.schemas", package, *(f"{package}.{wing}" for wing in wings)]


@pytest.mark.parametrize("module", LISTED)
def test_every_listed_name_can_be_imported_from_its_module(module: str) -> None:
    imported = importlib.import_module(module)
    assert LISTED[module]
    assert [name for name in LISTED[module] if not hasattr(imported, name)] == []
    assert set(LISTED[module]) <= set(imported.__all__)


def test_every_name_of_the_package_itself_is_listed() -> None:
    assert sorted(LISTED["noether.data.zarr_store"]) == sorted(zarr_store.__all__)


def test_every_error_is_listed() -> None:
    from noether.data.zarr_store import errors

    kinds = {name for name in errors.__all__ if isinstance(getattr(errors, name), type)}
    assert set(LISTED["noether.data.zarr_store.errors"]) == kinds
