"""Export of predictions that come batch by batch: they are collected on disk, and exported when all rows are there."""

from __future__ import annotations

import os
import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.core import whole_number
from noether.data.zarr_store.errors import ArgumentError, StorageError, require_one_of
from noether.data.zarr_store.export.content import Content, as_numbers, check_no_field
from noether.data.zarr_store.export.files import check_target
from noether.data.zarr_store.export.meshes import ASSOCIATIONS, Association
from noether.data.zarr_store.export.sample_export import Export, check_names, export_sample, fit_mesh
from noether.data.zarr_store.reader import SampleBatch, ZarrChunkReader

__all__ = ["PredictionWriter"]

Rows: TypeAlias = SampleBatch | range | tuple[int, int]


class PredictionWriter:
    """Collects predictions of a sample batch by batch, and exports them onto the mesh that the sample was made from.

    The writer is a context manager: the file is written when the block ends. After an exception, nothing is written,
    and no temporary file is left.

    Parameters
    ----------
    store_root : str or path
        Path or URL of the store.
    sample_id : str
        Id of the sample.
    target : str or path
        The file to write, as in `export_sample`.
    onto, parts, association, fields, check_positions, overwrite, storage_options
        As in `export_sample`.
    domain : str, optional
        Domain of the predictions. The default is the domain that fits the mesh, or the only domain of the sample.

    Attributes
    ----------
    domain : str
        Domain of the predictions.
    n_points : int
        Number of points of the domain.

    Raises
    ------
    StoreError
        As in `export_sample`. The mesh is read and compared at once, so that no model runs for a wrong mesh.

    Notes
    -----
    Predictions are kept in one temporary file per array, not in memory. The files lie beside the target, where the
    export needs this space in any case; the system's directory for temporary files is often small, or in memory. The
    files are always removed. On Linux they have no name, so that not even a kill leaves them.

    While batches are added, memory holds one batch. The export itself needs more memory: for the mesh, which is read
    again, for the order of the points (8 bytes per point), and for the arrays. The comparison with the mesh at the
    beginning needs memory for the mesh, too.

    Examples
    --------
    >>> with PredictionWriter("store", "run_1", "pred.vtp", onto="surface.vtp") as writer:  # doctest: +SKIP
    ...     for batch in reader.iter_sample("run_1", 65536, fields=["surface_position"]):
    ...         writer.add(batch, {"predicted_pressure": model(batch.tensors())})
    """

    def __init__(
        self,
        store_root: str | os.PathLike[str],
        sample_id: str,
        target: str | os.PathLike[str],
        *,
        onto: str | os.PathLike[str] | None = None,
        parts: Iterable[str] | None = None,
        domain: str | None = None,
        association: Association | None = None,
        fields: Iterable[str] | None = None,
        check_positions: bool = True,
        overwrite: bool = False,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        if association is not None:
            require_one_of("association", association, ASSOCIATIONS)
        path = check_target(target, onto, overwrite=overwrite)
        reader = ZarrChunkReader(store_root, storage_options=storage_options)
        fields = fields if fields is None or isinstance(fields, str) else tuple(fields)
        parts = None if parts is None else tuple(parts)
        content = Content.select(reader, sample_id, domain, fields or None, None)
        # Without fields, this reads nothing; it raises if the order of the source is unknown.
        reader.read_arrays(sample_id, fields=(), order="original")
        self._taken: dict[str, str] = {}
        if onto is None:
            domain = _only_domain(content)
        else:
            _, fit = fit_mesh(path, content, onto, parts, association, check_positions=check_positions)
            domain, association, self._taken = fit.domain, fit.association, fit.taken_names()
            check_names(fields or (), self._taken, association)
        self.domain, self.n_points = domain, content.n_points[domain]
        self._store_root, self._sample_id, self._path = store_root, sample_id, path
        self._fields = frozenset(fields or ())
        self._settings: dict[str, Any] = {
            "onto": onto,
            "parts": parts,
            "domain": domain,
            "association": association,
            "fields": fields,
            "check_positions": check_positions,
            "overwrite": overwrite,
            "storage_options": storage_options,
        }
        self._arrays: dict[str, _ArrayOnDisk] = {}
        self._is_open = False
        self._export: Export | None = None

    @property
    def export(self) -> Export:
        """The finished export; raises `ArgumentError` before the end of the block and after an exception."""
        if self._export is None:
            raise ArgumentError(f"{self._where}: nothing was exported yet; read export after the end of the with block")
        return self._export

    def __enter__(self) -> Self:
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_open = False
        try:
            if kind is None:
                self._export = self._write()
        finally:
            for array in self._arrays.values():
                array.close()
            self._arrays.clear()

    def add(self, rows: Rows, predictions: Mapping[str, Any]) -> None:
        """Add the predictions of some rows; rows may be added in any order, each row once.

        Parameters
        ----------
        rows : SampleBatch, range or (start, stop)
            The *stored* rows of the predictions.
        predictions : mapping of str to array
            Arrays or tensors by name, of shape ``(len(rows),)`` or ``(len(rows), width)``, on any device. All batches
            of a name have the same dtype and width.

        Raises
        ------
        ArgumentError
            Some rows are outside the domain, or were added before; or an array has a wrong shape or dtype.
        MeshError
            The mesh has an array of that name.
        StorageError
            The temporary file cannot be written.
        """
        if not self._is_open:
            raise ArgumentError(f"{self._where}: the writer is closed; add predictions within its with block")
        first, stop = self._bounds(rows)
        for name, values in predictions.items():
            where = f"{self._where}, prediction {name!r}"
            array = as_numbers(where, values)
            if array.ndim not in (1, 2) or len(array) != stop - first or 0 in array.shape:
                raise ArgumentError(
                    f"{where}: expected shape ({stop - first},) or ({stop - first}, width) "
                    f"for rows {first:,} to {stop:,}, got {array.shape}; pass only the values of these rows"
                )
            self._array(name, array, where).put(first, array)

    @property
    def _where(self) -> str:
        return f"sample {self._sample_id!r}"

    def _bounds(self, rows: Rows) -> tuple[int, int]:
        """Return the first row and the stop of the caller's rows."""
        if isinstance(rows, SampleBatch):
            if (rows.sample_id, rows.domain) != (self._sample_id, self.domain):
                raise ArgumentError(
                    f"{self._where}: expected batches of its domain {self.domain}, got a batch of sample "
                    f"{rows.sample_id!r}, domain {rows.domain}; use one writer per sample and domain, and pass the "
                    "fields of one domain to iter_sample"
                )
            rows = rows.rows
        if isinstance(rows, range) and rows.step == 1:
            rows = rows.start, rows.stop
        if not isinstance(rows, tuple) or len(rows) != 2:
            raise ArgumentError(
                f"{self._where}: rows: expected a batch of iter_sample, a range of step 1 or (start, stop), got "
                f"{rows!r}; pass contiguous rows"
            )
        first, stop = (whole_number(row, f"{self._where}: rows") for row in rows)
        if not first < stop <= self.n_points:
            raise ArgumentError(
                f"{self._where}: rows: expected rows from 0 to {self.n_points:,} of {self.domain}, got {first:,} to "
                f"{stop:,}; pass stored rows, such as the rows of a batch"
            )
        return first, stop

    def _array(self, name: str, rows: NDArray[Any], where: str) -> _ArrayOnDisk:
        array = self._arrays.get(name)
        if array is None:
            check_no_field(name, self._fields)
            check_names([name], self._taken, self._settings["association"])
            array = _ArrayOnDisk.like(rows, self.n_points, where, _existing_parent(self._path))
            self._arrays[name] = array
        return array

    def _write(self) -> Export:
        if not self._arrays:
            raise ArgumentError(f"{self._where}: no predictions were added; call add with each batch")
        predictions = {name: array.whole() for name, array in self._arrays.items()}
        return export_sample(self._store_root, self._sample_id, self._path, predictions=predictions, **self._settings)


def _only_domain(content: Content) -> str:
    """Return the domain of an export without a mesh."""
    domains = list(content.domains_with_all())
    if len(domains) > 1:
        raise ArgumentError(
            f"sample {content.sample_id!r}: expected one domain, got {', '.join(domains)}; set domain to the domain of "
            "the predictions"
        )
    return domains[0]


def _existing_parent(path: Path) -> Path:
    """Return the nearest existing parent directory of a file; it is on the same disk as a rule."""
    return next(parent for parent in path.resolve().parents if parent.is_dir())


@dataclass(slots=True)
class _ArrayOnDisk:
    """The rows of one array in a temporary file; each row is written once.

    Attributes
    ----------
    where : str
        Description of sample and array, for the beginning of an error.
    directory : path
        Directory of the file.
    shape : tuple of int
        Shape of the whole array.
    dtype : numpy.dtype
        Dtype of the array.
    file : file
        Temporary file with the rows at their offsets.
    given : list of int
        Start and stop of each interval of written rows, in ascending order; adjacent intervals are merged.
    """

    where: str
    directory: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    file: IO[bytes]
    given: list[int] = field(default_factory=list)

    @classmethod
    def like(cls, rows: NDArray[Any], n_points: int, where: str, directory: Path) -> Self:
        """Create the file of an array with `n_points` rows, and with the dtype and width of `rows`."""
        try:
            file = tempfile.TemporaryFile(dir=directory, prefix=".noether-predictions-")  # noqa: SIM115  # `close` does
        except OSError as error:
            raise _cannot_write(where, directory, error) from error
        return cls(where, directory, (n_points, *rows.shape[1:]), rows.dtype, file)

    def put(self, first: int, rows: NDArray[Any]) -> None:
        """Write rows that were not written before."""
        if (rows.dtype, rows.shape[1:]) != (self.dtype, self.shape[1:]):
            expected, got = (
                f"{dtype} of shape (n, {shape[1]})" if shape[1:] else f"{dtype} of shape (n,)"
                for dtype, shape in ((self.dtype, self.shape), (rows.dtype, rows.shape))
            )
            raise ArgumentError(
                f"{self.where}: expected {expected}, as in the batches before, got {got}; use one dtype and width for "
                "all batches"
            )
        place = self._place_of(first, first + len(rows))
        try:
            self.file.seek(first * self.dtype.itemsize * int(np.prod(self.shape[1:])))
            self.file.write(np.ascontiguousarray(rows).data)
            self.file.flush()
        except OSError as error:
            raise _cannot_write(self.where, self.directory, error) from error
        self._mark(first, first + len(rows), place)

    def _place_of(self, first: int, stop: int) -> int:
        """Return the index of new rows in `given`; raise `ArgumentError` if some of them were written before."""
        given = self.given
        begin, end = bisect_right(given, first), bisect_left(given, stop)
        if begin % 2 or begin != end:
            row = first if begin % 2 else given[begin]
            raise ArgumentError(
                f"{self.where}: expected each row once, got rows {first:,} to {stop:,}, and row {row:,} was added "
                "before; add every batch once"
            )
        return begin

    def _mark(self, first: int, stop: int, place: int) -> None:
        """Record rows as written, as a new interval or merged into the adjacent intervals."""
        begin, end, new = place, place, [first, stop]
        if begin and self.given[begin - 1] == first:
            begin, new = begin - 1, new[1:]
        if end < len(self.given) and self.given[end] == stop:
            end, new = end + 1, new[:-1]
        self.given[begin:end] = new

    def whole(self) -> NDArray[Any]:
        """Return all rows as a memory map of the file; raise `ArgumentError` if some rows are missing."""
        n_points = self.shape[0]
        if self.given != [0, n_points]:
            n_given = sum(self.given[1::2]) - sum(self.given[::2])
            first = self.given[1] if self.given and not self.given[0] else 0
            stop = next((row for row in self.given if row > first), n_points)
            raise ArgumentError(
                f"{self.where}: expected all {n_points:,} rows, got {n_given:,}, and the first missing rows are "
                f"{first:,} to {stop:,}; add the batches of all rows"
            )
        return np.memmap(self.file, self.dtype, "r", shape=self.shape)

    def close(self) -> None:
        """Remove the file."""
        # Buffered data that a full disk rejects are not needed any more.
        with suppress(OSError):
            self.file.close()


def _cannot_write(where: str, directory: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{where}: cannot write a temporary file in {directory} ({error.strerror or error}); make room there, or write "
        "the target elsewhere"
    )
