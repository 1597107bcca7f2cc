"""The protocols of a source: the methods that a conversion calls."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from noether.data.schemas import FileMap

__all__ = [
    "AnnotatedSource",
    "DescribedSource",
    "FieldDescription",
    "FingerprintedSource",
    "SampleSource",
    "SelectiveSource",
    "SourceSample",
    "field_attributes_of",
    "fingerprint_of",
]


@dataclass(frozen=True, slots=True)
class SourceSample:
    """One sample, loaded from its source.

    Attributes
    ----------
    fields : dict of str to ndarray
        Arrays by canonical field name. Rows are in the source's order of points.
    attributes : dict
        Attributes of the sample, such as design parameters.
    associations : dict of str to {"cell", "point"}
        Kind of the points of each domain: the cells or the points of a mesh. Domains without a mesh are left out.
    """

    fields: dict[str, NDArray[Any]]
    attributes: dict[str, Any] = field(default_factory=dict)
    associations: dict[str, Literal["cell", "point"]] = field(default_factory=dict)


class SampleSource(Protocol):
    """A source of samples to convert. It can be pickled: each worker process has its own copy."""

    filemap: FileMap
    """Fields of the samples."""

    notices: list[str]
    """Notices for the user: the fields that are left out, and why."""

    def sample_ids(self) -> list[str]:
        """Return the sample ids, in an order that does not change."""

    def load(self, sample_id: str) -> SourceSample:
        """Load one sample. Raises `SourceError` if its files are missing or damaged."""


@runtime_checkable
class FingerprintedSource(Protocol):
    """A `SampleSource` that detects changed samples. Samples of other sources count as unchanged."""

    def fingerprint(self, sample_id: str) -> str:
        """Return a text that changes when the files of a sample change, or the settings for reading them.

        Loads no data. Raises `SourceError` if the source has no such sample.
        """


@dataclass(frozen=True, slots=True)
class FieldDescription:
    """Shape, dtype and memory needs of a field, without its values.

    Attributes
    ----------
    shape : tuple of int
        ``(n_points, width)``, or ``(n_points,)``.
    dtype : numpy.dtype
        Dtype of the array that `SampleSource.load` returns.
    in_memory : bool
        Whether `SampleSource.load` reads the field into memory.
    loading_bytes : int
        Memory that reading the field needs in addition to the values.
    scratch_bytes : int
        Size of the temporary files that reading the field needs.
    association : {"cell", "point"} or None
        Whether the field's points are the cells or the points of a mesh; None without a mesh.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    in_memory: bool = True
    loading_bytes: int = 0
    scratch_bytes: int = 0
    association: Literal["cell", "point"] | None = None

    @property
    def n_bytes(self) -> int:
        """Size of the values in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


@runtime_checkable
class DescribedSource(Protocol):
    """A `SampleSource` that returns the size of a sample without loading it."""

    def describe(self, sample_id: str) -> dict[str, FieldDescription] | None:
        """Describe the fields that `load` would return, by canonical name, from the headers of the files.

        Returns None if only loading shows the shapes. A conversion then loads one sample instead, and describes none.
        Raises `SourceError` if files are missing or damaged.
        """


@runtime_checkable
class SelectiveSource(Protocol):
    """A `SampleSource` that can load a subset of its fields."""

    def only(self, fields: Collection[str]) -> SampleSource:
        """Return a source of some fields (canonical names) and of the positions of their domains."""


@runtime_checkable
class AnnotatedSource(Protocol):
    """A `SampleSource` that knows units and long names of its fields."""

    field_attributes: Mapping[str, Mapping[str, str]]
    """Known ``units`` and ``long_name`` by canonical field name."""


def field_attributes_of(source: SampleSource) -> dict[str, dict[str, str]]:
    """Return the known units and long names of the fields of a source."""
    if not isinstance(source, AnnotatedSource):
        return {}
    return {field: dict(attributes) for field, attributes in source.field_attributes.items()}


def fingerprint_of(*values: object) -> str:
    """Return a short hash of values that can be written as JSON."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]
