"""One file of a sample, and the data of one domain that was read from a file."""

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
    """One file of a sample: a local file, or an open one.

    Attributes
    ----------
    sample_id : str
        Id of the sample.
    key : str
        Name of the file, relative to the source's root.
    path : Path
        Local path of the file. If the file is not fetched, only the suffix is used: it determines the format.
    values : mapping of str to str
        Values of the mapping's placeholders for this sample.
    stream : binary file or None
        The open, seekable file if it is read without being fetched.
    n_pieces : int
        Number of pieces in which the file was published; 0 if it was published whole.
    source : ByteSource or None
        Bytes of the file if it is in object storage or in pieces, and not fetched.
    """

    sample_id: str
    key: str
    path: Path
    values: Mapping[str, str] = field(default_factory=dict)
    stream: BinaryIO | None = None
    n_pieces: int = 0
    source: ByteSource | None = None

    def open(self) -> BinaryIO:
        """Open the file for reading."""
        return self.path.open("rb") if self.stream is None else self.stream

    def where(self, field_name: str | None = None) -> str:
        """Return sample, field and file, as the start of an error message."""
        of_field = "" if field_name is None else f", field {field_name}"
        plural = "" if self.n_pieces == 1 else "s"
        joined = f" (joined from {self.n_pieces} piece{plural})" if self.n_pieces else ""
        return f"sample {self.sample_id!r}{of_field}: {self.key}{joined}"

    @property
    def way_out(self) -> str:
        """Remedy for error messages about a file that cannot be read."""
        return "one piece may be missing: fetch all of them again" if self.n_pieces else "make the file again"

    def step(self, domain: DomainMapping) -> Step:
        """Return the time step of a domain; if each step is a sample, the step of this sample."""
        return step_of(domain, self.values)

    def group(self, pattern: str) -> str:
        """Return the path of the HDF5 group that a pattern names in this sample."""
        return PathPattern.parse(pattern).fill(self.values)


@dataclass(frozen=True, slots=True)
class DomainData:
    """Data of one domain of a sample, read from its file.

    Attributes
    ----------
    fields : dict of str to array-like
        Arrays by name of the field in the mapping, including ``position``; shape ``(n_points, width)`` or
        ``(n_points,)``.
    rows : ndarray of bool, or None
        Mask of the file's points that belong to the domain; None if all do. It also applies to fields in other files.
    triangles : callable, or None
        Returns the corners of the domain's faces, split into triangles, shape ``(n_triangles, 3, 3)``; None if its
        cells are not faces, or it has no cells.
    association : {"cell", "point"} or None
        Whether the domain's points are the cells or the points of a mesh; None without a mesh.
    """

    fields: dict[str, Any]
    rows: NDArray[np.bool_] | None = None
    triangles: Callable[[], NDArray[Any]] | None = None
    association: Association | None = None
