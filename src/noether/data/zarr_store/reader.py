"""Reading of samples, and of random draws of their points, from a store."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.core import count_of, positive_int
from noether.data.zarr_store.errors import ArgumentError, StoreError, require_one_of
from noether.data.zarr_store.layout import require_domain
from noether.data.zarr_store.manifest import (
    Description,
    FieldAttributes,
    SampleEntry,
    StoreManifest,
    stored_field_attributes,
)
from noether.data.zarr_store.reading import (
    Allocate,
    Fetcher,
    IoRow,
    IoStatistics,
    RandomSource,
    ReadCost,
    ResultDtype,
    ResultDtypes,
    SampleBatch,
    draw_entropy,
    fields_by_domain,
    flat_if_scalar,
    global_generator,
    iter_batches,
    place_side_by_side,
    plan_batches,
    plan_reads,
    require_original_order,
    require_whole_domains,
    shuffle_of,
    to_tensors,
)
from noether.data.zarr_store.sampling import CHUNK_ORDERS, ChunkOrder, PlannedRead
from noether.data.zarr_store.stores import StoreFactory, cache_settings, is_remote, normalize_root, open_storage

if TYPE_CHECKING:
    import torch

__all__ = ["IoStatistics", "Order", "SampleBatch", "StoreFactory", "ZarrChunkReader"]

Order = Literal["stored", "original"]

# Threads that read object storage mostly wait. On a local disk, threads only slow each other down.
_REMOTE_CONCURRENCY = 16


class ZarrChunkReader:
    """Reads samples, and random draws of their points, from a store.

    Parameters
    ----------
    store_root : str or path
        Local path or URL of the store.
    manifest : StoreManifest, optional
        Manifest of the store, if the caller has it; by default the constructor reads it.
    store_factory : callable of str to zarr Store, optional
        Function that opens the group at a path or URL as a zarr Store. All bytes of groups are then read through such
        Stores.
    read_concurrency : int, optional
        Maximum number of requests in flight; by default 1 for a local path and 16 for a URL. With 1, all reads are in
        the caller's thread.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.
    verify_checksums : bool
        Whether to verify the crc32c of each chunk that has one. zarr-python always verifies the arrays that it reads.
    chunk_order : {"consecutive", "scattered"}
        Whether the chunks of a draw are neighbours, which is fastest, or chosen independently.
    cache_dir : str or path, optional
        Directory of this machine that caches the chunks of a remote store, for all processes; by default the value of
        the environment variable ``NOETHER_ZARR_CACHE_DIR``, if it is set. See docs/cache.md.
    cache_limit : int or str, optional
        Maximum number of bytes of all files in `cache_dir`, such as ``"200 GB"``; by default the value of
        ``NOETHER_ZARR_CACHE_LIMIT``, or 100 GB.

    Attributes
    ----------
    manifest : StoreManifest
        Manifest of the store.

    Raises
    ------
    ArgumentError
        A parameter is out of its range.
    ManifestError
        There is no store at `store_root`, or this release cannot read it.

    Notes
    -----
    Safe to use from many threads. A reader can be pickled, and can be used in forked processes: the copy
    opens its own files and connections.
    """

    def __init__(
        self,
        store_root: str | os.PathLike[str],
        manifest: StoreManifest | None = None,
        store_factory: StoreFactory | None = None,
        read_concurrency: int | None = None,
        *,
        storage_options: Mapping[str, Any] | None = None,
        verify_checksums: bool = True,
        chunk_order: ChunkOrder = "consecutive",
        cache_dir: str | os.PathLike[str] | None = None,
        cache_limit: int | str | None = None,
    ) -> None:
        require_one_of("chunk_order", chunk_order, CHUNK_ORDERS)
        self.store_root = normalize_root(store_root)
        if read_concurrency is None:
            read_concurrency = _REMOTE_CONCURRENCY if is_remote(store_root) else 1
        self.read_concurrency = positive_int(read_concurrency, "read_concurrency")
        self.chunk_order: ChunkOrder = chunk_order
        self._has_factory = store_factory is not None
        self._cache = cache_settings(
            cache_dir, cache_limit, is_remote=is_remote(self.store_root), has_factory=store_factory is not None
        )
        self.storage_options = dict(storage_options or {})
        self.manifest = (
            StoreManifest.load(self.store_root, storage_options=self.storage_options) if manifest is None else manifest
        )
        self._fetcher = Fetcher(
            self.store_root,
            self.manifest,
            self.storage_options,
            store_factory,
            self.read_concurrency,
            verify_checksums,
            self._cache,
        )

    def __len__(self) -> int:
        return len(self.manifest.samples)

    def __repr__(self) -> str:
        count = count_of(len(self), "sample")
        title = f"{type(self).__name__} of {self.store_root}: {count} of {self.manifest.dataset_name}"
        return Description(self.manifest, self.manifest.samples).text(title)

    def _repr_html_(self) -> str:
        return self.describe(type(self).__name__, self.manifest.samples)

    @property
    def sample_ids(self) -> list[str]:
        """Ids of all samples, in the order of the manifest."""
        return list(self.manifest.samples)

    @property
    def cache_limit(self) -> int | None:
        """Maximum number of bytes of the cache on this machine; None without a cache."""
        return None if self._cache is None else self._cache.limit

    @property
    def origin(self) -> tuple[float, float, float] | None:
        """Point that was subtracted from all positions before they were stored; None if there is no such point.

        The positions of the source are ``stored.astype("float64") + origin``.
        """
        return self.manifest.origin

    def read_sample(
        self,
        sample_id: str,
        num_points: Mapping[str, int | None] | None = None,
        generator: RandomSource = None,
        fields: Iterable[str] | None = None,
        *,
        order: Order = "stored",
        dtype: ResultDtype = "float32",
    ) -> dict[str, torch.Tensor]:
        """Read a sample, or a random draw of its points, as tensors.

        Parameters and errors are those of `read_arrays`. A draw without a `generator` takes its randomness from
        PyTorch's global generator, which ``torch.manual_seed`` seeds.

        Returns
        -------
        dict of str to torch.Tensor
            Values by canonical field name: shape ``(T,)`` for scalars, ``(T, width)`` otherwise.

        Raises
        ------
        MissingDependencyError
            PyTorch is not installed.
        """
        if generator is None and num_points:
            generator = global_generator()
        return to_tensors(self.read_arrays(sample_id, num_points, generator, fields, order=order, dtype=dtype))

    def read_arrays(
        self,
        sample_id: str,
        num_points: Mapping[str, int | None] | None = None,
        generator: RandomSource = None,
        fields: Iterable[str] | None = None,
        *,
        order: Order = "stored",
        dtype: ResultDtype = "float32",
    ) -> dict[str, NDArray[Any]]:
        """Read a sample, or a random draw of its points, as arrays.

        Parameters
        ----------
        sample_id : str
            Id of the sample.
        num_points : mapping of str to int or None, optional
            Number of points to draw, by domain. A domain is read whole if it is missing, None, or has no more points
            than requested. A domain that this sample lacks is ignored. All fields of a domain have the same points.
        generator : numpy.random.Generator, torch.Generator, int or None
            Source of randomness. The same source returns the same draws for any `fields`. None draws fresh entropy from
            the operating system.
        fields : iterable of str, optional
            Canonical names of the fields to read; no byte of other fields is read. By default all fields of the sample.
        order : {"stored", "original"}
            Whether rows are in the order of the store, or in the order of the source. The order of the source works for
            whole domains only, and takes 8 bytes of memory per point in addition to the result.
        dtype : dtype-like, mapping of str to dtype-like, or None
            Floating dtype of the result; None keeps the stored dtypes. A mapping has the dtypes of some fields by
            canonical name, and all other fields are float32: ``{"volume_position": "float64"}``.

        Returns
        -------
        dict of str to ndarray
            Values by canonical field name: shape ``(T,)`` for scalars, ``(T, width)`` otherwise.

        Raises
        ------
        UnknownNameError
            The store has no such sample, domain or field.
        ArgumentError
            A parameter is out of its range.
        OriginalOrderError
            `order` is ``"original"`` for a draw, or for a store whose original order is not known.
        CorruptDataError
            The bytes in the store are damaged.
        TooLargeError
            The result does not fit in memory, or needs more than 1,048,576 chunks of a domain.
        StorageError
            The store cannot be reached.
        """
        planned = self._plan_reads(sample_id, num_points, generator, fields)
        dtypes = ResultDtypes.of(dtype, self.manifest.domains)
        restores = self._restores_order(planned, order)
        reads = list(chain.from_iterable(self._fetcher.prepare(planned)))
        arrays = self._fetcher.read(reads, dtypes)
        # Only computed after a successful read: a permutation allocates memory for all points that the manifest claims.
        orders = {one.domain: self.permutation(sample_id, one.domain) for one in planned} if restores else {}
        result = {}
        for one, rows in zip(reads, arrays, strict=True):
            domain = one.domain
            if domain in orders:
                restored = np.empty_like(rows)
                restored[orders[domain]] = rows
                rows = restored
            result[one.layout.field] = flat_if_scalar(rows)
        return result

    def iter_sample(
        self,
        sample_id: str,
        num_points: int | Mapping[str, int],
        *,
        fields: Iterable[str] | None = None,
        dtype: ResultDtype = "float32",
    ) -> Iterator[SampleBatch]:
        """Read a whole sample batch by batch, in stored order and bounded memory.

        Each batch is of one domain; the domains come in the order of the store. While the caller works on a batch, a
        thread prefetches the next one.

        Parameters
        ----------
        sample_id : str
            Id of the sample.
        num_points : int or mapping of str to int
            Number of points of a batch, for all domains or by domain; the last batch of a domain may have fewer. A
            mapping must name every domain that is read.
        fields : iterable of str, optional
            Canonical names of the fields to read; see `read_arrays`.
        dtype : dtype-like, mapping of str to dtype-like, or None
            See `read_arrays`.

        Yields
        ------
        SampleBatch
            A batch. Together, the batches contain every point of the sample once.

        Raises
        ------
        UnknownNameError, ArgumentError
            See `read_arrays`; also if a mapping lacks a domain. Raised by the call itself.
        CorruptDataError, TooLargeError, StorageError
            See `read_arrays`. Raised in place of the first batch that cannot be read.

        Notes
        -----
        Memory holds two or three batches. Small batches are cut out of reads of 65,536 points, or of one chunk if it is
        larger. Every chunk is decoded once: the rest of a chunk goes into the next batch.

        A loop that ends early, by ``break`` or an exception, waits for the read in progress. A loop cannot continue in
        a forked process, which lacks the thread; a new loop can begin there.
        """
        entry, domains = self._fetcher.entry(sample_id), self.manifest.domains
        dtypes = ResultDtypes.of(dtype, domains)
        wanted = fields_by_domain(self.manifest, sample_id, entry, fields)
        grids = {domain: one.grid for domain, one in entry.domains.items()}
        return iter_batches(self._fetcher, plan_batches(sample_id, grids, wanted, num_points, domains), dtypes)

    def read_planned(
        self,
        samples: Sequence[Sequence[PlannedRead]],
        allocate: Allocate | None = None,
        dtype: ResultDtype = "float32",
    ) -> list[list[dict[str, NDArray[Any]]]]:
        """Execute the planned reads of several samples, with all their requests in parallel.

        Parameters
        ----------
        samples : sequence of sequences of PlannedRead
            The planned reads of each sample.
        allocate : callable of sequence of int to sequence of ndarray of uint8, optional
            Takes sizes in bytes, and returns a buffer of each size, aligned for any of the dtypes. A buffer gets the
            rows of one field of all samples, one after the other.
        dtype : dtype-like, mapping of str to dtype-like, or None
            See `read_arrays`.

        Returns
        -------
        list of lists of dict of str to ndarray
            For each `PlannedRead`, the result of `read_arrays`. Candidates have a buffer and dtypes of their own.

        Raises
        ------
        UnknownNameError
            `dtype` names a field that the store does not have.
        ArgumentError
            A dtype is not a floating dtype.
        TooLargeError
            The rows do not fit in memory.
        CorruptDataError
            The bytes in the store are damaged.
        StorageError
            The store cannot be reached.
        """
        dtypes = ResultDtypes.of(dtype, self.manifest.domains)
        by_read = iter(self._fetcher.prepare([one for planned in samples for one in planned]))
        prepared = [[next(by_read) for _ in planned] for planned in samples]
        by_sample = [[one for fields in reads for one in fields] for reads in prepared]
        places = None if allocate is None else place_side_by_side(by_sample, allocate, dtypes)
        flat = [one for reads in by_sample for one in reads]
        rows = iter(self._fetcher.read(flat, dtypes, places))
        return [
            [{one.layout.field: flat_if_scalar(next(rows)) for one in fields} for fields in reads] for reads in prepared
        ]

    def cost(
        self,
        sample_id: str,
        num_points: Mapping[str, int | None] | None = None,
        fields: Iterable[str] | None = None,
        generator: RandomSource = None,
    ) -> ReadCost:
        """Return the cost of a read in advance. This reads only metadata and shard indexes that are not cached.

        Parameters and errors are those of `read_arrays`: with the same generator state, the read costs exactly this.
        With a chunk index, this reads nothing.

        Returns
        -------
        ReadCost
            Chunks, requests and bytes by field; points and number of different draws by domain.
        """
        planned = self._plan_reads(sample_id, num_points, generator, fields)
        return ReadCost.of(list(chain.from_iterable(self._fetcher.prepare(planned))), self.chunk_order)

    def read_coords(
        self, sample_id: str, domain: str, num_points: int | None, generator: RandomSource = None
    ) -> torch.Tensor:
        """Read only the positions of a domain, as a separate draw.

        Parameters
        ----------
        sample_id, domain : str
            Id of the sample, and name of the domain.
        num_points : int or None
            Number of points to draw; None reads all points.
        generator : numpy.random.Generator, torch.Generator, int or None
            Source of randomness; None uses PyTorch's global generator.

        Returns
        -------
        torch.Tensor of float32, shape (T, 3)
            Positions in the unit of the source, relative to the `origin` of the store.
        """
        require_domain(domain, self.manifest.domains)
        position = self.manifest.domains[domain].position
        return self.read_sample(sample_id, {domain: num_points}, generator, [position])[position]

    def permutation(self, sample_id: str, domain: str) -> NDArray[np.int64]:
        """Return the permutation of a domain, to restore the order of the source.

        Returns
        -------
        ndarray of int64, shape (n_points,)
            Stored row ``i`` is source row ``permutation[i]``, so ``restored[permutation] = stored`` undoes it.

        Raises
        ------
        UnknownNameError
            The store has no such sample, or the sample has no such domain.
        OriginalOrderError
            The original order of the store is not known.
        TooLargeError
            The permutation does not fit in memory.
        """
        return shuffle_of(self.manifest, sample_id, self._fetcher.entry(sample_id), domain)

    def io_statistics(self) -> IoStatistics:
        """Return the counts of this reader's reads so far: requests, bytes, and seconds of waiting and decoding.

        Each process has its own counts: in a forked process, or after unpickling, they begin at 0. The manifest and the
        file of the chunk index, which are read once, are not counted.
        """
        meter = self._fetcher.meter
        return IoStatistics() if meter is None else meter.so_far()

    def count_into(self, row: IoRow) -> None:
        """Count the reads of this process in `row` from now on, such as a row that workers share."""
        self._fetcher.count_into(row)

    def entry(self, sample_id: str) -> SampleEntry:
        """Return the manifest entry of a sample, cached for the samples that were read last."""
        return self._fetcher.entry(sample_id)

    def attributes(self, sample_id: str) -> dict[str, Any]:
        """Return the attributes of a sample, such as its design parameters."""
        return dict(self.manifest.sample(sample_id).attributes)

    def field_attributes(self, sample_id: str) -> FieldAttributes:
        """Return units and long names of the fields of a sample, read from the root of its group.

        Returns
        -------
        dict of str to dict of str to str
            By canonical field name, ``units`` and ``long_name`` as far as the arrays have them. A reader with a
            `store_factory` returns no fields.

        Raises
        ------
        UnknownNameError
            The store has no such sample.
        StorageError
            The store cannot be reached.
        """
        entry = self._fetcher.entry(sample_id)
        if self._has_factory:
            return {}
        storage = open_storage(self.store_root, self.storage_options)
        return stored_field_attributes(storage, self.manifest.domains, [entry])

    def describe(self, title: str, sample_ids: Collection[str], facts: Sequence[tuple[str, str]] = ()) -> str:
        """Return HTML that describes some samples, with the units of their fields; see `Description.html`.

        A store that cannot be reached is described without units.
        """
        description = Description(self.manifest, sample_ids)
        known: FieldAttributes = {}
        try:
            for sample_id in description.first_of_each_domain():
                known = self.field_attributes(sample_id) | known
        except StoreError:
            pass
        return description.html(title, [("store", self.store_root), *facts], known)

    def _plan_reads(
        self,
        sample_id: str,
        num_points: Mapping[str, int | None] | None,
        generator: RandomSource,
        fields: Iterable[str] | None,
    ) -> list[PlannedRead]:
        entry, entropy = self._fetcher.entry(sample_id), draw_entropy(generator)
        return plan_reads(self.manifest, sample_id, entry, fields, num_points, entropy, self.chunk_order)

    def _restores_order(self, planned: Iterable[PlannedRead], order: Order) -> bool:
        """Return whether to restore the order of the source; raise an error if that is not possible."""
        if order == "stored":
            return False
        if order != "original":
            raise ArgumentError(f"order: expected 'stored' or 'original', got {order!r}")
        require_whole_domains(planned)
        require_original_order(self.manifest)
        return True
