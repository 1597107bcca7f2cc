"""The plan of a conversion."""

from __future__ import annotations

from dataclasses import dataclass, field

from noether.data.zarr_store.convert.worker_count import WorkerCount

__all__ = ["ConversionPlan", "DomainPlan"]


@dataclass(frozen=True, slots=True)
class DomainPlan:
    """The planned chunks and shards of a domain, from the samples that were described.

    Attributes
    ----------
    domain : str
        Name of the domain.
    n_samples, n_fields : int
        Number of samples that have the domain, and number of its fields.
    points_min, points_max : int
        Smallest and largest number of points of a sample.
    chunk_points : int
        Points per chunk, as requested.
    advised_chunk_points : int
        Advised points per chunk, for the largest sample.
    n_shards : int
        Largest number of shards of a field.
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
    """The expected work of a conversion.

    Attributes
    ----------
    n_samples, n_complete : int
        Number of samples to visit, and number of them that are complete and current.
    n_described : int
        Number of samples whose sizes are known; the plan assumes that the other samples have similar sizes.
    failures : dict of str to str
        By sample id, the reason why the sample could not be described.
    domains : list of DomainPlan
        The domains.
    source_bytes, stored_bytes : int
        Bytes of all arrays to convert, in the source and in the store (before compression).
    n_objects : int
        Number of objects that the conversion writes.
    memory_bytes : int
        Memory of a worker for the largest sample.
    scratch_bytes : int
        Largest size of the temporary files of a worker, over all samples.
    scratch_directory : str
        Directory of the temporary files.
    workers : WorkerCount
        Number of processes that work at the same time on this machine.
    warnings : list of str
        Problems to check before the conversion starts.
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
