"""Points far from the origin, such as a site in UTM metres, where float32 resolves half a metre."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.schemas import FileMap
from support.ahmed import Arrays

FAR = (701362.5, 5480513.25, 120.0)
ORIGIN = (701400.0, 5480540.0, 120.0)
FAR_FILEMAP = FileMap(volume_position="position.npy", volume_velocity="velocity.npy")


def far_points(n: int = 500, seed: int = 0, corner: tuple[float, float, float] = FAR) -> NDArray[np.float64]:
    """Return points in a box of 50 m by 50 m by 5 m."""
    return np.random.default_rng(seed).random((n, 3)) * (50, 50, 5) + corner


def far_sample(n: int = 500, seed: int = 0, **settings: Any) -> Arrays:
    points = far_points(n, seed, **settings)
    return {"volume_position": points, "volume_velocity": np.sin(points).astype(np.float32)}


def save_far_tree(root: Path, *sample_ids: str, n: int = 500, **settings: Any) -> Path:
    """Save samples as a tree of files, for `FAR_FILEMAP`."""
    for seed, sample_id in enumerate(sample_ids):
        sample = far_sample(n, seed, **settings)
        (root / sample_id).mkdir(parents=True)
        np.save(root / sample_id / "position.npy", sample["volume_position"])
        np.save(root / sample_id / "velocity.npy", sample["volume_velocity"])
    return root
