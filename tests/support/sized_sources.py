"""Sources of any size without data on disk. Worker processes import this module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from noether.data.schemas import FileMap
from noether.data.zarr_store.sources import FieldDescription, SourceSample

FILEMAP = FileMap(volume_position="x.npy", volume_pressure="p.npy")
FIELDS = {"volume_position": 3, "volume_pressure": 1}


class NamedSource:
    """A source that has only sample ids; its samples have nine points."""

    filemap = FILEMAP

    def __init__(self, sample_ids: Sequence[str]) -> None:
        self.notices: list[str] = []
        self.ids = list(sample_ids)

    def sample_ids(self) -> list[str]:
        return list(self.ids)

    def load(self, sample_id: str) -> SourceSample:
        if sample_id not in self.ids:
            raise KeyError(sample_id)
        return SourceSample({field: np.ones((9, width), np.float32) for field, width in FIELDS.items()})


class SizedSource(NamedSource):
    """A source that describes its samples with given numbers of points."""

    def __init__(self, points: Mapping[str, int]) -> None:
        super().__init__(list(points))
        self.points = dict(points)

    def describe(self, sample_id: str) -> dict[str, FieldDescription]:
        dtype = np.dtype(np.float32)
        return {field: FieldDescription((self.points[sample_id], width), dtype) for field, width in FIELDS.items()}
