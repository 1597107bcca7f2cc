"""Warnings about samples of one store that do not belong together."""

from __future__ import annotations

from collections.abc import Mapping

from noether.data.zarr_store.convert.report import Association, ReportFile
from noether.data.zarr_store.writer import ZarrStoreWriter

__all__ = ["mixed_associations", "warnings_of_store"]


def warnings_of_store(
    writer: ZarrStoreWriter, report: ReportFile, planned: Mapping[str, Mapping[str, Association]] | None = None
) -> list[str]:
    """Return warnings about all samples of a store together, including the samples of earlier conversions.

    Parameters
    ----------
    writer : ZarrStoreWriter
        Writer of the store.
    report : ReportFile
        Conversion report of the store.
    planned : mapping of str to mapping of str to {"cell", "point"}, optional
        Samples to convert, which replace stored samples of the same id; see `mixed_associations`.
    """
    stored = {
        sample_id: record.associations
        for sample_id, record in report.samples.items()
        if sample_id in writer.manifest.samples
    }
    return mixed_associations({**stored, **(planned or {})})


def mixed_associations(samples: Mapping[str, Mapping[str, Association]]) -> list[str]:
    """Return a warning for each domain whose points are mesh cells in some samples, and mesh points in others.

    Parameters
    ----------
    samples : mapping of str to mapping of str to {"cell", "point"}
        By sample id, the association of each domain that was made from a mesh.
    """
    by_domain: dict[str, dict[Association, list[str]]] = {}
    for sample_id, associations in sorted(samples.items()):
        for domain, association in associations.items():
            by_domain.setdefault(domain, {}).setdefault(association, []).append(sample_id)
    return [
        f"domain {domain}: expected one kind of points in a store, got the cells of the mesh in "
        f"{_some(kinds['cell'])}, and the points of the mesh in {_some(kinds['point'])}; write association = 'cell' or "
        "'point' in the mapping and remove the samples of the other kind (noether-zarr remove STORE --sample ID), or "
        "convert each kind into its own store"
        for domain, kinds in by_domain.items()
        if len(kinds) > 1
    ]


def _some(sample_ids: list[str]) -> str:
    count = len(sample_ids)
    return f"{count:,} samples, such as {sample_ids[0]!r}" if count > 1 else f"{sample_ids[0]!r}"
