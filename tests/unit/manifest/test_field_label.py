"""Labels of fields on plots."""

from __future__ import annotations

import pytest

from noether.data.zarr_store.manifest import field_label


@pytest.mark.parametrize(
    ("attributes", "component", "label"),
    [
        ({}, "", "volume_u"),
        ({"units": "m/s"}, "x", "volume_u, x (m/s)"),
        ({"units": "1", "long_name": "speed"}, "", "speed (dimensionless)"),
        ({"long_name": "a\u202eb"}, "", "a\\u202eb"),
    ],
)
def test_a_label_has_the_name_the_component_and_the_units(
    attributes: dict[str, str], component: str, label: str
) -> None:
    assert field_label("volume_u", attributes, component) == label
