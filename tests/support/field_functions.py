"""Functions that compute fields from other fields. Worker processes import this module."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np
from numpy.typing import NDArray

Fields = dict[str, NDArray[Any]]


def doubled(fields: Fields, attributes: dict[str, Any]) -> NDArray[Any]:
    """Return twice the pressure of the surface."""
    return 2 * fields["surface_pressure"]


def scaled(fields: Fields, attributes: dict[str, Any]) -> Any:
    """Return the pressure of the surface over the dynamic pressure of the sample."""
    return fields["surface_pressure"] / (0.5 * attributes["design_parameters"][3] ** 2)


def pairs(fields: Fields, attributes: dict[str, Any]) -> NDArray[Any]:
    """Return two components: a coordinate and a pressure."""
    return np.stack([fields["surface_position"][:, 0], fields["surface_pressure"]], axis=1)


def fails_at_high_speed(fields: Fields, attributes: dict[str, Any]) -> NDArray[Any]:
    if attributes["design_parameters"][3] > 45:
        raise ZeroDivisionError("too fast")
    return doubled(fields, attributes)


def kills_at_high_speed(fields: Fields, attributes: dict[str, Any]) -> NDArray[Any]:
    if attributes["design_parameters"][3] > 45:
        os.kill(os.getpid(), signal.SIGKILL)
    return doubled(fields, attributes)
