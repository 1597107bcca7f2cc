"""Adding fields: the choice of samples, and the work on one sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from noether.data.zarr_store.convert.conversion import array_bytes
from noether.data.zarr_store.convert.field_writers import fields_of_writer
from noether.data.zarr_store.convert.report import SampleResult
from noether.data.zarr_store.core import peak_memory_bytes
from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.manifest import SampleEntry
from noether.data.zarr_store.sources import SampleSource, SelectiveSource
from noether.data.zarr_store.writer import ZarrStoreWriter
from noether.data.zarr_store.writing import Comparison, RowOrder

__all__ = ["Addition", "SamplesOfBoth", "added", "lacking_fields", "narrowed_source", "samples_of_both"]


@dataclass(frozen=True, slots=True)
class SamplesOfBoth:
    """The samples of a source and of a store, compared for an addition of fields.

    Attributes
    ----------
    both : list of str
        Samples that the source and the store share, in the order of the source.
    complete : set of str
        Samples of the source that, according to the manifest, have all the fields already.
    only_in_source : list of str
        Samples of the source that the store lacks.
    without_domain : list of str
        Samples of the source that have none of the fields' domains in the store.
    only_in_store : list of str
        Samples of the store that lack at least one of the fields, and that the source lacks.
    """

    both: list[str]
    complete: set[str]
    only_in_source: list[str]
    without_domain: list[str]
    only_in_store: list[str]


def samples_of_both(source: SampleSource, writer: ZarrStoreWriter) -> SamplesOfBoth:
    """Compare the samples of a source with the samples of the store to which a writer adds fields."""
    fields, source_ids = fields_of_writer(writer), source.sample_ids()
    there = frozenset(source_ids)
    without_domain, complete = set[str](), set[str]()
    only_in_store: list[str] = []
    for sample_id, entry in writer.manifest.samples.items():
        if not entry.domains.keys() & set(fields.values()):
            without_domain.add(sample_id)
        elif not lacking_fields(entry, fields):
            complete.add(sample_id)
        elif sample_id not in there:
            only_in_store.append(sample_id)
    samples = writer.manifest.samples
    return SamplesOfBoth(
        [one for one in source_ids if one in samples and one not in without_domain],
        complete & there,
        [one for one in source_ids if one not in samples],
        [one for one in source_ids if one in without_domain],
        only_in_store,
    )


def narrowed_source(source: SampleSource, writer: ZarrStoreWriter) -> SampleSource:
    """Return a source that loads only the fields that a writer adds, or the same source if it cannot select fields."""
    return source.only(fields_of_writer(writer).keys()) if isinstance(source, SelectiveSource) else source


def lacking_fields(entry: SampleEntry, fields: Mapping[str, str]) -> dict[str, str]:
    """Return the fields that a sample lacks although it has their domain, each with its domain."""
    return {
        field: domain for field, domain in fields.items() if domain in entry.domains and field not in entry.added_fields
    }


@dataclass(frozen=True, slots=True)
class Addition:
    """Adds fields of a source to samples that lack them; see `SampleWork`.

    Attributes
    ----------
    source : SampleSource
        Source of the fields.
    fields : dict of str to str
        Domain of each field, by canonical name.
    compare : {"all", "some"}
        See `ZarrStoreWriter.add_fields_to_group`.
    """

    source: SampleSource
    fields: dict[str, str]
    compare: Comparison = "all"

    def do(self, writer: ZarrStoreWriter, sample_id: str) -> SampleResult:
        """Add the fields that a sample lacks, after a comparison of its positions with the positions in the store."""
        entry = writer.entry_of_group(sample_id)
        lacking = lacking_fields(entry, self.fields)
        if not lacking:
            return SampleResult(sample_id, "skipped", entry)
        loaded = self.source.load(sample_id).fields
        found = {field: domain for field, domain in lacking.items() if field in loaded}
        if not found:
            raise SourceError(
                f"sample {sample_id!r}: expected at least one of the fields to add ({', '.join(lacking)}) in the "
                f"source, got none; add the domain {', '.join(dict.fromkeys(lacking.values()))} to the source"
            )
        positions = {writer.layouts[domain].position for domain in found.values()}
        arrays = {field: values for field, values in loaded.items() if field in positions or field in found}
        return added(writer, sample_id, arrays, compare=self.compare)


def added(
    writer: ZarrStoreWriter,
    sample_id: str,
    arrays: Mapping[str, Any],
    *,
    order: RowOrder = "original",
    compare: Comparison = "all",
) -> SampleResult:
    """Add fields to the group of a sample, and return the result."""
    stored_bytes = 0

    def count(n_bytes: int) -> None:
        nonlocal stored_bytes
        stored_bytes += n_bytes

    entry = writer.add_fields_to_group(sample_id, arrays, order=order, compare=compare, on_bytes=count)
    return SampleResult(
        sample_id,
        "converted",
        entry,
        source_bytes=sum(map(array_bytes, arrays.values())),
        stored_bytes=stored_bytes,
        peak_memory_bytes=peak_memory_bytes(),
    )
