"""Files of meshes whose arrays are read as they are asked for, by this library alone."""

from __future__ import annotations

import warnings
from pathlib import Path

from noether.data.zarr_store.errors import WholeFileWarning
from noether.data.zarr_store.sources.referenced_files import PIECED_SUFFIXES, names_in
from noether.data.zarr_store.sources.suffixes import suffix_of
from noether.data.zarr_store.sources.vtk_heads import HEAD_SUFFIXES
from noether.data.zarr_store.sources.vtk_xml import (
    MAX_OPEN_FILES,
    ByteSource,
    NotStreamedError,
    StreamedMesh,
    local_bytes,
)

__all__ = ["open_streamed", "warn_if_large"]

_SURFACES = (".vtp", ".pvtp")
_LARGE_BYTES = 256 << 20


def open_streamed(path: Path, where: str, way_out: str, source: ByteSource | None = None) -> StreamedMesh:
    """Open a file of a mesh: the places of its arrays are read.

    Parameters
    ----------
    path : Path
        The file; the suffix says its format.
    where : str
        Names sample and file, to begin an error with.
    way_out : str
        What to do where it cannot be read, to end an error with.
    source : ByteSource, optional
        Its bytes, where it is not one file of this machine.

    Raises
    ------
    NotStreamedError
        Only VTK's own reader knows it.
    """
    suffix, summary = suffix_of(path), None
    if suffix in HEAD_SUFFIXES:
        files = [source or local_bytes([path])]
    elif suffix in PIECED_SUFFIXES:
        names = names_in(path.name, path.read_text(encoding="utf-8", errors="replace"))
        pieces = [path.parent / name for name in names]
        if not all(piece.is_file() for piece in pieces):
            raise NotStreamedError("a piece is missing")
        if len(pieces) > MAX_OPEN_FILES:
            raise NotStreamedError(f"its {len(pieces)} pieces cannot all be open")
        files, summary = [local_bytes([piece]) for piece in pieces], local_bytes([path])
    else:
        raise NotStreamedError(f"{suffix} files are read whole")
    mesh = StreamedMesh(files, path.stem, where, way_out, summary)
    if mesh.is_surface != (suffix in _SURFACES):
        raise NotStreamedError("its suffix is that of another kind of mesh")
    return mesh


def warn_if_large(path: Path, shown: str, reason: NotStreamedError) -> None:
    """Warn where a file that `open_streamed` refused is large: VTK holds all of it in memory.

    Parameters
    ----------
    path : Path
        The file.
    shown : str
        Its name in the warning. The same name for all samples gives one warning for all.
    reason : NotStreamedError
        Why it was refused.
    """
    suffix, files = suffix_of(path), [path]
    if suffix in PIECED_SUFFIXES:
        files = [path.parent / name for name in names_in(path.name, path.read_text("utf-8", "replace"))]
    elif suffix not in HEAD_SUFFIXES:
        return
    if sum(file.stat().st_size for file in files if file.is_file()) > _LARGE_BYTES:
        warnings.warn(
            f"{shown}: VTK reads this file whole into memory, because {reason}; --dry-run says how much memory that "
            "takes; a file without it is read in parts",
            WholeFileWarning,
            stacklevel=2,
        )
