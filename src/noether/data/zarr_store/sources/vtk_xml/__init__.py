"""VTK's files in XML, ``.vtu``, ``.vtp`` and those of their pieces, read an array at a time."""

from noether.data.zarr_store.sources.vtk_xml.array_values import SMALL_ARRAY_BYTES
from noether.data.zarr_store.sources.vtk_xml.byte_source import MAX_OPEN_FILES, ByteSource, local_bytes, stored_bytes
from noether.data.zarr_store.sources.vtk_xml.document import NotStreamedError
from noether.data.zarr_store.sources.vtk_xml.streamed_mesh import StreamedMesh

__all__ = [
    "MAX_OPEN_FILES",
    "SMALL_ARRAY_BYTES",
    "ByteSource",
    "NotStreamedError",
    "StreamedMesh",
    "local_bytes",
    "stored_bytes",
]
