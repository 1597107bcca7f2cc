"""Writing samples into a store."""

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

# Requests to object storage wait far more than they work.
_REMOTE_CONCURRENCY = 16


class ZarrStoreWriter:
    """Writes samples into a store: shuffled once, chunked along the points, one Zarr group a sample.

    Parameters
    ----------
    store_root : str or path
        Local path, ``file://``, ``memory://``, ``s3://`` or any other URL that obstore or fsspec opens.
    filemap : FileMap
        Names the fields that samples of this store have.
    dataset_name : str
        Name of the dataset.
    shuffle_seed : int
        Seed of the shuffle; every sample and domain derives its own from it.
    chunk_points : int or mapping of str to int
        Points of a chunk, the unit of reading: of all domains, or by domain; one that a mapping lacks gets 4096.
    shard_points : int, optional
        Most points of a shard, the unit of writing; rounded down to whole chunks, at least one. Without it, one
        shard holds a whole field.
    coords_dtype, values_dtype : dtype-like
        Stored dtype of positions, and of all other fields: float16, float32 or float64.
    field_dtypes : mapping of str to dtype-like, optional
        Stored dtypes by canonical field name, over both.
    compression_level : int
        0 to 9. Points in random order have next to nothing that high levels find, so the levels 1 to 5 are the same,
        and the fastest to decode; see `blosc_encoding.encode_frame`. Level 0 stores the values without compression:
        draws from a local disk with room are faster, and draws from object storage fetch more bytes.
    checksum : bool
        Give every chunk a crc32c, so that a read of part of a shard can be verified.
    non_finite : {"raise", "allow"}
        Whether NaN and infinity are refused, or stored as they are.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.
    threads : int, optional
        Threads that compress the chunks of a sample; the bytes do not depend on it. Without it, one for each core.
    field_attributes : mapping of str to mapping of str to str, optional
        By canonical field name, what the field means: ``{"units": "m2/s2", "long_name": "kinematic pressure"}``, either
        or both. They become attributes of the field's array in each sample that is written.
    origin : three floats, optional
        A point that is subtracted from every position, in float64, before the cast: for coordinates far from zero, of
        which float32 drops digits. It is one for all samples. Readers return the positions without it; exports add it.
    adds_fields : bool
        Whether the writer only adds fields to samples that are there. Then `filemap` need not name all fields of the
        store, and chunks and shards are those of the samples.

    Attributes
    ----------
    settings : WriterSettings
        The parameters, checked, in their plain form. Those that are published are attributes of the writer too.
    layouts : dict of str to DomainLayout
        Domains and arrays that samples can have.
    manifest : StoreManifest
        What the store held when the writer was opened, with what it recorded since.

    Raises
    ------
    ArgumentError
        A parameter is out of its range.
    ManifestConflictError
        The store exists, with other settings. Fields that it lacks, of domains that it has, are no conflict:
        `add_fields` adds them to samples.
    OriginalOrderError
        Fields are to be added to a store whose original order is unknown, or that has a part of the points.

    Notes
    -----
    One writer may be used from many threads. Another process builds its own from `to_init_kwargs`. Nothing is
    written before the first sample.
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
        """Names of the fields that samples have."""
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
        """Points of a chunk: of all domains, or by domain."""
        return self.settings.chunk_points

    @property
    def shard_points(self) -> int | None:
        """Most points of a shard; None where a shard holds a whole field."""
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
        """Stored dtypes by canonical field name, over both; None where none were given."""
        return self.settings.field_dtypes

    @property
    def compression_level(self) -> int:
        """Level of zstd."""
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
        """Write one sample, replacing it where it is there, and leave the manifest as it is.

        Safe to call from many threads and processes at once.

        Parameters
        ----------
        sample_id : str
            Stable name of the sample; may contain ``/``.
        field_arrays : mapping of str to array-like
            By canonical field name: shape ``(n_points, width)``, or ``(n_points,)`` for a width of 1; NumPy arrays or
            CPU tensors of an integer or floating dtype. A domain may be missing; one that is there has all its fields.
            What is not in memory (`numpy.memmap`, HDF5, Zarr, anything that gives an array for a slice; on Linux also
            the tensors of ``torch.load(mmap=True)``) is loaded where the sample takes up to 256 MiB. Otherwise it is
            read once, front to back, through temporary files in ``TMPDIR``: of the bytes of its fields as they are
            stored, before compression, and 4 bytes a point of each domain.
        attributes : mapping, optional
            Anything that JSON can hold; kept with the sample.
        fingerprint : str, optional
            Tells the state of the sample's source apart from others; kept with the sample.
        on_bytes : callable of int, optional
            Called with the number of bytes of every part of the group, as the storage takes it; from any thread.
        on_position_loss : callable of PositionLoss, optional
            Called for positions that lose too many digits, in place of the warning.

        Returns
        -------
        SampleEntry
            What the manifest is to say of the sample.

        Raises
        ------
        SampleIdError
            The id is no safe relative name, or differs from that of a recorded sample in nothing but case or the form
            of its characters, which some file systems take for the same.
        SampleDataError
            The arrays or attributes are not fit to be stored. Nothing was written.
        ManifestConflictError
            The writer has fields that the store lacks, or only adds fields. Nothing was written.
        StorageError
            The store, or the temporary files, cannot be written. What was written of the sample is removed.

        Warns
        -----
        PrecisionWarning
            Points that are apart in the source are stored at one place, or coordinates become coarse beside the
            distances of points. A writer warns once.
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
        """Return what a user is to know of positions that lose digits in this store: at least one."""
        return position_warning(losses, self.settings.origin, self.coords_dtype)

    def _warn_once(self, losses: Sequence[PositionLoss]) -> None:
        with self._recording:
            is_first, self._has_warned = not self._has_warned, True
        if is_first:
            text = f"{self.warning_of(losses)}; this writer does not warn of further samples"
            warnings.warn(text, PrecisionWarning, stacklevel=3)

    def write_sample(
        self, sample_id: str, field_arrays: Mapping[str, Any], *, attributes: Mapping[str, Any] | None = None
    ) -> None:
        """Write one sample and record it; parameters and errors are those of `write_group`.

        `save_manifest` makes the record last.
        """
        self.record(sample_id, self.write_group(sample_id, field_arrays, attributes=attributes))

    def record(self, sample_id: str, entry: SampleEntry) -> None:
        """Add a sample that `write_group` wrote, here or in another process, to what `save_manifest` saves."""
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
        """Write fields beside those of a sample, and leave what the manifest says of the sample as it is.

        The new arrays have the order, chunks and shards of the sample's domain. Their objects are written first; then
        the root of the group, which names them, is replaced in one step. No object of another array is read or changed,
        but for positions that are given: they are compared with those that are stored. Safe to call from many threads
        and processes at once. The first call for a field has the manifest list it as a pending one.

        Parameters
        ----------
        sample_id : str
            A sample of the store.
        field_arrays : mapping of str to array-like
            As in `write_group`, the fields to add. Positions of their domains may be among them. A field that was added
            before is compared as well, and passed over.
        order : {"original", "stored"}
            Whether rows come as they were in the source, or as they lie in the store, where they have to fit in memory.
        compare : {"all", "some"}
            Whether the positions of all points are compared, or those of 262,144 points that lie all over a domain.
        on_bytes : callable of int, optional
            See `write_group`.

        Returns
        -------
        SampleEntry
            The sample with the fields, as its group says now. `record_added` takes the id for the manifest.

        Raises
        ------
        UnknownNameError
            The store has no such sample.
        SampleDataError
            The fields are not fit to be stored; they have another number of points than the sample; the positions are
            others; or the sample has a field already, with other values. Nothing was written.
        ManifestConflictError
            The store knows a field with another dtype or width, or is removing it. Nothing was written.
        CorruptDataError
            The root of the group, or what is compared, is damaged.
        StorageError
            The store, or the temporary files, cannot be written, or another process writes the sample. The group does
            not name the fields.
        """
        require_one_of("order", order, get_args(RowOrder))
        require_one_of("compare", compare, get_args(Comparison))
        path = self.manifest.sample(check_sample_id(sample_id)).relpath
        require_staying(self.manifest, field_arrays, join(self.store_root, MANIFEST_NAME))
        own = read_own_manifest(self._storage, sample_id, path)
        return self._adder.add(own, field_arrays, order, compare, on_bytes)

    def add_fields(self, sample_id: str, field_arrays: Mapping[str, Any], *, order: RowOrder = "original") -> None:
        """Write fields beside those of a sample and record it; `add_fields_to_group` has the parameters and errors.

        `save_manifest` makes the record last. A field is one of the store once all samples that have its domain have
        it; until then it is pending, and readers do not find it.
        """
        self.add_fields_to_group(sample_id, field_arrays, order=order)
        self.record_added(sample_id)

    def entry_of_group(self, sample_id: str) -> SampleEntry:
        """Return the entry of a sample of the store as its group says it at this moment.

        Raises
        ------
        UnknownNameError
            The store has no such sample.
        CorruptDataError
            The root of the group is damaged or missing.
        """
        path = self.manifest.sample(check_sample_id(sample_id)).relpath
        return read_own_manifest(self._storage, sample_id, path).entry

    def record_added(self, sample_id: str) -> None:
        """Have `save_manifest` record the fields that were added to a sample, here or in another process."""
        with self._recording:
            self._with_added.add(sample_id)

    def require_no_new_fields(self) -> None:
        """Raise `ManifestConflictError` where this writer can add fields to samples, and write no sample."""
        new = [field for arrays in new_fields(self.manifest, self.layouts).values() for field in arrays]
        if not new and not self.settings.adds_fields:
            return
        what = f"the store lacks {', '.join(new)}" if new else "this writer only adds fields"
        raise ManifestConflictError(
            f"{join(self.store_root, MANIFEST_NAME)}: {what}; samples are written with the fields of the store. Add "
            "fields to samples that are there: noether-zarr add-fields STORE SOURCE, or ZarrStoreWriter.add_fields"
        )

    def find_group(self, sample_id: str) -> SampleEntry | None:
        """Return the entry of a sample whose group is complete, whether or not the manifest has it; else ``None``.

        One whose root is not what was written any more is not there either: nothing that it says can be believed. A
        group that lacks an added field, which this writer has, is not complete; one that has more of them is.

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
        """Say whether all fields of this writer that a group lacks came to the store after others."""
        new = {field for arrays in new_fields(single, self.layouts).values() for field in arrays}
        return new <= later_fields(self.manifest)

    def remove_staged(self, sample_id: str, pid: int) -> None:
        """Remove what a process of this machine, which was killed while it wrote a sample, left of it.

        In object storage that stays, invisible, until the sample is written again: another machine may be at it.
        """
        for path in self._written_paths(sample_id):
            self._storage.remove_staged(path, pid)

    def recover_staged(self, sample_ids: Iterable[str]) -> None:
        """Put back or remove what processes of this machine that were killed while they wrote some samples left.

        In object storage nothing is left but objects in their places, which the next write of the sample replaces.
        """
        relpaths: list[str] = []
        for sample_id in sample_ids:
            with suppress(SampleIdError):  # what cannot be written has left nothing
                relpaths += self._written_paths(sample_id)
        self._storage.recover_own(relpaths)

    def _written_paths(self, sample_id: str) -> list[str]:
        """Return the paths of what this writer replaces of a sample: its group, or arrays in it and its root."""
        group = group_path(check_sample_id(sample_id))
        if not self.settings.adds_fields:
            return [group]
        arrays = [array.array_name for layout in self.layouts.values() for array in layout.arrays.values()]
        return [f"{group}/{name}" for name in (*arrays, ROOT_KEY)]

    def save_manifest(self) -> str:
        """Save what was recorded, atomically, beside what others have saved; return the path or URL.

        What was recorded is every sample of `write_sample` and `record`, and every entry that was assigned to
        ``manifest.samples``. A sample that was removed from the store since this writer saw it listed is not listed
        again, unless it was written after that.

        Raises
        ------
        ManifestConflictError
            Another writer has created the store meanwhile, with other settings.
        """
        with self._recording:
            if not isinstance(self.manifest.samples, RecordedSamples):  # somebody assigned another mapping
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
                f"{url}: {len(removed)} samples are not recorded, such as {removed[0]!r}: they were removed from the "
                "store while this writer was open; to have them back, write them again",
                stacklevel=2,
            )
        return url

    def _save_recorded(self, recorded: Mapping[str, SampleEntry]) -> list[str]:
        """Save the samples that were recorded; return the ids of those that were removed since they were written."""
        saved = self.settings.manifest.model_copy(update={"samples": dict(recorded)})
        saved.save(self.store_root, seen=self._seen, storage_options=self.settings.storage_options)
        self._show(saved, recorded)
        for sample_id in recorded:
            self._ids_by_key.setdefault(portable_key(sample_id), sample_id)
        return [sample_id for sample_id in recorded if sample_id not in saved.samples]

    def _save_added(self) -> None:
        """Have the manifest say which samples have added fields, and which fields all samples have."""
        options = self.settings.storage_options
        if self._with_added:
            record_added_fields(self.store_root, sorted(self._with_added), storage_options=options)
        join_fields(self.store_root, storage_options=options)
        self._with_added.clear()
        self._show(StoreManifest.load(self.store_root, storage_options=options), {})

    def _show(self, saved: StoreManifest, recorded: Mapping[str, SampleEntry]) -> None:
        """Take what was saved for what the store holds."""
        if isinstance(self.manifest.samples, RecordedSamples):
            self.manifest.samples.mark_saved(saved.samples, recorded)
        self.manifest.domains, self.manifest.pending_fields = saved.domains, saved.pending_fields
        self._seen = SeenManifest.of(saved)
        self._dropped_index = False  # somebody may have made another

    def to_init_kwargs(self) -> dict[str, object]:
        """Return the keywords that build an identical writer in another process; they can be pickled.

        They are the ten published ones, from `store_root` to `compression_level`, and those of the others that differ
        from their defaults.
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
        """Have the manifest list fields, as pending ones unless it has them, so that everyone knows their arrays."""
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
        """Take the chunk index away before a sample that it describes gets other bytes, whatever happens then."""
        with self._recording:
            if not self._dropped_index and (sample_id in self.manifest.samples or self._has_group(sample_id)):
                options = self.settings.storage_options
                self._dropped_index = drop_chunk_index(self.store_root, sample_id, storage_options=options)

    def _has_group(self, sample_id: str) -> bool:
        """Say whether a sample has a complete group, which another writer may have made since this one was opened."""
        try:
            return self._storage.read_tail(f"{group_path(sample_id)}/{ROOT_KEY}", 1) is not None
        except StorageError:
            return False  # the write, which comes next, says what is wrong with the place

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
        """Raise `ManifestConflictError`, or `OriginalOrderError`, where this writer cannot write to such a store."""
        where, new = join(self.store_root, MANIFEST_NAME), new_fields(there, self.layouts)
        if new or self.settings.adds_fields:
            require_addable(there, where)
        domains = known_domains(there, self.layouts, all_fields=not self.settings.adds_fields)
        there.require_same_settings(self.settings.manifest.model_copy(update={"domains": domains}), where)
