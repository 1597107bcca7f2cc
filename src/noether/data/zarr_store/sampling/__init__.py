"""The draws that make an item of a dataset, and how to read them. Pure: nothing is read here."""

from noether.data.zarr_store.sampling.joint_draws import Draw
from noether.data.zarr_store.sampling.planner import DrawPlanner, DrawRead, IfShort, Schedule, Share

__all__ = ["Draw", "DrawPlanner", "DrawRead", "IfShort", "Schedule", "Share"]
