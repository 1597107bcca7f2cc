"""The checked settings of a writer. They can be pickled, so that other processes write the same bytes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from copy import copy
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from noether.data.schemas import FileMap
from noether.data.zarr_store.core import (
    Grid,
    chunk_points_by_domain,
    default_threads,
    is_plain,
    positive_int,
)
from noether.data.zarr_store.errors import ArgumentError, require_one_of
from noether.data.zarr_store.layout import DomainLayout, build_domain_layouts, stored_dtype
from noether.data.zarr_store.manifest import (
    FieldAttributes,
    Origin,
    StoreManifest,
    check_field_attributes,
    format_version_for,
)
from noether.data.zarr_store.sampling import SHUFFLE_ALGORITHM, SHUFFLE_ALGORITHMS
from noether.data.zarr_store.stores import normalize_root
from noether.data.zarr_store.writing.cast_loss import NonFinite
from noether.data.zarr_store.writing.group_encoding import Encoding
from noether.data.zarr_store.writing.origin import checked_origin

__all__ = ["WriterSettings"]

_LEVELS = range(10)


@dataclass(frozen=True)
class WriterSettings:
    """The parameters of `ZarrStoreWriter`, checked and as plain Python values.

    Attributes
    ----------
    layouts : dict of str to DomainLayout
        Domains and arrays that samples can have.
    manifest : StoreManifest
        Manifest of a new store with these settings, without samples.
    encoding : Encoding
        Encoding of chunks.
    """

    store_root: str
    filemap: FileMap
    dataset_name: str
    shuffle_seed: int
    chunk_points: int | dict[str, int]
    shard_points: int | None
    coords_dtype: str
    values_dtype: str
    field_dtypes: dict[str, str] | None
    compression_level: int
    checksum: bool = True
    non_finite: NonFinite = "raise"
    storage_options: dict[str, Any] = field(default_factory=dict)
    threads: int | None = None
    field_attributes: FieldAttributes = field(default_factory=dict)
    shuffle_algorithm: str = SHUFFLE_ALGORITHM
    origin: Origin | None = None
    adds_fields: bool = False

    @classmethod
    def checked(
        cls,
        *,
        store_root: str | os.PathLike[str],
        filemap: FileMap,
        dataset_name: str,
        shuffle_seed: int,
        chunk_points: int | Mapping[str, int],
        shard_points: int | None,
        coords_dtype: DTypeLike,
        values_dtype: DTypeLike,
        field_dtypes: Mapping[str, DTypeLike] | None,
        compression_level: int,
        checksum: bool,
        non_finite: NonFinite,
        storage_options: Mapping[str, Any] | None,
        threads: int | None,
        field_attributes: Mapping[str, Mapping[str, str]] | None,
        origin: ArrayLike | None = None,
        adds_fields: bool = False,
    ) -> Self:
        """Check the parameters of a writer; see `ZarrStoreWriter` for parameters and errors."""
        require_one_of("non_finite", non_finite, get_args(NonFinite))
        settings = cls(
            normalize_root(store_root),
            filemap,
            _dataset_name(dataset_name),
            _seed(shuffle_seed),
            dict(chunk_points) if isinstance(chunk_points, Mapping) else positive_int(chunk_points, "chunk_points"),
            None if shard_points is None else positive_int(shard_points, "shard_points"),
            stored_dtype(coords_dtype, "coords_dtype"),
            stored_dtype(values_dtype, "values_dtype"),
            _field_dtypes(field_dtypes),
            _level(compression_level),
            bool(checksum),
            non_finite,
            dict(storage_options or {}),
            None if threads is None else positive_int(threads, "threads"),
        )
        chunk_points_by_domain(settings.chunk_points, settings.layouts)
        return replace(
            settings,
            field_attributes=check_field_attributes(field_attributes or {}, settings.layouts),
            origin=checked_origin(origin, settings.layouts),
            adds_fields=bool(adds_fields),
        )

    @cached_property
    def layouts(self) -> dict[str, DomainLayout]:
        """Domains and arrays that samples can have."""
        return build_domain_layouts(self.filemap, self.coords_dtype, self.values_dtype, self.field_dtypes)

    @cached_property
    def manifest(self) -> StoreManifest:
        """Manifest of a new store with these settings, without samples."""
        return StoreManifest(
            dataset_name=self.dataset_name,
            format_version=format_version_for(self.origin),
            shuffle_seed=self.shuffle_seed,
            coords_dtype=self.coords_dtype,
            values_dtype=self.values_dtype,
            compressor=f"blosc-zstd-{self.compression_level}",
            domains=self.layouts,
            samples={},
            shuffle_algorithm=self.shuffle_algorithm,
            checksum=self.checksum,
            origin=self.origin,
        )

    @property
    def encoding(self) -> Encoding:
        """Encoding of chunks."""
        return Encoding(self.compression_level, self.checksum, self.threads or default_threads())

    def grid(self, domain: str, n_points: int) -> Grid:
        """Return the chunks and shards of a domain of `n_points` points."""
        chunk_points = chunk_points_by_domain(self.chunk_points, self.layouts)[domain]
        return Grid.fit(n_points, chunk_points, self.shard_points)

    def of_store(self, there: StoreManifest) -> Self:
        """Return the settings with the shuffle of an existing store, or unchanged if this release does not know it."""
        if there.shuffle_algorithm not in SHUFFLE_ALGORITHMS:
            return self
        return replace(self, shuffle_algorithm=there.shuffle_algorithm)

    def to_init_kwargs(self) -> dict[str, object]:
        """Return the keyword arguments that create an identical writer.

        Keywords with a default in this class are returned only if they differ from it. The shuffle is not returned,
        because a writer takes it from the store.
        """
        given = [one for one in fields(self) if one.name != "shuffle_algorithm" and not self._has_default(one)]
        return {one.name: copy(getattr(self, one.name)) for one in given}

    def _has_default(self, one: Field[Any]) -> bool:
        default = one.default if one.default_factory is MISSING else one.default_factory()
        return default is not MISSING and getattr(self, one.name) == default


def _field_dtypes(field_dtypes: Mapping[str, DTypeLike] | None) -> dict[str, str] | None:
    if field_dtypes is None:
        return None
    return {name: stored_dtype(dtype, f"field_dtypes[{name!r}]") for name, dtype in field_dtypes.items()}


def _level(level: object) -> int:
    if isinstance(level, bool) or not isinstance(level, int | np.integer) or int(level) not in _LEVELS:
        raise ArgumentError(f"compression_level: expected a whole number from 0 to 9, got {level!r}")
    return int(level)


def _seed(seed: object) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise ArgumentError(f"shuffle_seed: expected a whole number, got {seed!r}")
    return int(seed)


def _dataset_name(name: object) -> str:
    if not isinstance(name, str) or not name or not is_plain(name):
        raise ArgumentError(f"dataset_name: expected a non-empty str of printable characters, got {name!r}")
    return name
