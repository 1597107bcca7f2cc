"""Fields of a store that are computed from its other fields."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from numpy.typing import DTypeLike, NDArray

from noether.data.schemas import FileMap, extended_filemap, split_attribute
from noether.data.zarr_store.convert.adding import AdditionReport, run_addition
from noether.data.zarr_store.convert.additions import added, lacking_fields
from noether.data.zarr_store.convert.field_writers import open_field_writer
from noether.data.zarr_store.convert.report import SampleResult
from noether.data.zarr_store.convert.selection import choose_samples
from noether.data.zarr_store.core import positive_int
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.layout import CANONICAL_TO_SPEC, FieldSpec, require_domain, require_fields
from noether.data.zarr_store.manifest import StoreManifest, require_joined
from noether.data.zarr_store.reader import ZarrChunkReader
from noether.data.zarr_store.stores import normalize_root
from noether.data.zarr_store.writer import ZarrStoreWriter
from noether.data.zarr_store.writing import NonFinite

__all__ = ["FieldFunction", "map_fields"]

FieldFunction = Callable[[dict[str, NDArray[Any]], dict[str, Any]], Any]
"""Function of the fields of a sample, by canonical name, and its attributes; it returns the values of a new field."""


def map_fields(
    store_root: str | os.PathLike[str],
    function: FieldFunction,
    *,
    reads: Iterable[str],
    writes: str,
    width: int | None = None,
    dtype: DTypeLike | None = None,
    read_dtype: DTypeLike | Mapping[str, DTypeLike] = "float32",
    units: str | None = None,
    long_name: str | None = None,
    workers: int = 0,
    timeout: float | None = None,
    executor: Executor | None = None,
    limit: int | None = None,
    part: tuple[int, int] | None = None,
    non_finite: NonFinite = "raise",
    on_result: Callable[[SampleResult], None] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> AdditionReport:
    """Compute a field from other fields, and add it to all samples of a store.

    Samples that have the field are skipped, so that the same call resumes after an interruption. Failures, worker
    processes and the report are handled as in `add_fields`.

    Parameters
    ----------
    store_root : str or path
        Local path or URL of the store.
    function : callable
        ``function(fields, attributes)`` is called for each sample. `fields` holds the arrays of `reads` by canonical
        name: all points of their domain in stored order, shape ``(n_points,)`` for scalars and ``(n_points, width)``
        otherwise. `attributes` holds the attributes of the sample. The function returns the values of the new field
        for all points of its domain, in the same order. The stored order is random, so the function must not use it.
        For worker processes, the function must be defined at the top of a module.
    reads : iterable of str
        Canonical names of the fields that the function takes. Positions are relative to the origin of the store, if it
        has one.
    writes : str
        Canonical name of the new field, ``<domain>_<name>``, such as ``"volume_cp"``.
    width : int, optional
        Number of components of the field. The default is the width of the `FileMap` field of this name, or 1.
    dtype : dtype-like, optional
        Stored dtype of the field. The default is the store's dtype for values.
    read_dtype : dtype-like, or mapping of str to dtype-like
        Dtype of `fields`; see `dtype` of `ZarrChunkReader.read_arrays`.
    units, long_name : str, optional
        Unit and description of the field; see `field_attributes` of `ZarrStoreWriter`.
    workers, timeout, executor, part, on_result
        See `convert`.
    limit : int, optional
        Largest number of samples to visit: the first ones that have the domain.
    non_finite, storage_options
        See `ZarrStoreWriter`.

    Returns
    -------
    AdditionReport
        The outcome of each sample, and the state of the field.

    Raises
    ------
    ArgumentError
        A parameter is out of its range, the samples were converted with the field `writes`, or `function` cannot be
        sent to worker processes.
    UnknownNameError
        The store lacks the domain or one of the fields in `reads`, or some samples lack one of these fields.
    ManifestError
        There is no store.
    ManifestConflictError
        The store knows the field with another dtype or width.
    OriginalOrderError
        The store holds a subset of the points, or was shuffled by another program.
    WorkerError
        No worker process can be started.
    StorageError
        The store cannot be reached, or the manifest, the report or the chunk index cannot be saved.
    """
    root = normalize_root(store_root)
    manifest = StoreManifest.load(root, storage_options=storage_options)
    names = _checked_reads(reads, manifest)
    spec = _spec_of(writes, width, manifest)
    if workers or not isinstance(executor, ThreadPoolExecutor | None):
        _require_picklable(function)
    said = {key: value for key, value in (("units", units), ("long_name", long_name)) if value is not None}
    writer = open_field_writer(
        root,
        _filemap_of(spec, manifest, names),
        fields=[spec.field],
        field_dtypes=None if dtype is None else {spec.field: dtype},
        non_finite=non_finite,
        storage_options=storage_options,
        field_attributes={spec.field: said} if said else None,
    )
    having = [one for one, entry in writer.manifest.samples.items() if spec.domain in entry.domains]
    sample_ids = choose_samples(having, writer, mode="resume", limit=limit, part=part, kind="map-fields")
    name = getattr(function, "__qualname__", type(function).__qualname__)
    called = {"function": name, "reads": list(names), "writes": spec.field}
    return run_addition(
        Computation(function, names, spec.field, spec.domain, read_dtype),
        writer,
        sample_ids,
        [spec.field],
        "map-fields",
        called | {"limit": limit, "part": part and f"{part[0]}/{part[1]}"},
        workers=workers,
        timeout=timeout,
        executor=executor,
        on_result=on_result,
    )


@dataclass(frozen=True, slots=True)
class Computation:
    """Adds a computed field to samples that lack it; see `SampleWork`, and `map_fields` for the attributes."""

    function: FieldFunction
    reads: tuple[str, ...]
    field: str
    domain: str
    dtype: Any

    def do(self, writer: ZarrStoreWriter, sample_id: str) -> SampleResult:
        """Read fields of a sample, call the function, and add the values that it returns."""
        entry = writer.entry_of_group(sample_id)
        if not lacking_fields(entry, {self.field: self.domain}):
            return SampleResult(sample_id, "skipped", entry)
        reader = ZarrChunkReader(writer.store_root, writer.manifest, storage_options=writer.settings.storage_options)
        fields = reader.read_arrays(sample_id, fields=self.reads, dtype=self.dtype)
        values = self.function(fields, dict(entry.attributes))
        return added(writer, sample_id, {self.field: values}, order="stored")


def _checked_reads(reads: Iterable[str], manifest: StoreManifest) -> tuple[str, ...]:
    if isinstance(reads, str):
        raise ArgumentError(f"reads: expected a list of names, got the str {reads!r}; write [{reads!r}]")
    names = tuple(dict.fromkeys(reads))
    if not names:
        raise ArgumentError("reads: expected at least one field, got none; name the fields that the function takes")
    require_joined(manifest, names)
    require_fields(names, manifest.domains)
    return names


def _spec_of(writes: str, width: int | None, manifest: StoreManifest) -> FieldSpec:
    """Return the specification of the new field."""
    known = CANONICAL_TO_SPEC.get(writes)
    if known is not None:
        require_domain(known.domain, manifest.domains)
        if width not in (None, known.width):
            raise ArgumentError(f"width: expected {known.width}, the width of {writes}, got {width}; leave width out")
        return known
    domain, name = split_attribute(writes)
    if not domain or not name:
        raise ArgumentError(
            f"writes: expected a name of the form <domain>_<name>, got {writes!r}; use a name such as volume_cp"
        )
    longer = [one for one in manifest.domains if writes.startswith(f"{one}_") and one != domain and "_" in one]
    if longer:
        raise ArgumentError(
            f"writes: expected a field of FileMap for the domain {longer[0]!r}, whose name contains '_', got "
            f"{writes!r}, which would be a field of the domain {domain!r}; use a field name of FileMap"
        )
    require_domain(domain, manifest.domains)
    return FieldSpec(writes, writes, domain, name, 1 if width is None else positive_int(width, "width"))


def _filemap_of(spec: FieldSpec, manifest: StoreManifest, reads: Iterable[str]) -> FileMap:
    """Return a file map of the computed field and of the position of its domain."""
    position = manifest.domains[spec.domain].position
    widths = {spec.field: spec.width, position: manifest.domains[spec.domain].arrays[position].dim}
    attributes = {
        field: CANONICAL_TO_SPEC[field].attribute if field in CANONICAL_TO_SPEC else field for field in widths
    }
    files = {attributes[position]: position, attributes[spec.field]: f"of {', '.join(reads)}"}
    own = {attributes[field]: width for field, width in widths.items() if field not in CANONICAL_TO_SPEC}
    return extended_filemap(files, own) if own else FileMap(**files)


def _require_picklable(function: FieldFunction) -> None:
    try:
        pickle.dumps(function)
    except Exception as error:
        raise ArgumentError(
            f"function: {function!r} cannot be sent to worker processes ({error}); write it as a function at the top "
            "of a module, or use workers=0"
        ) from error
