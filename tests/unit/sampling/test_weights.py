"""Weights from fields: their forms, and invalid values."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.sampling import Falloff, Weight
from noether.data.zarr_store.sampling.weighting import MAX_WEIGHT
from noether.data.zarr_store.sampling.weights import AnyWeight, as_weight, evaluate

FIELDS = {
    "volume_sdf": np.array([-0.02, 0.0, 0.06, 1.98], np.float32),
    "volume_velocity": np.arange(12, dtype=np.float32).reshape(4, 3),
}


def squared_speed(fields: dict[str, NDArray[Any]]) -> Any:
    return (fields["volume_velocity"] ** 2).sum(axis=1)


def weights_of(weight: AnyWeight) -> list[float]:
    found: list[float] = evaluate(as_weight(weight), FIELDS, 4, "sample 's', the draw 'q'").tolist()
    return found


def of_values(*values: Any) -> Weight:
    return Weight(lambda _: np.array(values), ["volume_sdf"])


def test_a_falloff_is_an_inverse_of_the_field_plus_distance() -> None:
    assert weights_of(Falloff("volume_sdf", 0.02)) == pytest.approx([25, 50, 12.5, 0.5])
    assert type(Falloff("volume_sdf", np.float64(0.5)).distance) is float


def test_a_weight_function_gets_copies_of_its_fields() -> None:
    def spoil(fields: dict[str, NDArray[Any]]) -> Any:
        assert fields.keys() == {"volume_sdf"}
        fields["volume_sdf"] += 1
        return fields["volume_sdf"]

    before = FIELDS["volume_sdf"].copy()
    assert weights_of(Weight(spoil, ["volume_sdf"])) == pytest.approx((before + 1).tolist())
    np.testing.assert_array_equal(FIELDS["volume_sdf"], before)


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (Weight(squared_speed, ["volume_velocity"]), [5, 50, 149, 302]),
        (of_values(False, True, True, False), [0, 1, 1, 0]),
        (of_values(0, 3, 2, 1), [0, 3, 2, 1]),
        (of_values(1e300, 0, 5e299, 0), [1, 0, 0.5, 0]),
        (of_values(MAX_WEIGHT, 1, 1, 1), [MAX_WEIGHT, 1, 1, 1]),
    ],
    ids=["function", "mask", "whole numbers", "too large to add up", "largest that is kept"],
)
def test_weights_are_what_the_function_returns(weight: Weight, expected: list[float]) -> None:
    assert weights_of(weight) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ("volume_sdf", r"the weight from volume_sdf: .* 1 of 4 weights are negative, the lowest is -0.02; .*np.abs"),
        (of_values(1, np.nan, np.inf, -1), r"2 of 4 weights are NaN or infinite; .*np.nan_to_num"),
        (of_values(0, 0, 0, 0), r"expected finite numbers of 0 or more, not all 0, but all 4 weights are 0;"),
        (of_values(1, 2, 3), r"expected real numbers of shape \(4,\), one for each point, got int64 of shape \(3,\)"),
        (of_values([1], [2], [3], [4]), r"got int64 of shape \(4, 1\)"),
        (of_values("a", "b", "c", "d"), r"got <U1 of shape \(4,\)"),
        (of_values(1j, 1j, 1j, 1j), r"got complex128 of shape \(4,\)"),
    ],
    ids=["negative", "not finite", "zero", "too few", "a column", "text", "complex"],
)
def test_invalid_weights_are_refused(weight: AnyWeight, message: str) -> None:
    with pytest.raises(ArgumentError, match=rf"^sample 's', the draw 'q': .*{message}"):
        weights_of(weight)


def test_an_error_of_a_function_says_which_draw_it_was_for() -> None:
    with pytest.raises(KeyError) as caught:
        weights_of(Weight(lambda fields: fields["volume_pressure"], ["volume_sdf"]))
    assert caught.value.__notes__ == ["sample 's', the draw 'q': the weight from volume_sdf: its function failed"]


@pytest.mark.parametrize("distance", [0, -1.0, np.nan, np.inf, "0.1", None, True], ids=repr)
def test_a_falloff_needs_a_distance_above_0(distance: Any) -> None:
    with pytest.raises(ArgumentError, match="Falloff of 'volume_sdf': distance: expected a number above 0, got"):
        Falloff("volume_sdf", distance)


def test_a_weight_needs_a_function_and_names_of_fields() -> None:
    with pytest.raises(ArgumentError, match="Weight: function: expected a callable, got 3"):
        Weight(3, ["volume_sdf"])  # type: ignore[arg-type]
    no_names: list[str] = []
    for reads in ("volume_sdf", no_names):
        with pytest.raises(ArgumentError, match="Weight: reads: expected names such as"):
            Weight(squared_speed, reads)


@pytest.mark.parametrize(
    "weight", ["volume_sdf", Falloff("volume_sdf", 0.1), Weight(squared_speed, ["volume_velocity"])]
)
def test_weights_can_be_pickled(weight: AnyWeight) -> None:
    assert pickle.loads(pickle.dumps(as_weight(weight))) == as_weight(weight)
