"""Batches of items, of the same and of different sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store.datasets import Item, collate_samples
from noether.data.zarr_store.errors import ArgumentError


def item(n_points: int, number: int = 0, **more: Any) -> Item:
    """Return an item in which all values differ."""
    positions = torch.arange(3.0 * n_points).reshape(n_points, 3) + 1000 * number
    return {
        "volume_position": positions,
        "volume_pressure": positions[:, 0] + 0.5,
        "sample_id": f"run_{number}",
        "attributes": {"speed": torch.tensor(float(number)), "name": f"run {number}"},
        **more,
    }


def test_items_of_the_same_size_are_stacked() -> None:
    items = [item(7, number) for number in range(3)]
    batch = collate_samples(items)
    assert list(batch) == list(items[0])
    for field, shape in {"volume_position": (3, 7, 3), "volume_pressure": (3, 7)}.items():
        assert batch[field].shape == shape
        assert all(torch.equal(row, one[field]) for row, one in zip(batch[field], items, strict=True))
    assert batch["sample_id"] == ["run_0", "run_1", "run_2"]
    assert torch.equal(batch["attributes"]["speed"], torch.tensor([0.0, 1.0, 2.0]))
    assert batch["attributes"]["name"] == ["run 0", "run 1", "run 2"]


@given(st.lists(st.integers(1, 9), min_size=2, max_size=5).filter(lambda counts: len(set(counts)) > 1))
def test_items_of_different_sizes_are_concatenated_with_offsets(counts: list[int]) -> None:
    items = [item(count, number) for number, count in enumerate(counts)]
    batch = collate_samples(items)
    for field in ("volume_position", "volume_pressure"):
        offsets = batch["offsets"][field]
        assert (offsets.dtype, offsets.shape) == (torch.int64, (len(counts) + 1,))
        assert len(batch[field]) == offsets[-1]
        for i, one in enumerate(items):
            assert torch.equal(batch[field][offsets[i] : offsets[i + 1]], one[field])


def test_one_field_may_be_stacked_where_another_is_concatenated() -> None:
    items = [item(count, surface_pressure=torch.ones(4)) for count in (5, 6)]
    batch = collate_samples(items)
    assert batch["surface_pressure"].shape == (2, 4)
    assert batch["volume_pressure"].shape == (11,)
    assert batch["offsets"].keys() == {"volume_position", "volume_pressure"}


def test_a_batch_of_one_item_is_stacked() -> None:
    batch = collate_samples([item(5)])
    assert batch["volume_position"].shape == (1, 5, 3)
    assert "offsets" not in batch


def test_values_of_different_shapes_become_a_list() -> None:
    pairs = [(torch.ones(2, 3), torch.ones(3, 2)), (torch.tensor(1.0), torch.ones(2)), (1, 2), ("a", None)]
    items = [item(5) | {f"made_{i}": pair[side] for i, pair in enumerate(pairs)} for side in (0, 1)]
    batch = collate_samples(items)
    assert [batch[f"made_{i}"] for i in range(len(pairs))] == [list(pair) for pair in pairs]


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.bool], ids=str)
def test_tensors_that_a_transform_made_keep_their_dtype(dtype: torch.dtype) -> None:
    batch = collate_samples([item(5, made=torch.ones(5, dtype=dtype)) for _ in range(2)])
    assert batch["made"].dtype == dtype


@pytest.mark.parametrize("short", [0, 1])
def test_items_with_different_fields_are_refused_by_name(short: int) -> None:
    items = [item(5, 0), item(5, 1)]
    del items[short]["volume_pressure"]
    expected = f"^sample 'run_{1 - short}' has 'volume_pressure' and sample 'run_{short}' does not, so they do not fit"
    with pytest.raises(ArgumentError, match=expected):
        collate_samples(items)


def test_items_with_different_attributes_are_refused_by_name() -> None:
    items = [item(5, 0), item(5, 1)]
    items[1]["attributes"]["mach"] = torch.tensor(0.3)
    with pytest.raises(ArgumentError, match=r"^sample 'run_1' has 'mach' and sample 'run_0' does not"):
        collate_samples(items)
