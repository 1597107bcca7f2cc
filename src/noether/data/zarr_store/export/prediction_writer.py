"""Predictions that come batch by batch: they wait on disk, and are exported when every row is there."""

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
    """Exports predictions of a sample that come batch by batch onto the mesh that the sample was made from.

    It is a context manager: the file is written when the block ends. After an exception nothing is written or left.

    Parameters
    ----------
    store_root : str or path
        Path or URL of the store.
    sample_id : str
        Which sample.
    target : str or path
        The file to write, as in `export_sample`.
    onto, parts, association, fields, check_positions, overwrite, storage_options
        As in `export_sample`.
    domain : str, optional
        Which domain the predictions are of; without it, the one that fits the mesh, or the only one of the sample.

    Attributes
    ----------
    domain : str
        The domain of the predictions.
    n_points : int
        Its points.

    Raises
    ------
    StoreError
        As in `export_sample`: the mesh is read and compared at once, so that no model has to run for a wrong one.

    Notes
    -----
    Predictions wait in a temporary file for each array, not in memory. It lies beside the target, where the export
    needs as much room in any case; the system's directory for temporary files is often small, or memory. It is removed
    in every case; on Linux it has no name, so that not even a kill leaves it.

    While batches are added, memory holds one of them. The export itself takes more: the mesh, which is read again, the
    order of the points (8 bytes a point) and the arrays. So does the comparison with the mesh at the beginning.

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
        # This reads nothing; it raises where the order of the source is not known.
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
        """The export that was made; `ArgumentError` before the end of the block and after an exception."""
        if self._export is None:
            raise ArgumentError(f"{self._where}: nothing was exported yet; the file is written when the block ends")
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
        """Add the predictions of some rows; rows may come in any order, but each of them once.

        Parameters
        ----------
        rows : SampleBatch, range or (start, stop)
            The *stored* rows that the predictions are of.
        predictions : mapping of str to array
            Arrays or tensors by name, of shape ``(len(rows),)`` or ``(len(rows), width)``, on any device. All batches
            of a name have the same dtype and width.

        Raises
        ------
        ArgumentError
            Rows are not rows of the domain, or were given before; or an array is of another form.
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
                    f"for rows {first} to {stop}, got {array.shape}; pass the values of these rows alone"
                )
            self._array(name, array, where).put(first, array)

    @property
    def _where(self) -> str:
        return f"sample {self._sample_id!r}"

    def _bounds(self, rows: Rows) -> tuple[int, int]:
        """Return first row and stop of what a caller names."""
        if isinstance(rows, SampleBatch):
            if (rows.sample_id, rows.domain) != (self._sample_id, self.domain):
                raise ArgumentError(
                    f"{self._where}: expected batches of its {self.domain}, got one of sample {rows.sample_id!r}, "
                    f"{rows.domain}; make a writer for each sample and domain, and name the fields of one domain in "
                    "iter_sample"
                )
            rows = rows.rows
        if isinstance(rows, range) and rows.step == 1:
            rows = rows.start, rows.stop
        if not isinstance(rows, tuple) or len(rows) != 2:
            raise ArgumentError(
                f"{self._where}: rows: expected a batch of iter_sample, a range of step 1 or (start, stop), got "
                f"{rows!r}"
            )
        first, stop = (whole_number(row, f"{self._where}: rows") for row in rows)
        if not first < stop <= self.n_points:
            raise ArgumentError(
                f"{self._where}: rows: expected rows of the {self.n_points} of {self.domain}, got {first} to {stop}; "
                "pass stored rows, such as those of a batch"
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
            raise ArgumentError(f"{self._where}: no predictions were added; call add for each batch")
        predictions = {name: array.whole() for name, array in self._arrays.items()}
        return export_sample(self._store_root, self._sample_id, self._path, predictions=predictions, **self._settings)


def _only_domain(content: Content) -> str:
    """Return the domain of an export without a mesh."""
    domains = list(content.domains_with_all())
    if len(domains) > 1:
        raise ArgumentError(
            f"sample {content.sample_id!r} has the domains {', '.join(domains)}; say which one the predictions are of "
            "with domain"
        )
    return domains[0]


def _existing_parent(path: Path) -> Path:
    """Return the directory of a file, or the nearest one above it that is there: the same disk, as a rule."""
    return next(parent for parent in path.resolve().parents if parent.is_dir())


@dataclass(slots=True)
class _ArrayOnDisk:
    """Rows of one array, in a temporary file; each row is put there once.

    Attributes
    ----------
    where : str
        Names sample and array, to begin an error with.
    directory : path
        Where the file lies.
    shape : tuple of int
        Of the whole array.
    dtype : numpy.dtype
        Of all rows.
    file : file
        Has the rows at their places.
    given : list of int
        Start and stop of the runs of rows that are there, in ascending order; runs do not touch each other.
    """

    where: str
    directory: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    file: IO[bytes]
    given: list[int] = field(default_factory=list)

    @classmethod
    def like(cls, rows: NDArray[Any], n_points: int, where: str, directory: Path) -> Self:
        """Make the file of an array of `n_points` rows like these."""
        try:
            file = tempfile.TemporaryFile(dir=directory, prefix=".noether-predictions-")  # noqa: SIM115  # `close` does
        except OSError as error:
            raise _cannot_write(where, directory, error) from error
        return cls(where, directory, (n_points, *rows.shape[1:]), rows.dtype, file)

    def put(self, first: int, rows: NDArray[Any]) -> None:
        """Write rows that were not given before."""
        if (rows.dtype, rows.shape[1:]) != (self.dtype, self.shape[1:]):
            expected, got = (
                f"{dtype} of shape (n, {shape[1]})" if shape[1:] else f"{dtype} of shape (n,)"
                for dtype, shape in ((self.dtype, self.shape), (rows.dtype, rows.shape))
            )
            raise ArgumentError(
                f"{self.where}: expected {expected}, as in the batches before, got {got}; give all batches alike"
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
        """Return where rows go in the list of those that are given; `ArgumentError` where some of them are in it."""
        given = self.given
        begin, end = bisect_right(given, first), bisect_left(given, stop)
        if begin % 2 or begin != end:
            row = first if begin % 2 else given[begin]
            raise ArgumentError(
                f"{self.where}: expected each row once, got rows {first} to {stop}, and row {row} was given before; "
                "add every batch once"
            )
        return begin

    def _mark(self, first: int, stop: int, place: int) -> None:
        """Note that rows are given, as a run of their own or with the runs that they touch."""
        begin, end, new = place, place, [first, stop]
        if begin and self.given[begin - 1] == first:
            begin, new = begin - 1, new[1:]
        if end < len(self.given) and self.given[end] == stop:
            end, new = end + 1, new[:-1]
        self.given[begin:end] = new

    def whole(self) -> NDArray[Any]:
        """Return all rows, mapped from the file; `ArgumentError` where some are missing."""
        n_points = self.shape[0]
        if self.given != [0, n_points]:
            n_given = sum(self.given[1::2]) - sum(self.given[::2])
            first = self.given[1] if self.given and not self.given[0] else 0
            stop = next((row for row in self.given if row > first), n_points)
            raise ArgumentError(
                f"{self.where}: expected all {n_points} rows, got {n_given}; the first ones that are missing are rows "
                f"{first} to {stop}: add their batches as well"
            )
        return np.memmap(self.file, self.dtype, "r", shape=self.shape)

    def close(self) -> None:
        """Remove the file."""
        # What a full disk keeps from being written is not needed any more.
        with suppress(OSError):
            self.file.close()


def _cannot_write(where: str, directory: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{where}: cannot write a temporary file in {directory} ({error.strerror or error}); make room there, or write "
        "the target elsewhere"
    )
