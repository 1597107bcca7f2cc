"""The bundled simulations, and a directory with them and their store to try the library on."""

from __future__ import annotations

from noether.data.zarr_store.demo.directory import CHUNK_POINTS, MESHES, SIMULATIONS, Demo, write_demo

__all__ = ["CHUNK_POINTS", "MESHES", "SIMULATIONS", "Demo", "write_demo"]
