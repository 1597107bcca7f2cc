"""Open mesh files whose arrays are read lazily by this library, without VTK."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from noether.data.zarr_store.errors import WholeFileWarning
from noether.data.zarr_store.sources.byte_source import MAX_OPEN_FILES, ByteSource, local_bytes
from noether.data.zarr_store.sources.ensight_files import files_of_case
from noether.data.zarr_store.sources.ensight_gold import GoldMesh
from noether.data.zarr_store.sources.mapping import Association
from noether.data.zarr_store.sources.mesh_part import MeshPart
from noether.data.zarr_store.sources.referenced_files import PIECED_SUFFIXES, names_in
from noether.data.zarr_store.sources.steps import Step, Steps
from noether.data.zarr_store.sources.streamed_errors import NotStreamedError
from noether.data.zarr_store.sources.suffixes import suffix_of
from noether.data.zarr_store.sources.vtk_heads import HEAD_SUFFIXES
from noether.data.zarr_store.sources.vtk_xml import StreamedMesh

__all__ = ["StreamedFile", "open_streamed", "warn_if_large"]

_SURFACES = (".vtp", ".pvtp")
_LARGE_BYTES = 256 << 20


class StreamedFile(Protocol):
    """An open mesh file, whose arrays are read lazily."""

    names: dict[Association, list[str]]
    """Names of arrays by association."""

    steps: Steps
    """Time steps of the file."""

    step: int | None
    """Number of the step that is read. None if the file has no steps, or if they have no numbers."""

    def read(self, wanted: Mapping[Association, Collection[str]]) -> Sequence[MeshPart]:
        """Open the `wanted` arrays, given by association, of each part of the mesh.

        Raises
        ------
        NotStreamedError
            Only VTK's reader supports one of the arrays.
        SourceError
            An array is damaged.
        """


def open_streamed(
    path: Path, where: str, way_out: str, source: ByteSource | None = None, step: Step = None
) -> StreamedFile:
    """Open a mesh file: read its header and the offsets of its arrays.

    Parameters
    ----------
    path : Path
        Path of the file. The suffix determines the format.
    where : str
        Sample and file; errors begin with it.
    way_out : str
        Remedy for a file that cannot be read; errors end with it.
    source : ByteSource, optional
        Bytes of a file that is not one local file.
    step : int, "last" or None
        Time step to read from a case. None reads the last step.

    Raises
    ------
    NotStreamedError
        Only VTK's reader supports the file.
    SourceError
        A case is damaged, or lacks a file or the step.
    """
    suffix, summary = suffix_of(path), None
    if suffix == ".case":
        return GoldMesh(path, where, way_out, step)
    if suffix in HEAD_SUFFIXES:
        files = [source or local_bytes([path])]
    elif suffix in PIECED_SUFFIXES:
        names = names_in(path.name, path.read_text(encoding="utf-8", errors="replace"))
        pieces = [path.parent / name for name in names]
        if not all(piece.is_file() for piece in pieces):
            raise NotStreamedError("a piece is missing")
        if len(pieces) > MAX_OPEN_FILES:
            raise NotStreamedError(f"its {len(pieces):,} pieces exceed the limit of {MAX_OPEN_FILES} open files")
        files, summary = [local_bytes([piece]) for piece in pieces], local_bytes([path])
    else:
        raise NotStreamedError(f"{suffix} files are read whole")
    mesh = StreamedMesh(files, path.stem, where, way_out, summary)
    if mesh.is_surface != (suffix in _SURFACES):
        raise NotStreamedError("its suffix does not match its kind of mesh")
    return mesh


def warn_if_large(path: Path, shown: str, reason: NotStreamedError) -> None:
    """Warn if a file that `open_streamed` refused is large: VTK reads the whole file into memory.

    Parameters
    ----------
    path : Path
        Path of the file.
    shown : str
        Name of the file in the warning. With the same name for all samples, the warning appears once.
    reason : NotStreamedError
        Reason for the refusal.
    """
    suffix, files = suffix_of(path), [path]
    if suffix in PIECED_SUFFIXES:
        files = [path.parent / name for name in names_in(path.name, path.read_text("utf-8", "replace"))]
    elif suffix == ".case":
        files = files_of_case(path)
    elif suffix not in HEAD_SUFFIXES:
        return
    if sum(file.stat().st_size for file in files if file.is_file()) > _LARGE_BYTES:
        warnings.warn(
            f"{shown}: VTK reads the whole file into memory, because {reason}; use --dry-run to see how much memory "
            "that takes, or change the file so that this reason does not apply",
            WholeFileWarning,
            stacklevel=2,
        )
