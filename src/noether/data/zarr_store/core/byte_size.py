"""Byte sizes with units, as users write them."""

from __future__ import annotations

import re
from fractions import Fraction

from noether.data.zarr_store.errors import ArgumentError

__all__ = ["parse_byte_size"]

_UNITS = {
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("kMGTP", 1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGTP", 1)},
}
_SIZE = re.compile(rf"(\d+(?:\.\d+)?) ?({'|'.join(_UNITS)})", re.ASCII)


def parse_byte_size(value: object, name: str) -> int:
    """Parse a size, and return the number of bytes, which is at least 1.

    Parameters
    ----------
    value : int or str
        Bytes, or a number with a unit: ``"200 GB"``, ``"1.5 TiB"``.
    name : str
        Name of the parameter, for errors.

    Raises
    ------
    ArgumentError
        The value is neither of the two, or is less than one byte.
    """
    n_bytes = 0
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        n_bytes = int(Fraction(match[1]) * _UNITS[match[2]]) if match is not None else 0
    elif isinstance(value, int) and not isinstance(value, bool):
        n_bytes = value
    if n_bytes < 1:
        raise ArgumentError(
            f"{name}: expected a whole number of bytes or a number with a unit of {', '.join(_UNITS)}, such as "
            f"'200 GB', got {value!r}"
        )
    return n_bytes
