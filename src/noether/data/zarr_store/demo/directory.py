"""The demo directory: copies of the bundled simulations, and the store that is converted from them."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from noether.data.zarr_store.convert import ReportFile, convert, open_writer
from noether.data.zarr_store.errors import ArgumentError, StorageError
from noether.data.zarr_store.manifest import read_split_files, save_splits
from noether.data.zarr_store.sources import TreeSource, field_attributes_of
from noether.data.zarr_store.sources.presets import find_preset
from noether.data.zarr_store.stores import is_remote, normalize_root, staged_name

__all__ = ["CHUNK_POINTS", "MESHES", "SIMULATIONS", "Demo", "write_demo"]

SIMULATIONS = Path(__file__).parent / "simulations"
"""Six runs as arrays, with the splits ``train.txt`` and ``test.txt``, and a README."""
MESHES = Path(__file__).parent / "vtk"
"""Two of the runs as VTK files of OpenFOAM."""
CHUNK_POINTS = 256
"""Points of a chunk. The meshes are small (2,000 faces, 18,000 cells), so the chunks are small too."""

_SPLITS = ("train", "test")


@dataclass(frozen=True, slots=True)
class Demo:
    """A demo directory.

    Attributes
    ----------
    simulations, vtk, store : Path
        The directories of the arrays, of the VTK files and of the store.
    n_samples : int
        Number of samples in the store.
    stored_bytes : int
        Bytes of their groups.
    """

    simulations: Path
    vtk: Path
    store: Path
    n_samples: int
    stored_bytes: int


def write_demo(directory: str | os.PathLike[str]) -> Demo:
    """Copy the bundled simulations into a directory, and convert them to a store there.

    All files are staged under a hidden name and then renamed. An error or an interruption leaves nothing behind. A kill
    can leave the hidden directory.

    Parameters
    ----------
    directory : str or path
        A local directory that is new or empty. Paths of the result begin with it, unless it is a ``file://`` URL.

    Raises
    ------
    ArgumentError
        The directory is a URL or a file, or it is not empty.
    StorageError
        The directory cannot be written.
    """
    try:
        target = _new_or_empty(directory)
        exists = target.is_dir()
        with ExitStack() as undo:
            if not exists:
                _make_parents(target, undo)
            stage = (target if exists else target.parent) / staged_name(target.name)
            stage.mkdir()
            undo.callback(shutil.rmtree, stage, ignore_errors=True)
            n_samples, stored_bytes = _write(stage, target)
            if exists:  # a shell or a mount can hold on to it, so that it cannot be replaced
                for entry in sorted(stage.iterdir()):
                    undo.callback(shutil.rmtree, entry.rename(target / entry.name), ignore_errors=True)
                stage.rmdir()
            else:
                stage.rename(target)
            undo.pop_all()
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{directory}: cannot be written ({error.strerror}); name another directory") from error
    named = target if "://" in str(directory) else Path(directory)
    return Demo(named / "simulations", named / "vtk", named / "store", n_samples, stored_bytes)


def _make_parents(target: Path, undo: ExitStack) -> None:
    """Make the missing directories above a path; `undo` removes those that are still empty."""
    for parent in reversed(target.parents):
        if not parent.exists():
            parent.mkdir(exist_ok=True)
            undo.callback(_remove_empty, parent)


def _remove_empty(directory: Path) -> None:
    with suppress(OSError):
        directory.rmdir()


def _new_or_empty(directory: str | os.PathLike[str]) -> Path:
    if is_remote(directory):
        raise ArgumentError(f"DIRECTORY: expected a local directory, got the URL {directory}; name a local directory")
    target = Path(normalize_root(directory))
    if target.is_dir() and not any(target.iterdir()):
        return target
    if target.exists() or target.is_symlink():
        raise ArgumentError(f"{directory}: it exists and is not an empty directory; name another directory")
    return target


def _write(root: Path, target: Path) -> tuple[int, int]:
    """Write the content of a demo directory that is renamed to `target` later.

    Return the number of samples and their stored bytes.
    """
    simulations, store = root / "simulations", root / "store"
    _copy(SIMULATIONS, simulations)
    _copy(MESHES, root / "vtk")
    preset = find_preset("ahmedml")
    source = TreeSource(simulations, preset.filemap, preset.optional, field_attributes=preset.field_attributes)
    writer = open_writer(
        store, source.filemap, preset.name, chunk_points=CHUNK_POINTS, field_attributes=field_attributes_of(source)
    )
    report = convert(source, writer)
    for failed in report.having("failed"):
        raise StorageError(f"the demo cannot be written: {failed.reason}; name another directory")
    splits, _ = read_split_files({name: simulations / f"{name}.txt" for name in _SPLITS}, source.sample_ids())
    save_splits(store, splits)
    [run] = ReportFile.load(str(store)).runs
    settings = run.settings | {"store_root": str(target / store.name)}
    ReportFile.add(str(store), run.model_copy(update={"settings": settings}), [])
    return len(report.results), sum(result.stored_bytes for result in report.results)


def _copy(source: Path, destination: Path) -> None:
    """Copy the files of a tree with permissions of new files: those of an installed package can forbid to write."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            copied = destination / path.relative_to(source)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copied)
