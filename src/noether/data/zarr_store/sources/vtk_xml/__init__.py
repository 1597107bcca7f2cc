"""Read VTK's XML files (``.vtu``, ``.vtp``, ``.pvtu``, ``.pvtp``) one array at a time."""

from noether.data.zarr_store.sources.vtk_xml.streamed_mesh import StreamedMesh

__all__ = ["StreamedMesh"]
