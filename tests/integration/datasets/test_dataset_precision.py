"""A dataset warns if it reads positions with fewer digits than they need, and names the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noether.data.zarr_store import Draw, ZarrStoreDataset, ZarrStoreWriter
from noether.data.zarr_store.errors import PrecisionWarning
from support.far_points import FAR_FILEMAP, ORIGIN, far_sample


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Positions in float64; those of one sample are near the origin."""
    root = tmp_path_factory.mktemp("precision")
    writer = ZarrStoreWriter(root, FAR_FILEMAP, "far", coords_dtype="float64")
    writer.write_sample("far_1", far_sample())
    writer.write_sample("far_2", far_sample(seed=1))
    writer.write_sample("near", far_sample(corner=(0, 0, 0)))
    writer.save_manifest()
    return root


@pytest.mark.parametrize("dtype", [None, {"volume_velocity": "float64"}, {"volume_position": "float16"}], ids=str)
def test_positions_that_lose_digits_are_warned_of_once(store: Path, dtype: Any) -> None:
    message = r"^volume_position \(sample 'far_1'\): stored as float64 .* dtype=\{'volume_position': 'float64'\}, or"
    with pytest.warns(PrecisionWarning, match=message) as caught:
        ZarrStoreDataset(store, dtype=dtype)
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "parameters",
    [
        {"dtype": {"volume_position": "float64"}},
        {"sample_ids": ["near"]},
        {"fields": ["volume_velocity"]},
        {"fields": [], "draws": {"query": Draw("volume", 10, fields=["volume_velocity"])}},
    ],
    ids=["float64", "near", "other field", "other field of a draw"],
)
def test_no_warning_if_no_digits_are_lost(store: Path, parameters: dict[str, Any]) -> None:
    ZarrStoreDataset(store, **parameters)


def test_positions_of_a_named_draw_are_checked(store: Path) -> None:
    with pytest.warns(PrecisionWarning):
        ZarrStoreDataset(store, fields=[], draws={"query": Draw("volume", 10)})


def test_the_advised_dtype_keeps_the_digits(store: Path, tmp_path: Path) -> None:
    """float64 has every bit of the source. A store with an origin has positions relative to it, in float32."""
    item = ZarrStoreDataset(store, sample_ids=["far_1"], dtype={"volume_position": "float64"})[0]
    source = far_sample()["volume_position"]
    rows = {row.tobytes() for row in source}
    assert {row.tobytes() for row in item["volume_position"].numpy()} == rows
    writer = ZarrStoreWriter(tmp_path, FAR_FILEMAP, "far", origin=ORIGIN)
    writer.write_sample("far_1", far_sample())
    writer.save_manifest()
    dataset = ZarrStoreDataset(tmp_path)
    assert (dataset.origin, ZarrStoreDataset(store, sample_ids=["near"]).origin) == (ORIGIN, None)
    shifted = dataset[0]
    assert shifted["volume_position"].dtype == torch.float32
    back = np.sort(shifted["volume_position"].numpy().astype(np.float64) + ORIGIN, axis=0)
    np.testing.assert_allclose(back, np.sort(source, axis=0), rtol=0, atol=5e-6)
