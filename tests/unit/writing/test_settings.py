"""The settings of a writer."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from noether.data.zarr_store import ZarrStoreWriter
from noether.data.zarr_store.core import Grid
from support.ahmed import AHMED_FILEMAP


def test_settings_can_be_pickled_and_are_frozen(tmp_path: Path) -> None:
    settings = ZarrStoreWriter(tmp_path, AHMED_FILEMAP, "ahmed", chunk_points={"surface": 9}, threads=2).settings
    again = pickle.loads(pickle.dumps(settings))
    assert again == settings
    assert (again.layouts, again.manifest, again.encoding) == (settings.layouts, settings.manifest, settings.encoding)
    with pytest.raises(FrozenInstanceError):
        again.shuffle_seed = 1


def test_settings_copy_the_arguments(tmp_path: Path) -> None:
    chunk_points = {"surface": 9}
    writer = ZarrStoreWriter(tmp_path, AHMED_FILEMAP, "ahmed", chunk_points=chunk_points, shard_points=20)
    chunk_points["surface"] = 1
    kwargs = writer.to_init_kwargs()
    assert kwargs["chunk_points"] == {"surface": 9}
    assert writer.settings.grid("surface", 100) == Grid(100, 9, 18)
    assert writer.settings.grid("volume", 10_000) == Grid(10_000, 4096, 4096)
