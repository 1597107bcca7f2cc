"""The draws that make an item of a dataset, and how to read them. Pure: nothing is read here."""

from noether.data.zarr_store.draws.groups import Draw
from noether.data.zarr_store.draws.planner import DrawPlanner, DrawRead, IfShort, Schedule, Share

__all__ = ["Draw", "DrawPlanner", "DrawRead", "IfShort", "Schedule", "Share"]
