"""VTK's files in XML, ``.vtu``, ``.vtp`` and those of their pieces, read an array at a time."""

from noether.data.zarr_store.sources.vtk_xml.streamed_mesh import StreamedMesh

__all__ = ["StreamedMesh"]
