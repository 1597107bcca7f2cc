"""Repair of a store from its intact data and, where these are not enough, from its source."""

from noether.data.zarr_store.upkeep.repair.engine import RepairReport, repair_store
from noether.data.zarr_store.upkeep.repair.plan import Action, ActionKind

__all__ = ["Action", "ActionKind", "RepairReport", "repair_store"]
