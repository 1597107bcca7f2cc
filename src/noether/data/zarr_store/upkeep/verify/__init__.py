"""Verification of every byte of a store."""

from noether.data.zarr_store.upkeep.verify.engine import Progress, verify_store
from noether.data.zarr_store.upkeep.verify.findings import LEVELS, Finding, FindingKind, Level, Severity, VerifyReport

__all__ = ["LEVELS", "Finding", "FindingKind", "Level", "Progress", "Severity", "VerifyReport", "verify_store"]
