"""The dtype of each field that a read returns. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from noether.data.zarr_store.errors import UnknownNameError, nearest_names
from noether.data.zarr_store.layout import DomainLayout, stored_dtype
from noether.data.zarr_store.reading.readable import ReadableArray

__all__ = ["ResultDtype", "ResultDtypes"]

ResultDtype: TypeAlias = DTypeLike | Mapping[str, DTypeLike] | None

_DEFAULT = np.dtype(np.float32)


@dataclass(frozen=True, slots=True)
class ResultDtypes:
    """The dtype of each field that a read returns.

    Attributes
    ----------
    default : numpy.dtype or None
        Dtype of the fields that are not in `by_field`; None keeps the stored dtype.
    by_field : dict of str to numpy.dtype
        Dtypes by canonical field name.
    """

    default: np.dtype[Any] | None = None
    by_field: Mapping[str, np.dtype[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, dtype: ResultDtype, domains: Mapping[str, DomainLayout]) -> ResultDtypes:
        """Return the dtypes that a caller requests.

        Parameters
        ----------
        dtype : dtype-like, mapping of str to dtype-like, or None
            A floating dtype of all fields; or floating dtypes by canonical field name, with float32 for all other
            fields. None keeps the stored dtypes.
        domains : mapping of str to DomainLayout
            The domains of the store.

        Raises
        ------
        ArgumentError
            A dtype is not a floating dtype.
        UnknownNameError
            `dtype` names a field that is not in the store.
        """
        if dtype is None:
            return cls(None)
        if isinstance(dtype, str) and dtype == "float32":  # in nearly every read; NumPy's lookup of the name is slower
            return _ALL_FLOAT32
        if not isinstance(dtype, Mapping):
            return cls(np.dtype(stored_dtype(dtype, "dtype")))
        by_field: Mapping[str, Any] = dtype
        known = {name for layout in domains.values() for name in layout.arrays}
        for name in by_field:
            if name not in known:
                raise UnknownNameError(f"dtype: field {name!r} is not in the store; {nearest_names(name, known)}")
        return cls(_DEFAULT, {name: np.dtype(stored_dtype(one, f"dtype[{name!r}]")) for name, one in by_field.items()})

    def of_field(self, name: str, array: ReadableArray[Any]) -> np.dtype[Any]:
        """Return the dtype of one field, which `array` reads."""
        dtype = self.by_field.get(name, self.default)
        return array.dtype if dtype is None else dtype


_ALL_FLOAT32 = ResultDtypes(_DEFAULT)
