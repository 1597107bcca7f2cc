"""Read binary EnSight Gold, in the C and the Fortran variant, in ranges."""

from noether.data.zarr_store.sources.ensight_gold.gold_mesh import GoldMesh

__all__ = ["GoldMesh"]
