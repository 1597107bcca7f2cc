"""Read byte ranges of binary EnSight Gold files, in the C and the Fortran variant."""

from noether.data.zarr_store.sources.ensight_gold.gold_mesh import GoldMesh

__all__ = ["GoldMesh"]
