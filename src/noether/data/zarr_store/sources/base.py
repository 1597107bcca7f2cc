"""What a conversion asks of a source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from noether.data.schemas import FileMap

__all__ = ["SampleSource", "SourceSample"]


@dataclass(frozen=True, slots=True)
class SourceSample:
    """One sample as its source has it.

    Attributes
    ----------
    fields : dict of str to ndarray
        By canonical field name, in the source's order of points.
    attributes : dict
        The sample's attributes, such as design parameters.
    """

    fields: dict[str, NDArray[Any]]
    attributes: dict[str, Any] = field(default_factory=dict)


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
