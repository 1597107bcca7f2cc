"""The plan of a conversion."""

from __future__ import annotations

from dataclasses import dataclass, field

from noether.data.zarr_store.convert.worker_count import WorkerCount

__all__ = ["ConversionPlan", "DomainPlan"]


@dataclass(frozen=True, slots=True)
class DomainPlan:
    """What becomes of a domain, in the samples that were described.

    Attributes
    ----------
    domain : str
        Its name.
    n_samples, n_fields : int
        Samples that have it, and its fields.
    points_min, points_max : int
        Fewest and most points of a sample.
    chunk_points : int
        Points of a chunk, as asked for.
    advised_chunk_points : int
        Points of a chunk that suit its largest sample.
    n_shards : int
        Most shards of a field.
    shard_bytes : int
        Bytes of the largest shard, before compression.
    """

    domain: str
    n_samples: int
    n_fields: int
    points_min: int
    points_max: int
    chunk_points: int
    advised_chunk_points: int
    n_shards: int
    shard_bytes: int


@dataclass(frozen=True, slots=True)
class ConversionPlan:
    """What a conversion would do.

    Attributes
    ----------
    n_samples, n_complete : int
        Samples to look at, and those of them that the manifest has as they are.
    n_described : int
        Samples whose sizes were looked at; those of the others are taken to be alike.
    failures : dict of str to str
        By sample id, why one could not be described.
    domains : list of DomainPlan
        The domains.
    source_bytes, stored_bytes : int
        Bytes of the arrays of all samples that are to be converted, in the source and in the store, there before
        compression.
    n_objects : int
        Objects of these.
    memory_bytes : int
        Memory that a worker takes for the largest sample.
    scratch_bytes : int
        Temporary files that a worker writes for the sample with the largest ones.
    scratch_directory : str
        Where they lie.
    workers : WorkerCount
        Processes that work at the same time on this machine.
    warnings : list of str
        What should be looked at first.
    """

    n_samples: int
    n_complete: int
    n_described: int
    failures: dict[str, str]
    domains: list[DomainPlan]
    source_bytes: int
    stored_bytes: int
    n_objects: int
    memory_bytes: int
    scratch_bytes: int
    scratch_directory: str
    workers: WorkerCount
    warnings: list[str] = field(default_factory=list)
