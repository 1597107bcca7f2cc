"""EnSight Gold in binary, of C and of Fortran, read a range at a time."""

from noether.data.zarr_store.sources.ensight_gold.gold_mesh import GoldMesh

__all__ = ["GoldMesh"]
