"""Fields that are computed from other fields of a store."""

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
"""Takes the fields of a sample by canonical name, and its attributes; returns the values of another field."""


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
    """Add a field to all samples of a store that is computed from other fields of theirs.

    Samples that have the field are skipped, so that the same call goes on after an interruption. Failures, worker
    processes and the report are as in `add_fields`.

    Parameters
    ----------
    store_root : str or path
        Local path or URL of the store.
    function : callable
        ``function(fields, attributes)`` is called for each sample. `fields` has the arrays of `reads` by canonical
        name, shape ``(n_points,)`` for scalars and ``(n_points, width)`` otherwise: all points of a domain, in stored
        order. `attributes` are those of the sample. It returns the values of the new field for the points of its
        domain, in the same order. Rows lie in a random order, so that it must not use the order of the points. For
        worker processes it has to be a function at the top of a module.
    reads : iterable of str
        Canonical names of the fields that it takes. Positions are relative to the origin of the store, if it has one.
    writes : str
        Canonical name of the field that it makes, such as ``"volume_cp"``: the name of a domain, and one of its own.
    width : int, optional
        Components of the field; without it, those of the field of `FileMap` with this name, or 1.
    dtype : dtype-like, optional
        Stored dtype of the field; without it, the one that the store has for values.
    read_dtype : dtype-like, or mapping of str to dtype-like
        Dtype of `fields`; see `dtype` of `ZarrChunkReader.read_arrays`.
    units, long_name : str, optional
        What the field means; see `field_attributes` of `ZarrStoreWriter`.
    workers, timeout, executor, part, on_result
        See `convert`.
    limit : int, optional
        Take only the first so many of the samples that have the domain.
    non_finite, storage_options
        See `ZarrStoreWriter`.

    Returns
    -------
    AdditionReport
        What became of the samples and of the field.

    Raises
    ------
    ArgumentError
        A parameter is out of its range, the samples were converted with the field `writes`, or `function` cannot be
        sent to worker processes.
    UnknownNameError
        The store lacks the domain, or one of the fields that are read; or some samples lack one of these.
    ManifestError
        There is no store.
    ManifestConflictError
        The store knows the field with another dtype or width.
    OriginalOrderError
        The store has a part of the points, or was shuffled elsewhere.
    WorkerError
        No worker process can be started.
    StorageError
        The store cannot be reached, or manifest, report or chunk index cannot be saved.
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
        """Read fields of a sample, call the function, and add what it returns."""
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
        raise ArgumentError("reads: expected at least one field, got none")
    require_joined(manifest, names)
    require_fields(names, manifest.domains)
    return names


def _spec_of(writes: str, width: int | None, manifest: StoreManifest) -> FieldSpec:
    """Return the field that is written."""
    known = CANONICAL_TO_SPEC.get(writes)
    if known is not None:
        require_domain(known.domain, manifest.domains)
        if width not in (None, known.width):
            raise ArgumentError(f"width: {writes} has the width {known.width}, got {width}")
        return known
    domain, name = split_attribute(writes)
    if not domain or not name:
        raise ArgumentError(f"writes: expected a name of the form <domain>_<name>, such as volume_cp, got {writes!r}")
    longer = [one for one in manifest.domains if writes.startswith(f"{one}_") and one != domain and "_" in one]
    if longer:
        raise ArgumentError(
            f"writes: {writes!r} is a field of the domain {domain!r}; a domain with '_' in its name, as {longer[0]!r} "
            "has, takes no other fields than those of FileMap"
        )
    require_domain(domain, manifest.domains)
    return FieldSpec(writes, writes, domain, name, 1 if width is None else positive_int(width, "width"))


def _filemap_of(spec: FieldSpec, manifest: StoreManifest, reads: Iterable[str]) -> FileMap:
    """Return a file map of a field that is made of others, and of the position of its domain."""
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
            "of a module, or take workers=0"
        ) from error
