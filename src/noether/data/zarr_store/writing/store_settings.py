"""The settings of a store, read from its manifest, for a writer that adds to the store."""

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
# Each candidate for a setting is compared with all samples; a store has few different ones.
_MAX_CANDIDATES = 8


def compression_level_of(manifest: StoreManifest) -> int | None:
    """Return the level of zstd that a store was compressed with; None where this library did not compress it."""
    level = _COMPRESSOR.fullmatch(manifest.compressor)
    return None if level is None else int(level[1])


@dataclass(frozen=True)
class StoreSettings:
    """The parameters of `ZarrStoreWriter` that a store was written with.

    Attributes
    ----------
    chunk_points : dict of str to int
        By domain: the points of a chunk that give the most samples the chunks that they have. A domain that no sample
        has is missing.
    shard_points : int or None
        The most points of a shard that give the most domains of samples the shards that they have.
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
            The manifest of the store.
        origin : str
            The place of the manifest, for the error.
        entries : iterable of SampleEntry, optional
            The samples whose chunks and shards count, in place of all.

        Raises
        ------
        ManifestConflictError
            No writer of this release makes such a store.
        """
        level = compression_level_of(manifest)
        if level is None or manifest.shuffle_algorithm not in SHUFFLE_ALGORITHMS:
            raise ManifestConflictError(
                f"{origin}: this release cannot add to the store. It writes the shuffles "
                f"{', '.join(SHUFFLE_ALGORITHMS)} and the compressors blosc-zstd-0 to blosc-zstd-9; the store has the "
                f"shuffle {manifest.shuffle_algorithm} and the compressor {manifest.compressor}. Write to another "
                "store, or use the release that wrote this one."
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
        """Return the keywords of `ZarrStoreWriter` for samples with the fields of a file map."""
        specs = present_specs(filemap)
        fields, domains = {spec.field for spec in specs}, {spec.domain for spec in specs}
        return vars(self) | {
            "chunk_points": {domain: points for domain, points in self.chunk_points.items() if domain in domains},
            "field_dtypes": {field: dtype for field, dtype in self.field_dtypes.items() if field in fields},
        }


def _common_chunk_points(grids: list[Grid]) -> int:
    """Return the points of a chunk that reproduce the most of the grids of one domain."""
    counts = Counter(grid.chunk_points for grid in grids if grid.n_chunks > 1)
    # A domain of one chunk fits every setting of at least its size, and so tells no other.
    alone = max((grid.n_points for grid in grids if grid.n_chunks == 1), default=0)
    candidates = [*(points for points, _ in counts.most_common(_MAX_CANDIDATES)), max(alone, DEFAULT_CHUNK_POINTS)]
    return max(candidates, key=lambda points: sum(min(points, grid.n_points) == grid.chunk_points for grid in grids))


def _common_shard_points(grids: list[Grid]) -> int | None:
    """Return the most points of a shard that reproduce the most of some grids; None where a shard holds a field."""
    counts = Counter(grid.shard_points for grid in grids if grid.n_shards > 1)
    if not counts:
        return None
    # The cap was rounded down to whole chunks of each domain: the largest shard of several chunks makes all others too.
    largest = max((grid.shard_points for grid in grids if grid.shard_points > grid.chunk_points), default=1)
    candidates = [largest, *(points for points, _ in counts.most_common(_MAX_CANDIDATES)), None]

    def n_reproduced(points: int | None) -> int:
        return sum(Grid.fit(grid.n_points, grid.chunk_points, points) == grid for grid in grids)

    return max(candidates, key=n_reproduced)
