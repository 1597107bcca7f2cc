"""What is imported before it is needed: nothing that takes long."""

from __future__ import annotations

import subprocess
import sys

import pytest

from noether.data import zarr_store
from noether.data.zarr_store.cli import load_command
from noether.data.zarr_store.cli.app import COMMANDS

HEAVY = ["numpy", "zarr", "pydantic", "obstore", "fsspec", "torch", "pyvista", "h5py", "distributed", "matplotlib"]


def heavy_after(code: str, *heavy: str) -> str:
    """Run code in a process of its own; return which heavy libraries it imported, or how it failed."""
    report = f"import sys\n{code}\nprint([name for name in {[*HEAVY, *heavy]} if name in sys.modules], file=sys.stderr)"
    return subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=False).stderr.strip()


def test_the_package_imports_no_library_until_a_name_is_used() -> None:
    assert heavy_after("import noether.data.zarr_store", "typer", "rich") == "[]"


def test_the_schemas_import_pydantic_and_nothing_of_the_store() -> None:
    assert heavy_after("import noether.data.schemas", "noether.data.zarr_store") == "['pydantic']"


def test_help_of_the_command_imports_no_library_but_typer() -> None:
    call = """
sys.argv = ["noether-zarr", "--help"]
from noether.data.zarr_store.cli import main
try:
    main()
except SystemExit as ended:
    assert ended.code == 0
"""
    assert heavy_after(call, "rich") == "[]"


def test_every_exported_name_of_the_package_is_there_and_an_unknown_one_is_not() -> None:
    assert [name for name in zarr_store.__all__ if not hasattr(zarr_store, name)] == []
    assert set(zarr_store.__all__) <= set(dir(zarr_store))
    with pytest.raises(AttributeError, match="no attribute 'Writer'"):
        _ = zarr_store.Writer


@pytest.mark.parametrize("name", COMMANDS)
def test_every_listed_command_can_be_loaded_and_has_that_name(name: str) -> None:
    assert load_command(name).name == name


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("convert", "Convert a source into a store."),
        pytest.param("statistics", "Compute statistics of fields.", marks=pytest.mark.slow),
    ],
)
def test_python_m_runs_the_command(module: str, command: str) -> None:
    call = [sys.executable, "-m", f"noether.data.zarr_store.{module}", "--help"]
    shown = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    assert shown.startswith(f"Usage: python -m noether.data.zarr_store.{module} [OPTIONS]")
    assert command in shown
