"""What a file of a sample gives for the domains that lie in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.sources.byte_source import ByteSource
from noether.data.zarr_store.sources.mapping import Association, DomainMapping, step_of
from noether.data.zarr_store.sources.patterns import PathPattern
from noether.data.zarr_store.sources.steps import Step

__all__ = ["DomainData", "SampleFile"]


@dataclass(frozen=True, slots=True)
class SampleFile:
    """One file of a sample, as a local file or as one that is open.

    Attributes
    ----------
    sample_id : str
        Which sample.
    key : str
        What the file is called, relative to the source's root.
    path : Path
        Where it lies now, or would if it were fetched; the suffix says its format.
    values : mapping of str to str
        What the placeholders of the mapping stand for.
    stream : binary file or None
        Where it is not fetched: the file, which can seek.
    n_pieces : int
        Pieces that it was published in; 0 where it was published whole.
    source : ByteSource or None
        Where it is not one file of this machine: its bytes.
    """

    sample_id: str
    key: str
    path: Path
    values: Mapping[str, str] = field(default_factory=dict)
    stream: BinaryIO | None = None
    n_pieces: int = 0
    source: ByteSource | None = None

    def open(self) -> BinaryIO:
        """Open it for reading."""
        return self.path.open("rb") if self.stream is None else self.stream

    def where(self, field_name: str | None = None) -> str:
        """Name sample, field and file, to begin an error with."""
        of_field = "" if field_name is None else f", field {field_name}"
        plural = "" if self.n_pieces == 1 else "s"
        joined = f" (joined from {self.n_pieces} piece{plural})" if self.n_pieces else ""
        return f"sample {self.sample_id!r}{of_field}: {self.key}{joined}"

    @property
    def way_out(self) -> str:
        """What to do where it cannot be read."""
        return "one piece may be missing: fetch all of them again" if self.n_pieces else "make the file again"

    def step(self, domain: DomainMapping) -> Step:
        """Return which time step a domain has here: where each step is a sample, the sample's."""
        return step_of(domain, self.values)

    def group(self, pattern: str) -> str:
        """Return the group that a pattern stands for here."""
        return PathPattern.parse(pattern).fill(self.values)


@dataclass(frozen=True, slots=True)
class DomainData:
    """One domain of a sample, as its file has it.

    Attributes
    ----------
    fields : dict of str to array-like
        By the name of the field in the mapping, ``position`` among them; shape ``(n_points, width)`` or
        ``(n_points,)``.
    rows : ndarray of bool, or None
        Which of the file's points the domain has; None is all. It tells how to cut fields that lie in other files.
    triangles : callable, or None
        Gives the corners of its faces, split into triangles, shape ``(n_triangles, 3, 3)``; None where its cells are
        no faces, or there are none.
    association : {"cell", "point"} or None
        Whether its points are the cells or the points of a mesh; None without a mesh.
    """

    fields: dict[str, Any]
    rows: NDArray[np.bool_] | None = None
    triangles: Callable[[], NDArray[Any]] | None = None
    association: Association | None = None
