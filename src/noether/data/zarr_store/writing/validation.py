"""Checks of the names, shapes, dtypes and attributes of a sample; `cast_loss` checks the values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.core import parse_document
from noether.data.zarr_store.errors import SampleDataError, nearest_names
from noether.data.zarr_store.layout import ArrayLayout, DomainLayout
from noether.data.zarr_store.writing.source_rows import SourceRows

__all__ = ["PERMUTATION_BYTES", "FieldValues", "check_attributes", "check_fields", "fits_in_memory"]

# These limits let readers of a manifest limit its size; see `core.bounded_json`.
_MAX_ATTRIBUTE_VALUES = 1 << 16
_MAX_ATTRIBUTE_DEPTH = 100

_LOADED_BYTES = 256 << 20
PERMUTATION_BYTES = 8
"""Number of bytes of a permutation per point."""

# Layout and values of a field: an array of shape (n_points, width), or `SourceRows` that yield blocks of such rows.
FieldValues = tuple[ArrayLayout, NDArray[Any] | SourceRows]


def check_fields(
    sample_id: str, field_arrays: Mapping[str, Any], layouts: Mapping[str, DomainLayout]
) -> dict[str, list[FieldValues]]:
    """Check the arrays of a sample, and return them by domain.

    Parameters
    ----------
    sample_id : str
        Id of the sample, for errors.
    field_arrays : mapping of str to array-like
        Arrays by canonical field name, of shape ``(n_points, width)``, or ``(n_points,)`` if the width is 1. Arrays
        that are not in memory are loaded if the whole sample is small, and otherwise not read.
    layouts : mapping of str to DomainLayout
        All domains of the store.

    Returns
    -------
    dict of str to list of (ArrayLayout, ndarray of shape (n_points, width) or SourceRows)
        The domains of the sample, with all their fields, in the order of the layouts. The fields of a domain are either
        all in memory, or all `SourceRows`.

    Raises
    ------
    SampleDataError
        A field is unknown, a domain has only some of its fields, a shape or dtype is wrong, a field has no points, the
        fields of a domain have different numbers of points, or an array cannot be read.
    """
    known = {field for layout in layouts.values() for field in layout.arrays}
    for field in field_arrays:
        if field not in known:
            raise SampleDataError(f"sample {sample_id!r}: unknown field {field!r}; {nearest_names(field, known)}")
    domains = {
        domain: _check_domain(sample_id, domain, field_arrays, layout)
        for domain, layout in layouts.items()
        if layout.arrays.keys() & field_arrays.keys()
    }
    if not domains:
        raise SampleDataError(
            f"sample {sample_id!r}: it has no field; pass all fields of at least one domain of {', '.join(layouts)}"
        )
    return _loaded_if_small(sample_id, domains)


def fits_in_memory(n_bytes: int, most_points: int) -> bool:
    """Return whether a sample that is not in memory is small enough to be loaded, with its permutation.

    Parameters
    ----------
    n_bytes : int
        Number of bytes of all fields, in the dtypes of the source.
    most_points : int
        Number of points of the largest domain, for the permutation.
    """
    return n_bytes + most_points * PERMUTATION_BYTES <= _LOADED_BYTES


def _check_domain(
    sample_id: str, domain: str, field_arrays: Mapping[str, Any], layout: DomainLayout
) -> list[FieldValues]:
    missing = [field for field in layout.arrays if field not in field_arrays]
    if missing:
        raise SampleDataError(
            f"sample {sample_id!r}: domain {domain!r} lacks {', '.join(missing)}, but needs all its fields; add the "
            "missing fields, or leave out the whole domain"
        )
    values = [(array, _check_field(sample_id, array, field_arrays[field])) for field, array in layout.arrays.items()]
    counts = {array.field: rows.shape[0] for array, rows in values}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{field} {count:,}" for field, count in counts.items())
        raise SampleDataError(
            f"sample {sample_id!r}: the fields of domain {domain!r} have different numbers of points ({shown}); pass "
            "one row per point in each field, in the same order"
        )
    return values


def _check_field(sample_id: str, layout: ArrayLayout, given: Any) -> NDArray[Any] | SourceRows:
    where = _where(sample_id, layout)
    if np.ma.is_masked(given):
        masked = np.count_nonzero(np.ma.getmaskarray(given))
        raise SampleDataError(
            f"{where}: expected values at all points, got {masked:,} of {given.size:,} masked, and a store has no "
            "mask; fill the masked values first, for example with array.filled(...)"
        )
    source = SourceRows.of(given, where)
    values = source or _as_array(where, given)
    if isinstance(values, np.ndarray):
        values = SourceRows.of_mapped(values, where) or values
    if values.dtype.kind not in "iuf":
        raise SampleDataError(
            f"{where}: expected an integer or floating dtype, got {values.dtype}; convert it to float32 first"
        )
    if values.shape[1:] != (layout.dim,) and not (layout.dim == 1 and len(values.shape) == 1):
        expected = f"(n_points, {layout.dim})" + (" or (n_points,)" if layout.dim == 1 else "")
        raise SampleDataError(f"{where}: expected shape {expected}, got {values.shape}; reshape the array")
    if not values.shape[0]:
        raise SampleDataError(f"{where}: it has no points; leave out the empty domain")
    return values if isinstance(values, SourceRows) else values.reshape(len(values), layout.dim)


def _loaded_if_small(sample_id: str, domains: dict[str, list[FieldValues]]) -> dict[str, list[FieldValues]]:
    """Load arrays that are not in memory if the sample is small; else return all fields of their domains unread."""
    values = [rows for domain in domains.values() for _, rows in domain]
    n_bytes = sum(prod(rows.shape) * rows.dtype.itemsize for rows in values)
    is_small = fits_in_memory(n_bytes, max(rows.shape[0] for rows in values))
    found = {}
    for domain, fields in domains.items():
        if not any(isinstance(rows, SourceRows) for _, rows in fields):
            found[domain] = fields
        elif is_small:
            found[domain] = [(layout, rows.load() if isinstance(rows, SourceRows) else rows) for layout, rows in fields]
        else:  # a single field in memory would need the permutation in memory too
            found[domain] = [
                (layout, rows if isinstance(rows, SourceRows) else SourceRows(rows, _where(sample_id, layout)))
                for layout, rows in fields
            ]
    return found


def _where(sample_id: str, layout: ArrayLayout) -> str:
    return f"sample {sample_id!r}, field {layout.field}"


def _as_array(where: str, given: Any) -> NDArray[Any]:
    try:
        return np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SampleDataError(
            f"{where}: {type(given).__name__} cannot be read as an array ({error}); pass a NumPy array, a CPU tensor "
            "without gradient, or an object that returns an array for a slice, such as an HDF5 or Zarr array"
        ) from error


def check_attributes(sample_id: str, attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the attributes of a sample as plain JSON values.

    NumPy scalars, arrays and tensors become numbers and nested lists.

    Raises
    ------
    SampleDataError
        A key is not a str; a value cannot be written as JSON, such as NaN; the attributes have more than 65,536 values;
        or lists and dicts are nested more than 100 levels deep.
    """
    n_values = 0
    plain: dict[str, Any] = {}
    for key, value in (attributes or {}).items():
        if not isinstance(key, str):
            raise SampleDataError(
                f"sample {sample_id!r}, attribute {key!r}: expected a str as key, got {type(key).__name__}"
            )
        try:
            n_values += _count_values(value, _MAX_ATTRIBUTE_VALUES - n_values)
            text = json.dumps({key: value}, default=_to_plain, allow_nan=False, ensure_ascii=False)
            # `json` accepts a lone surrogate, but UTF-8 cannot encode it.
            plain |= parse_document(text.encode())
        except (TypeError, ValueError, RecursionError) as error:
            raise SampleDataError(
                f"sample {sample_id!r}, attribute {key!r}: it cannot be written as JSON ({error}); use finite numbers, "
                "strings, booleans, None, and lists or dicts of these"
            ) from error
    return plain


def _count_values(value: Any, limit: int) -> int:
    """Return the number of values in an attribute; `ValueError` if there are too many, or they are nested too deep.

    A list can hold the same list many times, so few objects can make many values.
    """
    n_values = 0
    inside: list[tuple[Any, int]] = [(value, 0)]
    while inside:
        one, depth = inside.pop()
        n_values += one.size if isinstance(one, np.ndarray) else 1
        if n_values + len(inside) > limit:
            raise ValueError(f"more than {_MAX_ATTRIBUTE_VALUES:,} values in all attributes; store arrays as fields")
        if depth > _MAX_ATTRIBUTE_DEPTH:
            raise ValueError(f"it is nested more than {_MAX_ATTRIBUTE_DEPTH} levels deep")
        if isinstance(one, Mapping):
            inside += [(item, depth + 1) for item in one.values()]
        elif isinstance(one, list | tuple):
            inside += [(item, depth + 1) for item in one]
    return n_values


def _to_plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not a JSON value")
