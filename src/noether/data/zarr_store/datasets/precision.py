"""Positions that a store keeps as float64 for a reason, and a dataset reads with fewer digits."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping

import numpy as np

from noether.data.zarr_store.errors import PrecisionWarning
from noether.data.zarr_store.layout import DomainLayout
from noether.data.zarr_store.manifest import SampleEntry
from noether.data.zarr_store.reading import ResultDtypes

__all__ = ["NarrowPositions"]


class NarrowPositions:
    """Looks for samples whose positions are read with fewer digits than their conversion found them to need.

    Parameters
    ----------
    domains : mapping of str to DomainLayout
        The domains of the store.
    fields : collection of str
        The canonical names of the fields that are read.
    dtypes : ResultDtypes
        What fields are read as.
    """

    def __init__(self, domains: Mapping[str, DomainLayout], fields: Collection[str], dtypes: ResultDtypes) -> None:
        self._positions = [
            layout.position
            for layout in domains.values()
            if layout.position in fields
            and layout.arrays[layout.position].dtype == "float64"  # of others, the conversion has warned
            and np.dtype(dtypes.by_field.get(layout.position, dtypes.default)).itemsize < np.dtype(np.float64).itemsize
        ]
        self._found: dict[str, str] = {}

    def check(self, sample_id: str, entry: SampleEntry) -> None:
        """Look at one sample."""
        for position in self._positions:
            if position in entry.fidelity and entry.fidelity[position].needs_float64:
                self._found.setdefault(position, sample_id)

    def warn(self) -> None:
        """Warn once of all that was found; the warning names the caller of the caller."""
        if not self._found:
            return
        where = " and ".join(f"{position} (sample {sample_id!r})" for position, sample_id in self._found.items())
        warnings.warn(
            f"{where}: stored as float64 and read as float32, which drops digits that tell points apart. Read all "
            f"digits with dtype={dict.fromkeys(self._found, 'float64')}, or convert the source into a new store with "
            "an origin, which is subtracted before the cast: origin=(x, y, z) (noether-zarr convert --origin X,Y,Z)",
            PrecisionWarning,
            stacklevel=3,
        )
