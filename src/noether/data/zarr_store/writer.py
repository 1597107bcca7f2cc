"""The writer of samples."""

from __future__ import annotations

import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any, get_args

from numpy.typing import ArrayLike, DTypeLike, NDArray

from noether.data.schemas import FileMap
from noether.data.zarr_store.core import (
    DEFAULT_CHUNK_POINTS,
    ROOT_KEY,
    check_sample_id,
    group_path,
    portable_key,
    twin_error,
)
from noether.data.zarr_store.errors import (
    ManifestConflictError,
    PrecisionWarning,
    SampleIdError,
    StorageError,
    require_one_of,
)
from noether.data.zarr_store.layout import ArrayLayout, DomainLayout
from noether.data.zarr_store.manifest import (
    MANIFEST_NAME,
    DomainSample,
    OwnManifest,
    PendingFields,
    RecordedSamples,
    SampleEntry,
    SeenManifest,
    StoreManifest,
    checksum_state_of_root,
    declared,
    known_domains,
    later_fields,
    new_fields,
    require_addable,
    require_staying,
)
from noether.data.zarr_store.reading import drop_chunk_index, iter_stored_rows, join_fields, record_added_fields
from noether.data.zarr_store.stores import is_remote, join, open_storage
from noether.data.zarr_store.writing import (
    Comparison,
    FieldAdder,
    NonFinite,
    PositionLoss,
    RowOrder,
    WriterSettings,
    check_attributes,
    check_fields,
    counted,
    encoded,
    group_objects,
    position_warning,
    prepared_sample,
    read_own_manifest,
)

__all__ = ["ZarrStoreWriter"]

# Number of concurrent requests to object storage, which mostly wait.
_REMOTE_CONCURRENCY = 16


class ZarrStoreWriter:
    """Writes samples into a store: each sample is a Zarr group, shuffled once and chunked along its points.

    Parameters
    ----------
    store_root : str or path
        Local path, ``file://``, ``memory://``, ``s3://`` or any other URL that obstore or fsspec opens.
    filemap : FileMap
        File map that names the fields of the samples.
    dataset_name : str
        Name of the dataset.
    shuffle_seed : int
        Seed of the shuffle. The seed of each sample and domain is derived from it.
    chunk_points : int or mapping of str to int
        Number of points of a chunk, the unit of reading, for all domains or by domain. Domains that are not in the
        mapping get 4096.
    shard_points : int, optional
        Maximum number of points of a shard, the unit of writing. It is rounded down to whole chunks, and is at least
        one chunk. By default, one shard holds a whole field.
    coords_dtype, values_dtype : dtype-like
        Stored dtype of positions, and of all other fields: float16, float32 or float64.
    field_dtypes : mapping of str to dtype-like, optional
        Stored dtypes by canonical field name; these override the other two.
    compression_level : int
        Compression level, 0 to 9. Higher levels hardly compress points in random order better. So the levels 1 to 5 are
        the same, and decode fastest; see `blosc_encoding.encode_frame`. Level 0 stores the values without compression:
        draws from a local disk are faster, but draws from object storage fetch more bytes.
    checksum : bool
        Whether to store a crc32c with every chunk, so that a read of some chunks of a shard can be verified.
    non_finite : {"raise", "allow"}
        Whether NaN and infinity are errors, or are stored unchanged.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.
    threads : int, optional
        Number of threads that compress the chunks of a sample; by default, one for each core. The stored bytes do not
        depend on it.
    field_attributes : mapping of str to mapping of str to str, optional
        Units and long names by canonical field name: ``{"units": "m2/s2", "long_name": "kinematic pressure"}``, or one
        of the two. They become attributes of the field's array in each sample that is written.
    origin : three floats, optional
        Point that is subtracted from every position, in float64, before the cast. Use it for coordinates far from zero,
        where float32 loses digits. All samples share the origin. Readers return positions relative to it, and exports
        add it back.
    adds_fields : bool
        Whether the writer only adds fields to existing samples. Then `filemap` need not name all fields of the store,
        and new arrays have the chunks and shards of the samples.

    Attributes
    ----------
    settings : WriterSettings
        The checked parameters, as plain Python values. The public ones are also attributes of the writer.
    layouts : dict of str to DomainLayout
        Domains and arrays that samples can have.
    manifest : StoreManifest
        Content of the store when the writer was opened, with all samples that the writer recorded since.

    Raises
    ------
    ArgumentError
        A parameter is out of its range.
    ManifestConflictError
        The store exists with other settings. New fields in existing domains are not a conflict: `add_fields` adds them
        to samples.
    OriginalOrderError
        The writer adds fields, but the original order of the store is unknown, or the store has only some points.

    Notes
    -----
    A writer is thread-safe. Another process creates its own writer from `to_init_kwargs`. Nothing is written before the
    first sample.
    """

    def __init__(
        self,
        store_root: str | os.PathLike[str],
        filemap: FileMap,
        dataset_name: str,
        shuffle_seed: int = 0,
        chunk_points: int | Mapping[str, int] = DEFAULT_CHUNK_POINTS,
        shard_points: int | None = None,
        coords_dtype: DTypeLike = "float32",
        values_dtype: DTypeLike = "float16",
        field_dtypes: Mapping[str, DTypeLike] | None = None,
        compression_level: int = 5,
        *,
        checksum: bool = True,
        non_finite: NonFinite = "raise",
        storage_options: Mapping[str, Any] | None = None,
        threads: int | None = None,
        field_attributes: Mapping[str, Mapping[str, str]] | None = None,
        origin: ArrayLike | None = None,
        adds_fields: bool = False,
    ) -> None:
        self.settings = WriterSettings.checked(
            store_root=store_root,
            filemap=filemap,
            dataset_name=dataset_name,
            shuffle_seed=shuffle_seed,
            chunk_points=chunk_points,
            shard_points=shard_points,
            coords_dtype=coords_dtype,
            values_dtype=values_dtype,
            field_dtypes=field_dtypes,
            compression_level=compression_level,
            checksum=checksum,
            non_finite=non_finite,
            storage_options=storage_options,
            threads=threads,
            field_attributes=field_attributes,
            origin=origin,
            adds_fields=adds_fields,
        )
        self._storage = open_storage(self.store_root, self.settings.storage_options)
        self._recording = threading.Lock()
        self._dropped_index = self._has_warned = False
        self._with_added: set[str] = set()
        self.manifest = self._open_manifest()
        self._seen = SeenManifest.of(self.manifest)
        self._adder = FieldAdder(self.settings, self._storage, self._stored_rows, self._declare)
        self._ids_by_key = {portable_key(sample_id): sample_id for sample_id in self.manifest.samples}

    @property
    def store_root(self) -> str:
        """Absolute path or URL of the store."""
        return self.settings.store_root

    @property
    def filemap(self) -> FileMap:
        """File map that names the fields of the samples."""
        return self.settings.filemap

    @property
    def dataset_name(self) -> str:
        """Name of the dataset."""
        return self.settings.dataset_name

    @property
    def shuffle_seed(self) -> int:
        """Seed of the shuffle."""
        return self.settings.shuffle_seed

    @property
    def chunk_points(self) -> int | dict[str, int]:
        """Number of points of a chunk, for all domains or by domain."""
        return self.settings.chunk_points

    @property
    def shard_points(self) -> int | None:
        """Maximum number of points of a shard; None if a shard holds a whole field."""
        return self.settings.shard_points

    @property
    def coords_dtype(self) -> str:
        """Stored dtype of positions."""
        return self.settings.coords_dtype

    @property
    def values_dtype(self) -> str:
        """Stored dtype of all other fields."""
        return self.settings.values_dtype

    @property
    def field_dtypes(self) -> dict[str, str] | None:
        """Stored dtypes by canonical field name, which override the other two; None if not specified."""
        return self.settings.field_dtypes

    @property
    def compression_level(self) -> int:
        """Compression level, 0 to 9."""
        return self.settings.compression_level

    @property
    def layouts(self) -> dict[str, DomainLayout]:
        """Domains and arrays that samples can have."""
        return self.settings.layouts

    def write_group(
        self,
        sample_id: str,
        field_arrays: Mapping[str, Any],
        *,
        attributes: Mapping[str, Any] | None = None,
        fingerprint: str | None = None,
        on_bytes: Callable[[int], None] | None = None,
        on_position_loss: Callable[[PositionLoss], None] | None = None,
    ) -> SampleEntry:
        """Write one sample, or replace it if it exists, without changing the manifest.

        Many threads and processes can call this at the same time.

        Parameters
        ----------
        sample_id : str
            Stable name of the sample; it can contain ``/``.
        field_arrays : mapping of str to array-like
            NumPy arrays or CPU tensors of an integer or floating dtype, by canonical field name. The shape is
            ``(n_points, width)``, or ``(n_points,)`` for a width of 1. Domains can be left out, but a domain must have
            all its fields. Arrays that are not in memory are loaded if the sample takes up to 256 MiB. These are
            `numpy.memmap`, HDF5 and Zarr arrays, all objects that return an array for a slice, and on Linux the tensors
            of ``torch.load(mmap=True)``. In a larger sample, they are read once, from front to back, through temporary
            files in ``TMPDIR``. These files take the uncompressed bytes of the stored fields, and 4 bytes per point of
            each domain.
        attributes : mapping, optional
            Values that JSON can hold; they are stored with the sample.
        fingerprint : str, optional
            Identifier of the state of the sample's source; it is stored with the sample.
        on_bytes : callable of int, optional
            Callback for progress: called, from any thread, with the number of bytes of each block that is written.
        on_position_loss : callable of PositionLoss, optional
            Callback for positions that lose too many digits; it replaces the warning.

        Returns
        -------
        SampleEntry
            Entry of the sample for the manifest.

        Raises
        ------
        SampleIdError
            The id is not a safe relative name, or differs from the id of a recorded sample only in case or in the form
            of its characters. Some file systems treat such names as the same.
        SampleDataError
            The arrays or attributes cannot be stored. Nothing was written.
        ManifestConflictError
            The writer has fields that the store lacks, or only adds fields. Nothing was written.
        StorageError
            The store or the temporary files cannot be written. The objects of the sample that were written are removed.

        Warns
        -----
        PrecisionWarning
            Different points of the source have the same stored position, or coordinates become coarse compared with the
            distances of points. A writer warns only once.
        """
        check_sample_id(sample_id)
        self._require_distinct(sample_id)
        self.require_no_new_fields()
        fields = check_fields(sample_id, field_arrays, self.layouts)
        plain_attributes = check_attributes(sample_id, attributes)
        grids = {domain: self.settings.grid(domain, values[0][1].shape[0]) for domain, values in fields.items()}
        with prepared_sample(self.settings, sample_id, fields, grids, self.settings.origin) as prepared:
            later = later_fields(self.manifest)
            written = (one.field for values in fields.values() for one, _ in values)
            entry = SampleEntry(
                relpath=group_path(sample_id),
                domains={domain: DomainSample.of(grid) for domain, grid in grids.items()},
                attributes=plain_attributes,
                fidelity=prepared.fidelity,
                fingerprint=fingerprint,
                added_fields=tuple(sorted(later.intersection(written))),
            )

            def attributes_for(content: dict[str, str]) -> dict[str, Any]:
                nonlocal entry
                entry = replace(entry, content_crc32c=content)
                return self.settings.manifest.as_group_attributes(sample_id, entry, later)

            of_fields = self.settings.field_attributes
            with closing(encoded(prepared.domains(), self.settings.encoding, of_fields)) as domains:
                objects = group_objects(domains, attributes_for)
                self._before_replacing(sample_id)
                self._storage.write_group(entry.relpath, objects if on_bytes is None else counted(objects, on_bytes))
        if on_position_loss is not None:
            deque(map(on_position_loss, prepared.position_losses), maxlen=0)
        elif prepared.position_losses:
            self._warn_once(prepared.position_losses)
        return entry

    def warning_of(self, losses: Sequence[PositionLoss]) -> str:
        """Return the text of a warning about positions that lose digits in this store; `losses` must not be empty."""
        return position_warning(losses, self.settings.origin, self.coords_dtype)

    def _warn_once(self, losses: Sequence[PositionLoss]) -> None:
        with self._recording:
            is_first, self._has_warned = not self._has_warned, True
        if is_first:
            text = f"{self.warning_of(losses)}; this writer does not warn about other samples"
            warnings.warn(text, PrecisionWarning, stacklevel=3)

    def write_sample(
        self, sample_id: str, field_arrays: Mapping[str, Any], *, attributes: Mapping[str, Any] | None = None
    ) -> None:
        """Write one sample and record it for `save_manifest`; see `write_group` for the parameters and errors."""
        self.record(sample_id, self.write_group(sample_id, field_arrays, attributes=attributes))

    def record(self, sample_id: str, entry: SampleEntry) -> None:
        """Record a sample for `save_manifest` that `write_group` wrote in this or another process."""
        with self._recording:
            self.manifest.samples[sample_id] = entry
            self._ids_by_key.setdefault(portable_key(sample_id), sample_id)

    def add_fields_to_group(
        self,
        sample_id: str,
        field_arrays: Mapping[str, Any],
        *,
        order: RowOrder = "original",
        compare: Comparison = "all",
        on_bytes: Callable[[int], None] | None = None,
    ) -> SampleEntry:
        """Add fields to a sample, without changing the sample's entry in the manifest.

        The new arrays have the order, chunks and shards of the sample's domain. Their objects are written first. Then
        the root of the group, which names them, is replaced atomically. Objects of other arrays are not changed. They
        are read only if their field is passed too: such fields are compared with the stored ones. Many threads and
        processes can call this at the same time. The first call for a field lists it in the manifest as pending.

        Parameters
        ----------
        sample_id : str
            Id of a sample of the store.
        field_arrays : mapping of str to array-like
            Fields to add, as in `write_group`. They can include the positions of their domains, which are compared.
            Fields that were added before are also compared, and not written again.
        order : {"original", "stored"}
            Order of the rows: as in the source, or as in the store. In stored order, the arrays must fit in memory.
        compare : {"all", "some"}
            Whether to compare the positions of all points, or of 262,144 random points of each domain.
        on_bytes : callable of int, optional
            See `write_group`.

        Returns
        -------
        SampleEntry
            Entry of the sample with the new fields, from its group. Pass the id to `record_added` for the manifest.

        Raises
        ------
        UnknownNameError
            The sample is not in the store.
        SampleDataError
            The fields cannot be stored, have another number of points than the sample, or have other positions; or the
            sample already has a field with other values. Nothing was written.
        ManifestConflictError
            The store has a field with another dtype or width, or a removal of the field has begun. Nothing was written.
        CorruptDataError
            The root of the group, or a stored field that is compared, is damaged.
        StorageError
            The store or the temporary files cannot be written, or another process writes the sample. The group does not
            name the fields.
        """
        require_one_of("order", order, get_args(RowOrder))
        require_one_of("compare", compare, get_args(Comparison))
        path = self.manifest.sample(check_sample_id(sample_id)).relpath
        require_staying(self.manifest, field_arrays, join(self.store_root, MANIFEST_NAME))
        own = read_own_manifest(self._storage, sample_id, path)
        return self._adder.add(own, field_arrays, order, compare, on_bytes)

    def add_fields(self, sample_id: str, field_arrays: Mapping[str, Any], *, order: RowOrder = "original") -> None:
        """Add fields to a sample and record it for `save_manifest`; see `add_fields_to_group`.

        A field becomes a field of the store when all samples with its domain have it. Until then it is pending, and
        readers do not find it.
        """
        self.add_fields_to_group(sample_id, field_arrays, order=order)
        self.record_added(sample_id)

    def entry_of_group(self, sample_id: str) -> SampleEntry:
        """Return the current entry of a sample of the store from its group.

        Raises
        ------
        UnknownNameError
            The sample is not in the store.
        CorruptDataError
            The root of the group is damaged or missing.
        """
        path = self.manifest.sample(check_sample_id(sample_id)).relpath
        return read_own_manifest(self._storage, sample_id, path).entry

    def record_added(self, sample_id: str) -> None:
        """Record for `save_manifest` that fields were added to a sample, in this or another process."""
        with self._recording:
            self._with_added.add(sample_id)

    def require_no_new_fields(self) -> None:
        """Raise `ManifestConflictError` if this writer can only add fields to samples, and cannot write new samples."""
        new = [field for arrays in new_fields(self.manifest, self.layouts).values() for field in arrays]
        if not new and not self.settings.adds_fields:
            return
        reason = f"the store lacks {', '.join(new)}" if new else "this writer only adds fields"
        raise ManifestConflictError(
            f"{join(self.store_root, MANIFEST_NAME)}: {reason}, and samples are written with the fields of the store; "
            "add fields to existing samples with noether-zarr add-fields STORE SOURCE, or ZarrStoreWriter.add_fields"
        )

    def find_group(self, sample_id: str) -> SampleEntry | None:
        """Return the entry of a sample whose group is complete, whether or not the manifest lists it; else ``None``.

        Returns ``None`` if the root fails its checksum, because its content cannot be trusted. A group that lacks an
        added field of this writer is not complete. A group with additional added fields is complete.

        Raises
        ------
        ManifestConflictError
            The group was written with other settings.
        """
        key = f"{group_path(check_sample_id(sample_id))}/{ROOT_KEY}"
        data = self._storage.read_if_there(key)
        if data is None or checksum_state_of_root(data) == "broken":
            return None
        origin = join(self.store_root, key)
        single = StoreManifest.of_group(data, origin)
        if new_fields(single, self.layouts) and self._lacks_later_fields(single):
            return None
        single.require_same_settings(self.settings.manifest, origin)
        return single.sample(sample_id)

    def _lacks_later_fields(self, single: StoreManifest) -> bool:
        """Return whether all fields of this writer that a group lacks were added to the store later."""
        new = {field for arrays in new_fields(single, self.layouts).values() for field in arrays}
        return new <= later_fields(self.manifest)

    def remove_staged(self, sample_id: str, pid: int) -> None:
        """Remove the staged files of a sample that a killed process of this machine left.

        In object storage, such objects stay, invisible to readers, until the sample is written again, because another
        machine could be writing the sample.
        """
        for path in self._written_paths(sample_id):
            self._storage.remove_staged(path, pid)

    def recover_staged(self, sample_ids: Iterable[str]) -> None:
        """Restore or remove the staged files of some samples that killed processes of this machine left.

        A no-op in object storage, where nothing is staged: the next write of a sample replaces its objects.
        """
        relpaths: list[str] = []
        for sample_id in sample_ids:
            with suppress(SampleIdError):  # a sample that cannot be written has no staged files
                relpaths += self._written_paths(sample_id)
        self._storage.recover_own(relpaths)

    def _written_paths(self, sample_id: str) -> list[str]:
        """Return the paths that this writer replaces for a sample: its group, or the arrays and root of the group."""
        group = group_path(check_sample_id(sample_id))
        if not self.settings.adds_fields:
            return [group]
        arrays = [array.array_name for layout in self.layouts.values() for array in layout.arrays.values()]
        return [f"{group}/{name}" for name in (*arrays, ROOT_KEY)]

    def save_manifest(self) -> str:
        """Save all recorded samples atomically, without losing samples that others saved; return the path or URL.

        The recorded samples are those of `write_sample` and `record`, and all entries that were assigned to
        ``manifest.samples``. A sample that was removed from the store is not listed again, unless it was written after
        its removal.

        Raises
        ------
        ManifestConflictError
            Another writer has created the store with other settings since this writer was opened.
        """
        with self._recording:
            if not isinstance(self.manifest.samples, RecordedSamples):  # the caller assigned another mapping
                samples, self.manifest.samples = self.manifest.samples, RecordedSamples({})
                self.manifest.samples.update(samples)
            recorded = dict(self.manifest.samples.recorded)
            url, removed = join(self.store_root, MANIFEST_NAME), []
            if recorded or not (self._with_added or self.settings.adds_fields):
                removed = self._save_recorded(recorded)
            if self._with_added or self.settings.adds_fields or self.manifest.pending_fields:
                self._save_added()
        if removed:
            warnings.warn(
                f"{url}: {len(removed):,} samples are not recorded, such as {removed[0]!r}, because they were removed "
                "from the store while this writer was open; to restore them, write them again",
                stacklevel=2,
            )
        return url

    def _save_recorded(self, recorded: Mapping[str, SampleEntry]) -> list[str]:
        """Save the recorded samples; return the ids of samples that were removed since they were written."""
        saved = self.settings.manifest.model_copy(update={"samples": dict(recorded)})
        saved.save(self.store_root, seen=self._seen, storage_options=self.settings.storage_options)
        self._show(saved, recorded)
        for sample_id in recorded:
            self._ids_by_key.setdefault(portable_key(sample_id), sample_id)
        return [sample_id for sample_id in recorded if sample_id not in saved.samples]

    def _save_added(self) -> None:
        """Save in the manifest the samples with added fields, and the fields that all samples now have."""
        options = self.settings.storage_options
        if self._with_added:
            record_added_fields(self.store_root, sorted(self._with_added), storage_options=options)
        join_fields(self.store_root, storage_options=options)
        self._with_added.clear()
        self._show(StoreManifest.load(self.store_root, storage_options=options), {})

    def _show(self, saved: StoreManifest, recorded: Mapping[str, SampleEntry]) -> None:
        """Update this writer's view of the store from the saved manifest."""
        if isinstance(self.manifest.samples, RecordedSamples):
            self.manifest.samples.mark_saved(saved.samples, recorded)
        self.manifest.domains, self.manifest.pending_fields = saved.domains, saved.pending_fields
        self._seen = SeenManifest.of(saved)
        self._dropped_index = False  # another process can have made a new index

    def to_init_kwargs(self) -> dict[str, object]:
        """Return keyword arguments that create an identical writer in another process; they can be pickled.

        They are the ten keywords from `store_root` to `compression_level`, and all others that differ from their
        defaults.
        """
        return self.settings.to_init_kwargs()

    def _stored_rows(self, own: OwnManifest, domain: str, layout: ArrayLayout) -> Generator[tuple[range, NDArray[Any]]]:
        return iter_stored_rows(
            self.store_root,
            own.alone,
            own.sample_id,
            domain,
            layout,
            concurrency=_REMOTE_CONCURRENCY if is_remote(self.store_root) else 1,
            storage_options=self.settings.storage_options,
        )

    def _declare(self, fields: PendingFields) -> None:
        """List fields as pending in the manifest, unless it has them already, so that other processes know them."""
        where = join(self.store_root, MANIFEST_NAME)
        with self._recording:
            if declared(self.manifest, fields, where) is self.manifest:
                return
            pending: PendingFields = {}

            def change(current: StoreManifest) -> StoreManifest:
                nonlocal pending
                known = declared(current, fields, where)
                pending = known.pending_fields
                return known

            StoreManifest.update(self.store_root, change, storage_options=self.settings.storage_options)
            self.manifest.pending_fields = pending

    def _before_replacing(self, sample_id: str) -> None:
        """Remove the chunk index before a sample that it describes is replaced, even if the write then fails."""
        with self._recording:
            if not self._dropped_index and (sample_id in self.manifest.samples or self._has_group(sample_id)):
                options = self.settings.storage_options
                self._dropped_index = drop_chunk_index(self.store_root, sample_id, storage_options=options)

    def _has_group(self, sample_id: str) -> bool:
        """Return whether a sample has a complete group, even if another writer wrote it since this one was opened."""
        try:
            return self._storage.read_tail(f"{group_path(sample_id)}/{ROOT_KEY}", 1) is not None
        except StorageError:
            return False  # the write that follows raises an error with the reason

    def _require_distinct(self, sample_id: str) -> None:
        twin = self._ids_by_key.get(portable_key(sample_id), sample_id)
        if twin != sample_id and sample_id not in self.manifest.samples:
            raise twin_error(sample_id, twin)

    def _open_manifest(self) -> StoreManifest:
        there = StoreManifest.load_if_there(self.store_root, storage_options=self.settings.storage_options)
        if there is None:
            return self.settings.manifest.model_copy(update={"samples": RecordedSamples({})})
        self.settings = self.settings.of_store(there)
        self.require_same_settings(there)
        there.samples = RecordedSamples(there.samples)
        return there

    def require_same_settings(self, there: StoreManifest) -> None:
        """Raise `ManifestConflictError` or `OriginalOrderError` if this writer cannot write to a store.

        `there` is the manifest of the store.
        """
        where, new = join(self.store_root, MANIFEST_NAME), new_fields(there, self.layouts)
        if new or self.settings.adds_fields:
            require_addable(there, where)
        domains = known_domains(there, self.layouts, all_fields=not self.settings.adds_fields)
        there.require_same_settings(self.settings.manifest.model_copy(update={"domains": domains}), where)
