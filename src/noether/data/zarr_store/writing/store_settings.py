"""The settings of an existing store, read from its manifest, for a writer that adds to the store."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from noether.data.schemas import FileMap
from noether.data.zarr_store.core import DEFAULT_CHUNK_POINTS, Grid
from noether.data.zarr_store.errors import ManifestConflictError
from noether.data.zarr_store.layout import present_specs
from noether.data.zarr_store.manifest import Origin, SampleEntry, StoreManifest
from noether.data.zarr_store.sampling import SHUFFLE_ALGORITHMS

__all__ = ["StoreSettings", "compression_level_of"]

_COMPRESSOR = re.compile(r"blosc-zstd-([0-9])")
# Maximum number of candidates for a setting. Each is compared with all samples, and a store has few different settings.
_MAX_CANDIDATES = 8


def compression_level_of(manifest: StoreManifest) -> int | None:
    """Return the compression level of a store; None if another program compressed it."""
    level = _COMPRESSOR.fullmatch(manifest.compressor)
    return None if level is None else int(level[1])


@dataclass(frozen=True)
class StoreSettings:
    """The parameters of `ZarrStoreWriter` that a store was written with.

    Attributes
    ----------
    chunk_points : dict of str to int
        Chunk size of each domain: the value that reproduces the chunks of the largest number of samples. Domains that
        no sample has are left out.
    shard_points : int or None
        Maximum shard size: the value that reproduces the shards of the largest number of domains of samples.
    """

    dataset_name: str
    shuffle_seed: int
    chunk_points: dict[str, int]
    shard_points: int | None
    coords_dtype: str
    values_dtype: str
    field_dtypes: dict[str, str]
    compression_level: int
    checksum: bool
    origin: Origin | None

    @classmethod
    def of(cls, manifest: StoreManifest, origin: str, entries: Iterable[SampleEntry] | None = None) -> Self:
        """Read the settings of a store.

        Parameters
        ----------
        manifest : StoreManifest
            Manifest of the store.
        origin : str
            Path or URL of the manifest, for the error.
        entries : iterable of SampleEntry, optional
            Samples from which the chunks and shards are taken; by default, all samples.

        Raises
        ------
        ManifestConflictError
            This release cannot write the shuffle or the compressor of the store.
        """
        level = compression_level_of(manifest)
        if level is None or manifest.shuffle_algorithm not in SHUFFLE_ALGORITHMS:
            raise ManifestConflictError(
                f"{origin}: this release cannot add to the store: expected the shuffle "
                f"{' or '.join(SHUFFLE_ALGORITHMS)} and a compressor from blosc-zstd-0 to blosc-zstd-9, got "
                f"{manifest.shuffle_algorithm} and {manifest.compressor}; write to another store, or use the release "
                "that wrote this one"
            )
        grids: dict[str, list[Grid]] = {}
        for entry in manifest.samples.values() if entries is None else entries:
            for domain, sample in entry.domains.items():
                grids.setdefault(domain, []).append(sample.grid)
        return cls(
            dataset_name=manifest.dataset_name,
            shuffle_seed=manifest.shuffle_seed,
            chunk_points={domain: _common_chunk_points(of_domain) for domain, of_domain in grids.items()},
            shard_points=_common_shard_points([grid for of_domain in grids.values() for grid in of_domain]),
            coords_dtype=manifest.coords_dtype,
            values_dtype=manifest.values_dtype,
            field_dtypes={
                field: array.dtype
                for arrays in (
                    *manifest.pending_fields.values(),
                    *(layout.arrays for layout in manifest.domains.values()),
                )
                for field, array in arrays.items()
            },
            compression_level=level,
            checksum=manifest.checksum,
            origin=manifest.origin,
        )

    def to_init_kwargs(self, filemap: FileMap) -> dict[str, Any]:
        """Return the keyword arguments of a `ZarrStoreWriter` for the fields of a file map."""
        specs = present_specs(filemap)
        fields, domains = {spec.field for spec in specs}, {spec.domain for spec in specs}
        return vars(self) | {
            "chunk_points": {domain: points for domain, points in self.chunk_points.items() if domain in domains},
            "field_dtypes": {field: dtype for field, dtype in self.field_dtypes.items() if field in fields},
        }


def _common_chunk_points(grids: list[Grid]) -> int:
    """Return the chunk size that reproduces the largest number of grids of one domain."""
    counts = Counter(grid.chunk_points for grid in grids if grid.n_chunks > 1)
    # A domain with only one chunk fits every chunk size from its own size on.
    alone = max((grid.n_points for grid in grids if grid.n_chunks == 1), default=0)
    candidates = [*(points for points, _ in counts.most_common(_MAX_CANDIDATES)), max(alone, DEFAULT_CHUNK_POINTS)]
    return max(candidates, key=lambda points: sum(min(points, grid.n_points) == grid.chunk_points for grid in grids))


def _common_shard_points(grids: list[Grid]) -> int | None:
    """Return the maximum shard size that reproduces the largest number of grids; None if each field has one shard."""
    counts = Counter(grid.shard_points for grid in grids if grid.n_shards > 1)
    if not counts:
        return None
    # The maximum was rounded down to whole chunks of each domain. So the largest shard size with several chunks
    # reproduces all others.
    largest = max((grid.shard_points for grid in grids if grid.shard_points > grid.chunk_points), default=1)
    candidates = [largest, *(points for points, _ in counts.most_common(_MAX_CANDIDATES)), None]

    def n_reproduced(points: int | None) -> int:
        return sum(Grid.fit(grid.n_points, grid.chunk_points, points) == grid for grid in grids)

    return max(candidates, key=n_reproduced)
