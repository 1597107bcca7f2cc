"""A warning for float64 positions of a store that a dataset reads with too few digits."""

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
    """Finds samples whose positions are read with fewer digits than they need, according to their conversion.

    Parameters
    ----------
    domains : mapping of str to DomainLayout
        The domains of the store.
    fields : collection of str
        Canonical names of the fields that are read.
    dtypes : ResultDtypes
        Dtypes of the fields in the items.
    """

    def __init__(self, domains: Mapping[str, DomainLayout], fields: Collection[str], dtypes: ResultDtypes) -> None:
        self._positions = [
            layout.position
            for layout in domains.values()
            if layout.position in fields
            and layout.arrays[layout.position].dtype == "float64"  # for other dtypes, the conversion has warned
            and np.dtype(dtypes.by_field.get(layout.position, dtypes.default)).itemsize < np.dtype(np.float64).itemsize
        ]
        self._found: dict[str, str] = {}

    def check(self, sample_id: str, entry: SampleEntry) -> None:
        """Check one sample."""
        for position in self._positions:
            if position in entry.fidelity and entry.fidelity[position].needs_float64:
                self._found.setdefault(position, sample_id)

    def warn(self) -> None:
        """Warn once about all samples that were found; the warning points to the caller of the caller."""
        if not self._found:
            return
        where = " and ".join(f"{position} (sample {sample_id!r})" for position, sample_id in self._found.items())
        warnings.warn(
            f"{where}: stored as float64 and read as float32, which drops digits that distinguish points. Read all "
            f"digits with dtype={dict.fromkeys(self._found, 'float64')}, or convert the source into a new store with "
            "an origin, which is subtracted before the cast: origin=(x, y, z) (noether-zarr convert --origin X,Y,Z)",
            PrecisionWarning,
            stacklevel=3,
        )
