"""The package as it is installed: what it names, what importing it brings along, and what it needs."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from zipfile import ZipFile

import pytest

from noether.data import zarr_store
from support.ahmed import load_run
from support.reading import write_samples
from support.repository import ROOT

PACKAGE = Path(str(files(zarr_store)))


def run_python(code: str, *arguments: str, path: Path | None = None) -> str:
    """Run code in a process of its own, with warnings as errors, and return what it prints."""
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore:noether-zarr-store:RuntimeWarning", "-c", code, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_name_that_a_face_lists_is_there() -> None:
    """Ruff looks for these names in all modules but the ``__init__.py`` of packages."""
    packages = [".".join(face.relative_to(PACKAGE.parents[2]).parts[:-1]) for face in PACKAGE.rglob("__init__.py")]
    assert len(packages) > 10
    modules = [importlib.import_module(package) for package in packages]
    missing = [(module.__name__, name) for module in modules for name in module.__all__ if not hasattr(module, name)]
    assert not missing


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # what an import finds where PyTorch is not installed
from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.errors import MissingDependencyError

reader = ZarrChunkReader(sys.argv[1])
arrays = reader.read_arrays("run_1", {"volume": 9}, generator=1)
print(arrays["volume_velocity"].shape)
try:
    reader.read_arrays("run_1", generator=object())
except ValueError as error:
    print(type(error).__name__)
for read in (lambda: reader.read_sample("run_1"), lambda: reader.read_coords("run_1", "volume", 9)):
    try:
        read()
    except MissingDependencyError as error:
        print(isinstance(error, ImportError), error)
"""


def test_without_torch_arrays_are_read_and_tensors_say_how_to_install_it(tmp_path: Path) -> None:
    root = write_samples(tmp_path / "store", {"run_1": load_run("run_1")})
    message = (
        "True returning tensors needs torch, which is not installed; "
        "install it with: pip install 'noether-zarr-store[torch]'"
    )
    assert run_python(WITHOUT_TORCH, str(root)).splitlines() == ["(9, 3)", "ArgumentError", message, message]


DATASETS_WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
try:
    from noether.data.zarr_store.datasets import ZarrStoreDataset
except ImportError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
def test_without_torch_datasets_say_how_to_install_it() -> None:
    message = (
        "a PyTorch dataset needs torch, which is not installed; "
        "install it with: pip install 'noether-zarr-store[torch]'"
    )
    assert run_python(DATASETS_WITHOUT_TORCH) == f"MissingDependencyError {message}"


def test_noether_and_noether_data_are_namespaces_that_other_distributions_share() -> None:
    data = PACKAGE.parent
    assert not (data / "__init__.py").exists()
    assert not (data.parent / "__init__.py").exists()
    assert (PACKAGE / "__init__.py").exists()


@pytest.mark.slow
def test_another_distribution_of_the_namespace_is_imported_beside_it(tmp_path: Path) -> None:
    for module in ("other/mod.py", "data/loaders/__init__.py", "core.py"):
        file = tmp_path / "noether" / module
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("NAME = __name__")
    code = """
import noether.core, noether.data.loaders, noether.data.schemas, noether.data.zarr_store, noether.other.mod
print(noether.core.NAME, noether.data.loaders.NAME, noether.other.mod.NAME, noether.data.zarr_store.__name__)
"""
    expected = "noether.core noether.data.loaders noether.other.mod noether.data.zarr_store"
    assert run_python(code, path=tmp_path) == expected


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_the_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert version("noether-zarr-store") == zarr_store.__version__


@pytest.mark.slow
def test_a_wheel_carries_the_page_of_the_viewer(tmp_path: Path) -> None:
    """The files are those of the checkout, where they were built."""
    page = PACKAGE / "viewing" / "page"
    if not (page / "index.html").is_file():
        pytest.skip("the page of the viewer is not built: ./scripts/viewer")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True)
    [wheel] = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        prefix = "noether/data/zarr_store/viewing/page/"
        carried = {
            name.removeprefix(prefix): archive.read(name) for name in archive.namelist() if name.startswith(prefix)
        }
    built = {str(path.relative_to(page)): path.read_bytes() for path in page.rglob("*") if path.is_file()}
    assert len(built) > 3
    assert carried == built
