"""Files of meshes whose arrays are read as they are asked for, by this library alone."""

from __future__ import annotations

from pathlib import Path

from noether.data.zarr_store.sources.byte_source import MAX_OPEN_FILES, ByteSource, local_bytes
from noether.data.zarr_store.sources.referenced_files import PIECED_SUFFIXES, names_in
from noether.data.zarr_store.sources.streamed_errors import NotStreamedError
from noether.data.zarr_store.sources.suffixes import suffix_of
from noether.data.zarr_store.sources.vtk_heads import HEAD_SUFFIXES
from noether.data.zarr_store.sources.vtk_xml import StreamedMesh

__all__ = ["open_streamed"]

_SURFACES = (".vtp", ".pvtp")


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
