"""What a conversion asks of a source."""

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
    """One sample as its source has it.

    Attributes
    ----------
    fields : dict of str to ndarray
        By canonical field name, in the source's order of points.
    attributes : dict
        The sample's attributes, such as design parameters.
    associations : dict of str to {"cell", "point"}
        By domain, whether its points are the cells or the points of a mesh. Domains without a mesh are left out.
    """

    fields: dict[str, NDArray[Any]]
    attributes: dict[str, Any] = field(default_factory=dict)
    associations: dict[str, Literal["cell", "point"]] = field(default_factory=dict)


class SampleSource(Protocol):
    """Samples that can be converted. Can be pickled; each worker process has a copy of its own."""

    filemap: FileMap
    """The fields that the samples have."""

    notices: list[str]
    """What a user should know of the source: fields that are left out, and why."""

    def sample_ids(self) -> list[str]:
        """List the samples, in an order that does not change."""

    def load(self, sample_id: str) -> SourceSample:
        """Load one sample; `SourceError` where its files are missing or broken."""


@runtime_checkable
class FingerprintedSource(Protocol):
    """A `SampleSource` that can tell whether a sample has changed; that of one that cannot never has."""

    def fingerprint(self, sample_id: str) -> str:
        """Return a text that changes with the files of a sample, and with what is read from them.

        Loads nothing. `SourceError` where there is no such sample.
        """


@dataclass(frozen=True, slots=True)
class FieldDescription:
    """What a field is like, without its values.

    Attributes
    ----------
    shape : tuple of int
        ``(n_points, width)``, or ``(n_points,)``.
    dtype : numpy.dtype
        As `SampleSource.load` gives it.
    in_memory : bool
        Whether `SampleSource.load` reads it into memory.
    loading_bytes : int
        Memory that it takes beside the values while it is read.
    scratch_bytes : int
        Temporary files while it is read.
    association : {"cell", "point"} or None
        Whether its points are the cells or the points of a mesh; None without a mesh.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    in_memory: bool = True
    loading_bytes: int = 0
    scratch_bytes: int = 0
    association: Literal["cell", "point"] | None = None

    @property
    def n_bytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


@runtime_checkable
class DescribedSource(Protocol):
    """A `SampleSource` that can tell how large a sample is before it is loaded."""

    def describe(self, sample_id: str) -> dict[str, FieldDescription] | None:
        """Describe the fields that `load` would give, by canonical name, from the heads of files.

        None where only loading tells, of this sample and so of all. `SourceError` where files are missing or broken.
        """


@runtime_checkable
class SelectiveSource(Protocol):
    """A `SampleSource` that need not load all of its fields."""

    def only(self, fields: Collection[str]) -> SampleSource:
        """Return a source of some fields, by canonical name, and of the positions of their domains."""


@runtime_checkable
class AnnotatedSource(Protocol):
    """A `SampleSource` that tells what its fields mean."""

    field_attributes: Mapping[str, Mapping[str, str]]
    """By canonical name, the ``units`` and ``long_name`` of the fields of which they are known."""


def field_attributes_of(source: SampleSource) -> dict[str, dict[str, str]]:
    """Return units and long names of the fields of a source, as far as it tells them."""
    if not isinstance(source, AnnotatedSource):
        return {}
    return {field: dict(attributes) for field, attributes in source.field_attributes.items()}


def fingerprint_of(*parts: object) -> str:
    """Return a short text that differs where anything in `parts` does, which JSON can hold."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
