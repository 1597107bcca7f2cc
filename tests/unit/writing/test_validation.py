"""Samples that can be stored, and the errors for other samples."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from noether.data.schemas import FileMap
from noether.data.zarr_store.errors import SampleDataError
from noether.data.zarr_store.layout import build_domain_layouts
from noether.data.zarr_store.writing.source_rows import SourceRows
from noether.data.zarr_store.writing.validation import check_attributes, check_fields
from support.ahmed import AHMED_FILEMAP, Arrays

LAYOUTS = build_domain_layouts(
    FileMap(surface_position="a", surface_pressure="b", volume_position="c", volume_velocity="d")
)
POSITION = np.arange(12, dtype="float32").reshape(4, 3)
PRESSURE = np.arange(4, dtype="float32")
SURFACE = {"surface_position": POSITION, "surface_pressure": PRESSURE}
VOLUME = {"volume_position": POSITION, "volume_velocity": POSITION}


def test_a_real_run_is_sorted_into_domains_in_the_order_of_the_layouts(run_1: Arrays) -> None:
    layouts = build_domain_layouts(AHMED_FILEMAP)
    domains = check_fields("run_1", dict(reversed(run_1.items())), layouts)
    assert {domain: [layout for layout, _ in values] for domain, values in domains.items()} == {
        domain: list(layout.arrays.values()) for domain, layout in layouts.items()
    }
    for layout, values in (field for fields in domains.values() for field in fields):
        np.testing.assert_array_equal(values, run_1[layout.field].reshape(-1, layout.dim))


@pytest.mark.parametrize(
    "pressure",
    [
        pytest.param(PRESSURE, id="flat"),
        pytest.param(PRESSURE[:, np.newaxis], id="one-column"),
        pytest.param(PRESSURE.tolist(), id="list"),
        pytest.param(tuple(PRESSURE.tolist()), id="tuple"),
        pytest.param(torch.from_numpy(PRESSURE), id="tensor"),
        pytest.param(torch.from_numpy(PRESSURE)[:, None].double(), id="tensor-of-one-column"),
        pytest.param(PRESSURE.astype(">f8"), id="big-endian"),
        pytest.param(PRESSURE.astype("int16"), id="integers"),
        pytest.param(PRESSURE.astype("uint8"), id="unsigned"),
        pytest.param(PRESSURE.astype("float16"), id="half"),
        pytest.param(np.repeat(PRESSURE, 2)[::2], id="not-contiguous"),
        pytest.param(np.frombuffer(PRESSURE.tobytes(), "float32"), id="read-only"),
        pytest.param(np.ma.masked_array(PRESSURE, mask=False), id="masked-array-without-a-masked-value"),
    ],
)
def test_a_scalar_field_is_taken_in_any_form_as_one_column(pressure: Any) -> None:
    _, (layout, values) = check_fields("run_1", SURFACE | {"surface_pressure": pressure}, LAYOUTS)["surface"]
    assert layout.field == "surface_pressure"
    assert type(values) is np.ndarray
    assert values.shape == (4, 1)
    np.testing.assert_array_equal(values[:, 0], PRESSURE)


@pytest.mark.parametrize(
    "position",
    [
        pytest.param(POSITION.tolist(), id="list"),
        pytest.param(torch.from_numpy(POSITION), id="tensor"),
        pytest.param(np.asfortranarray(POSITION), id="fortran-order"),
        pytest.param(POSITION.astype(">f4"), id="big-endian"),
    ],
)
def test_a_vector_field_is_taken_in_any_form(position: Any) -> None:
    (_, values), _ = check_fields("run_1", SURFACE | {"surface_position": position}, LAYOUTS)["surface"]
    np.testing.assert_array_equal(values, POSITION)


def test_array_is_not_copied() -> None:
    (_, position), (_, pressure) = check_fields("run_1", SURFACE, LAYOUTS)["surface"]
    assert np.shares_memory(position, POSITION)
    assert np.shares_memory(pressure, PRESSURE)


def test_sample_can_lack_a_whole_domain() -> None:
    assert list(check_fields("run_1", VOLUME, LAYOUTS)) == ["volume"]


def test_domains_can_have_different_numbers_of_points() -> None:
    domains = check_fields("run_1", SURFACE | dict.fromkeys(VOLUME, POSITION[:2]), LAYOUTS)
    assert {domain: fields[0][1].shape[0] for domain, fields in domains.items()} == {"surface": 4, "volume": 2}


class OnDisk:
    """An array that is not in memory; it counts the values that are read."""

    def __init__(self, shape: Any, dtype: str = "float32") -> None:
        self.shape, self.dtype, self.n_read = shape, np.dtype(dtype), 0

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        self.n_read += rows.stop - rows.start
        return np.arange(rows.start, rows.stop, dtype=self.dtype).repeat(3).reshape(-1, 3)


def test_a_large_array_that_is_not_in_memory_is_not_read() -> None:
    position = OnDisk((10**12, 3))
    ((_, values), _) = check_fields("run_1", dict.fromkeys(VOLUME, position), LAYOUTS)["volume"]
    assert isinstance(values, SourceRows)
    assert (values.shape, values.dtype, position.n_read) == (position.shape, position.dtype, 0)


def test_a_small_array_that_is_not_in_memory_is_loaded_once() -> None:
    position = OnDisk((400_000, 3))
    ((_, values), _) = check_fields("run_1", dict.fromkeys(VOLUME, position), LAYOUTS)["volume"]
    assert isinstance(values, np.ndarray)
    np.testing.assert_array_equal(values, np.arange(400_000).repeat(3).reshape(-1, 3))
    assert position.n_read == 2 * 400_000  # one read for each of the two fields


@pytest.mark.parametrize(
    ("position", "message"),
    [
        pytest.param(OnDisk((10**12, 2)), "expected shape (n_points, 3), got (1000000000000, 2)", id="large"),
        pytest.param(OnDisk((7, 2)), "expected shape (n_points, 3), got (7, 2)", id="small"),
        pytest.param(OnDisk(()), "expected shape (n_points, 3), got ()", id="scalar"),
        pytest.param(OnDisk((0, 3)), "it has no points", id="no points"),
        pytest.param(OnDisk((10**12, 3), "bool"), "expected an integer or floating dtype, got bool", id="bool"),
    ],
)
def test_an_array_that_is_not_in_memory_is_refused_unread(position: OnDisk, message: str) -> None:
    with pytest.raises(SampleDataError, match="^" + re.escape("sample 'run_1', field volume_position: " + message)):
        check_fields("run_1", VOLUME | {"volume_position": position}, LAYOUTS)
    assert position.n_read == 0


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        pytest.param({}, ": it has no field; pass all fields of at least one domain of surface, volume", id="nothing"),
        pytest.param(
            SURFACE | {"surface_presure": PRESSURE},
            ": unknown field 'surface_presure'; did you mean 'surface_pressure'",
            id="unknown-field",
        ),
        pytest.param(SURFACE | {7: PRESSURE}, ": unknown field 7; there are: ", id="field-name-that-is-no-text"),
        pytest.param(
            {"volume_velocity": POSITION},
            ": domain 'volume' lacks volume_position, but needs all its fields; add the missing fields, or leave",
            id="domain-without-position",
        ),
        pytest.param(
            SURFACE | {"volume_position": POSITION},
            ": domain 'volume' lacks volume_velocity, but needs all its fields; add the missing",
            id="missing-field",
        ),
        pytest.param(
            SURFACE | {"surface_pressure": PRESSURE[:3]},
            ": the fields of domain 'surface' have different numbers of points "
            "(surface_position 4, surface_pressure 3); pass one row per point in each field",
            id="point-counts-disagree",
        ),
    ],
)
def test_a_sample_that_does_not_fit_the_store_is_refused(arrays: Any, message: str) -> None:
    with pytest.raises(SampleDataError, match="^" + re.escape("sample 'run_1'" + message)):
        check_fields("run_1", arrays, LAYOUTS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param(POSITION[:, :2], "expected shape (n_points, 3), got (4, 2)", id="too-narrow"),
        pytest.param(torch.zeros(4, 2), "expected shape (n_points, 3), got (4, 2)", id="tensor-too-narrow"),
        pytest.param(POSITION.T, "expected shape (n_points, 3), got (3, 4)", id="transposed"),
        pytest.param(PRESSURE, "expected shape (n_points, 3), got (4,)", id="scalar-for-vector"),
        pytest.param(POSITION[np.newaxis], "expected shape (n_points, 3), got (1, 4, 3)", id="three-dimensions"),
        pytest.param(1.0, "expected shape (n_points, 3), got ()", id="single-number"),
        pytest.param(POSITION[:0], "it has no points; leave out the empty domain", id="no-points"),
        pytest.param(POSITION > 0, "expected an integer or floating dtype, got bool; convert it to float32", id="bool"),
        pytest.param(POSITION + 0j, "expected an integer or floating dtype, got complex64", id="complex"),
        pytest.param(POSITION.astype(str), "expected an integer or floating dtype, got <U32", id="text"),
        pytest.param(POSITION.astype("M8[s]"), "expected an integer or floating dtype, got datetime64[s]", id="dates"),
        pytest.param(POSITION.astype(object), "expected an integer or floating dtype, got object", id="objects"),
        pytest.param(None, "expected an integer or floating dtype, got object", id="none"),
        pytest.param(
            [[1, 2, 3], [4]], "list cannot be read as an array (setting an array element with a sequence", id="ragged"
        ),
        pytest.param(
            torch.zeros(4, 3, requires_grad=True),
            "Tensor cannot be read as an array (Can't call numpy() on Tensor that requires grad",
            id="tensor-with-gradient",
        ),
        pytest.param(
            torch.zeros(4, 3, dtype=torch.bfloat16),
            "Tensor cannot be read as an array (Got unsupported ScalarType BFloat16",
            id="bfloat16-tensor",
        ),
        pytest.param(
            np.ma.masked_less(POSITION, 2),
            "expected values at all points, got 2 of 12 masked, and a store has no mask; fill the masked values",
            id="masked-values",
        ),
    ],
)
def test_an_array_that_is_no_field_is_refused(given: Any, message: str) -> None:
    expected = re.escape("sample 'run_1', field surface_position: " + message)
    with pytest.raises(SampleDataError, match="^" + expected):
        check_fields("run_1", SURFACE | {"surface_position": given}, LAYOUTS)


@pytest.mark.parametrize(
    ("given", "shape"), [(POSITION, "(4, 3)"), (PRESSURE[np.newaxis], "(1, 4)")], ids=["vector", "row"]
)
def test_a_scalar_field_of_another_shape_is_refused_with_both_shapes_that_fit(given: Any, shape: str) -> None:
    message = f"field surface_pressure: expected shape (n_points, 1) or (n_points,), got {shape}"
    with pytest.raises(SampleDataError, match=re.escape(message)):
        check_fields("run_1", SURFACE | {"surface_pressure": given}, LAYOUTS)


def test_attributes_become_plain_json_values() -> None:
    plain = check_attributes(
        "run_1",
        {
            "angle": np.float32(0.5),
            "cells": np.int64(7),
            "closed": np.True_,
            "inlet": np.array([[1.0, 2.0]]),
            "ride_height": torch.tensor([1.5, 2.5]),
            "nested": {"points": (1, 2), "none": None, "name": "Ölkühler"},
        },
    )
    assert plain == {
        "angle": 0.5,
        "cells": 7,
        "closed": True,
        "inlet": [[1.0, 2.0]],
        "ride_height": [1.5, 2.5],
        "nested": {"points": [1, 2], "none": None, "name": "Ölkühler"},
    }
    assert [type(plain[key]) for key in ("angle", "cells", "closed")] == [float, int, bool]


def test_attributes_are_copied() -> None:
    given = {"inlet": [1.0]}
    plain = check_attributes("run_1", given)
    given["inlet"].append(2.0)
    assert plain == {"inlet": [1.0]}


@pytest.mark.parametrize("attributes", [None, {}])
def test_no_attributes_become_an_empty_dict(attributes: dict[str, Any] | None) -> None:
    assert check_attributes("run_1", attributes) == {}


def endless_list() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(float("nan"), id="nan"),
        pytest.param(np.array([1.0, np.inf]), id="infinity-in-an-array"),
        pytest.param({"a": float("-inf")}, id="nested-infinity"),
        pytest.param(1 + 2j, id="complex"),
        pytest.param(b"raw", id="bytes"),
        pytest.param({1, 2}, id="set"),
        pytest.param(date(2026, 1, 1), id="date"),
        pytest.param({(1, 2): 3}, id="key-that-is-no-text"),
        pytest.param("\ud800", id="lone-surrogate"),
        pytest.param(endless_list(), id="endless-list"),
    ],
)
def test_attribute_must_be_json(value: Any) -> None:
    with pytest.raises(
        SampleDataError, match=r"^sample 'run_1', attribute 'inlet': it cannot be written as JSON \(.+\); use finite"
    ):
        check_attributes("run_1", {"inlet": value})


def test_attribute_key_must_be_a_str() -> None:
    with pytest.raises(SampleDataError, match=r"^sample 'run_1', attribute 7: expected a str as key, got int$"):
        check_attributes("run_1", {7: 1})  # type: ignore[dict-item]  # what the test is about
