"""Datasets that read a remote store through a cache on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from noether.data.zarr_store.datasets import Draw, ZarrStoreDataset
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.reading import write_chunk_index
from support.near import as_remote, requests_made
from support.reading import write_runs

NUM_POINTS = {"surface": 300, "volume": 700}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_runs(tmp_path_factory.mktemp("near") / "store", "run_1", "run_2", "run_3", chunk_points=256)
    write_chunk_index(root)
    return root


def test_the_second_pass_of_fixed_draws_makes_no_request(root: Path, tmp_path: Path) -> None:
    dataset = ZarrStoreDataset(
        as_remote(root), num_points=NUM_POINTS, fixed=True, cache_dir=tmp_path, cache_limit="1 GB"
    )
    local = ZarrStoreDataset(root, num_points=NUM_POINTS, fixed=True)
    for number in range(2):
        with requests_made() as requests:
            batch = dataset.__getitems__([0, 1, 2])
        assert (requests == []) == (number == 1)
        for item, expected in zip(batch, local.__getitems__([0, 1, 2]), strict=True):
            for name, value in expected.items():
                assert torch.equal(item[name], value) if isinstance(value, torch.Tensor) else item[name] == value


@pytest.mark.slow
def test_workers_fill_the_cache_for_each_other(root: Path, tmp_path: Path) -> None:
    dataset = ZarrStoreDataset(as_remote(root), num_points=NUM_POINTS, fixed=True, cache_dir=tmp_path)
    assert len(list(dataset.loader(1, num_workers=2))) == 3
    with requests_made() as requests:
        dataset.__getitems__([0, 1, 2])
    assert [one for one in requests if "sample_index" not in one] == []


def test_a_limit_below_one_item_is_refused(root: Path, tmp_path: Path) -> None:
    most = 3 * 256 * (3 * 4 + 2)  # three chunks of float32 positions and a float16 scalar

    def make(limit: int) -> ZarrStoreDataset:
        return ZarrStoreDataset(
            as_remote(root),
            draws={"few": Draw("volume", 512, ["volume_position", "volume_pressure"])},
            fields=[],
            seed=0,
            cache_dir=tmp_path,
            cache_limit=limit,
        )

    with pytest.raises(
        ArgumentError, match=r"cache_limit: expected room for one item of sample 'run_\d', up to [\d,]+ bytes, got 100"
    ):
        make(100)
    make(most)
