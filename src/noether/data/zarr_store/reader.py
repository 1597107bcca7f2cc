"""Reading samples, and random draws of their points, from a store."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from noether.data.zarr_store.errors import (
    ArgumentError,
    OriginalOrderError,
    UnknownNameError,
    nearest_names,
)
from noether.data.zarr_store.fetch import Fetcher, ReadCost
from noether.data.zarr_store.grid import positive_int
from noether.data.zarr_store.layout import ArrayLayout, stored_dtype
from noether.data.zarr_store.manifest import SampleEntry, StoreManifest
from noether.data.zarr_store.sampling import CHUNK_ORDERS, ChunkOrder, ReadPlan, plan_draw, plan_whole, random_stream
from noether.data.zarr_store.shuffle import SHUFFLE_ALGORITHM, permutation
from noether.data.zarr_store.stores import StoreFactory, normalize_root
from noether.data.zarr_store.tensors import RandomSource, draw_entropy, to_tensors

if TYPE_CHECKING:
    import torch

__all__ = ["Order", "StoreFactory", "ZarrChunkReader"]

Order = Literal["stored", "original"]


class ZarrChunkReader:
    """Reads samples, and random draws of their points, from a store.

    Parameters
    ----------
    store_root : str or path
        Local path or URL.
    manifest : StoreManifest, optional
        The store's manifest where the caller has it; else it is read once, here.
    store_factory : callable of str to zarr Store, optional
        Opens the group at a path or URL. If given, it carries every byte that is read of the groups.
    read_concurrency : int
        Most requests in flight; with 1 all is read in the caller's thread.
    storage_options : mapping, optional
        Options of the file system; see `stores.open_storage`.
    verify_checksums : bool
        Compare the crc32c of each chunk that carries one. zarr-python, where it has to read, does so in any case.
    chunk_order : {"consecutive", "scattered"}
        Whether the chunks of a draw are neighbours, which is fastest, or chosen independently.

    Attributes
    ----------
    manifest : StoreManifest
        What the store holds.

    Raises
    ------
    ArgumentError
        A parameter is out of its range.
    ManifestError
        There is no store at `store_root`, or one that this release cannot read.

    Notes
    -----
    Safe to use from many threads. It can be pickled; open handles stay behind, and are dropped after a fork.
    """

    def __init__(
        self,
        store_root: str | os.PathLike[str],
        manifest: StoreManifest | None = None,
        store_factory: StoreFactory | None = None,
        read_concurrency: int = 1,
        *,
        storage_options: Mapping[str, Any] | None = None,
        verify_checksums: bool = True,
        chunk_order: ChunkOrder = "consecutive",
    ) -> None:
        if chunk_order not in CHUNK_ORDERS:
            raise ArgumentError(f"chunk_order: expected one of {', '.join(CHUNK_ORDERS)}, got {chunk_order!r}")
        self.store_root = normalize_root(store_root)
        self.read_concurrency = positive_int(read_concurrency, "read_concurrency")
        self.chunk_order: ChunkOrder = chunk_order
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
        )

    def read_sample(
        self,
        sample_id: str,
        num_points: Mapping[str, int | None] | None = None,
        generator: RandomSource = None,
        fields: Iterable[str] | None = None,
        *,
        order: Order = "stored",
        dtype: DTypeLike | None = "float32",
    ) -> dict[str, torch.Tensor]:
        """Read a sample, or a random draw of its points, as tensors.

        Parameters and errors are those of `read_arrays`.

        Returns
        -------
        dict of str to torch.Tensor
            By canonical field name: shape ``(T,)`` for scalars, ``(T, width)`` otherwise.

        Raises
        ------
        MissingDependencyError
            PyTorch is not installed.
        """
        return to_tensors(self.read_arrays(sample_id, num_points, generator, fields, order=order, dtype=dtype))

    def read_arrays(
        self,
        sample_id: str,
        num_points: Mapping[str, int | None] | None = None,
        generator: RandomSource = None,
        fields: Iterable[str] | None = None,
        *,
        order: Order = "stored",
        dtype: DTypeLike | None = "float32",
    ) -> dict[str, NDArray[Any]]:
        """Read a sample, or a random draw of its points, as arrays.

        Parameters
        ----------
        sample_id : str
            Which sample.
        num_points : mapping of str to int or None, optional
            Points to draw, by domain. A domain that is missing, or None, is read whole, as is one that has no more
            points than asked for. All fields of a domain give the same points.
        generator : numpy.random.Generator, torch.Generator, int or None
            Source of randomness; the same one gives the same draws, whichever `fields` are asked for.
        fields : iterable of str, optional
            Canonical names of what to read; nothing else costs a byte. Without it, all that the sample has.
        order : {"stored", "original"}
            Whether rows come as they lie in the store, or as they were in the source (whole domains only).
        dtype : dtype-like or None
            Floating dtype of the result; None keeps the stored one.

        Returns
        -------
        dict of str to ndarray
            By canonical field name: shape ``(T,)`` for scalars, ``(T, width)`` otherwise.

        Raises
        ------
        UnknownNameError
            The store has no such sample, domain or field.
        ArgumentError
            A parameter is out of its range.
        OriginalOrderError
            `order` is ``"original"`` for a draw, or the store was shuffled elsewhere.
        CorruptDataError
            The bytes in the store are not what they should be.
        StorageError
            The store cannot be reached.
        """
        entry = self._fetcher.entry(sample_id)
        wanted = self._wanted_fields(sample_id, entry, fields)
        plans = self._plans(entry, wanted, num_points, draw_entropy(generator))
        result_dtype = None if dtype is None else np.dtype(stored_dtype(dtype, "dtype"))
        orders = self._original_orders(sample_id, plans, order)
        reads = self._fetcher.prepare(sample_id, wanted, plans)
        arrays = {}
        for one, rows in zip(reads, self._fetcher.read(reads, result_dtype), strict=True):
            domain = one.domain
            if domain in orders:
                restored = np.empty_like(rows)
                restored[orders[domain]] = rows
                rows = restored
            arrays[one.layout.field] = rows[:, 0] if one.layout.dim == 1 else rows
        return arrays

    def plan(
        self,
        sample_id: str,
        num_points: Mapping[str, int | None] | None = None,
        fields: Iterable[str] | None = None,
        generator: RandomSource = None,
    ) -> ReadCost:
        """Say what a read would cost, before anything is read but metadata and indexes that are not known yet.

        Parameters and errors are those of `read_arrays`: with the same generator state, it costs exactly this. With
        a chunk index nothing at all is read here.

        Returns
        -------
        ReadCost
            Chunks, requests and bytes by field.
        """
        entry = self._fetcher.entry(sample_id)
        wanted = self._wanted_fields(sample_id, entry, fields)
        plans = self._plans(entry, wanted, num_points, draw_entropy(generator))
        return ReadCost.of(self._fetcher.prepare(sample_id, wanted, plans))

    def read_coords(
        self, sample_id: str, domain: str, num_points: int | None, generator: RandomSource = None
    ) -> torch.Tensor:
        """Read positions alone, as a draw of their own.

        Parameters
        ----------
        sample_id, domain : str
            Which sample, and which of its domains.
        num_points : int or None
            Points to draw; None reads all.
        generator : numpy.random.Generator, torch.Generator, int or None
            Source of randomness.

        Returns
        -------
        torch.Tensor of float32, shape (T, 3)
            In the unit of the source.
        """
        self._require_domain(domain)
        position = self.manifest.domains[domain].position
        return self.read_sample(sample_id, {domain: num_points}, generator, [position])[position]

    def permutation(self, sample_id: str, domain: str) -> NDArray[np.int64]:
        """Give the shuffle of a domain, to bring rows in stored order back to the source's.

        Returns
        -------
        ndarray of int64, shape (n_points,)
            Stored row ``i`` is source row ``permutation[i]``, so ``restored[permutation] = stored`` undoes it.

        Raises
        ------
        UnknownNameError
            The store has no such sample, or the sample no such domain.
        OriginalOrderError
            The store was shuffled elsewhere.
        """
        entry = self._fetcher.entry(sample_id)
        if domain not in entry.domains:
            raise UnknownNameError(
                f"sample {sample_id!r} has no domain {domain!r}; {nearest_names(domain, entry.domains)}"
            )
        algorithm = self.manifest.shuffle_algorithm
        if algorithm != SHUFFLE_ALGORITHM:
            raise OriginalOrderError(
                f"order='original': the manifest names {algorithm or 'no shuffle algorithm'}, and this release knows "
                f"only {SHUFFLE_ALGORITHM}; the order of the source is unknown, read with order='stored'"
            )
        return permutation(
            entry.domains[domain].n_points,
            shuffle_seed=self.manifest.shuffle_seed,
            sample_id=sample_id,
            domain=domain,
        )

    def attributes(self, sample_id: str) -> dict[str, Any]:
        """Give the attributes of a sample, such as its design parameters."""
        return dict(self.manifest.sample(sample_id).attributes)

    def _require_domain(self, domain: str) -> None:
        if domain not in self.manifest.domains:
            raise UnknownNameError(
                f"domain {domain!r} is not in the store; {nearest_names(domain, self.manifest.domains)}"
            )

    def _wanted_fields(
        self, sample_id: str, entry: SampleEntry, fields: Iterable[str] | None
    ) -> dict[str, list[ArrayLayout]]:
        """Sort the fields to read by domain, in the order of the layouts."""
        there = {domain: layout.arrays for domain, layout in self.manifest.domains.items() if domain in entry.domains}
        if fields is None:
            return {domain: list(arrays.values()) for domain, arrays in there.items()}
        if isinstance(fields, str):
            raise ArgumentError(f"fields: expected a list of names, got the str {fields!r}; write [{fields!r}]")
        asked = set(fields)
        known = {field for layout in self.manifest.domains.values() for field in layout.arrays}
        for field in sorted(asked - known):
            raise UnknownNameError(f"field {field!r} is not in the store; {nearest_names(field, known)}")
        for field in sorted(asked - {field for arrays in there.values() for field in arrays}):
            raise UnknownNameError(
                f"sample {sample_id!r} has no field {field!r}: of the store's domains it has only {', '.join(there)}"
            )
        wanted = {
            domain: [layout for field, layout in arrays.items() if field in asked] for domain, arrays in there.items()
        }
        return {domain: layouts for domain, layouts in wanted.items() if layouts}

    def _plans(
        self,
        entry: SampleEntry,
        domains: Iterable[str],
        num_points: Mapping[str, int | None] | None,
        entropy: tuple[int, ...],
    ) -> dict[str, ReadPlan]:
        counts = {} if num_points is None else num_points
        if not isinstance(counts, Mapping):
            raise ArgumentError(f"num_points: expected a mapping such as {{'volume': 16384}}, got {num_points!r}")
        for domain, count in counts.items():
            self._require_domain(domain)
            if count is not None:
                positive_int(count, f"num_points[{domain!r}]")
        plans = {}
        for domain in domains:
            grid, count = entry.domains[domain].grid, counts.get(domain)
            if count is None:
                plans[domain] = plan_whole(grid)
                continue
            # A stream for each domain: a draw of one does not depend on what else is read.
            plans[domain] = plan_draw(grid, count, random_stream(*entropy, domain), self.chunk_order)
        return plans

    def _original_orders(
        self, sample_id: str, plans: Mapping[str, ReadPlan], order: Order
    ) -> dict[str, NDArray[np.int64]]:
        """Give the permutation of each domain where the source's order is asked for."""
        if order == "stored":
            return {}
        if order != "original":
            raise ArgumentError(f"order: expected 'stored' or 'original', got {order!r}")
        for domain, plan in plans.items():
            if plan.n_points < plan.grid.n_points:
                raise OriginalOrderError(
                    f"order='original': domain {domain!r} is drawn ({plan.n_points} of {plan.grid.n_points} points), "
                    "and only whole domains have an order to restore; leave it out of num_points"
                )
        return {domain: self.permutation(sample_id, domain) for domain in plans}
