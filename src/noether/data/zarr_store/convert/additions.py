"""What a run that adds fields does: which samples it looks at, and what becomes of one."""

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
    """The samples of a source and a store, as far as the domains of added fields go.

    Attributes
    ----------
    both : list of str
        Samples that both have, in the order of the source.
    complete : set of str
        Those of them that have all fields that are added, as far as the manifest tells.
    only_in_source : list of str
        Samples that the store lacks.
    without_domain : list of str
        Samples that have none of the domains in the store.
    only_in_store : list of str
        Samples of the store that lack one of the fields, and that the source lacks.
    """

    both: list[str]
    complete: set[str]
    only_in_source: list[str]
    without_domain: list[str]
    only_in_store: list[str]


def samples_of_both(source: SampleSource, writer: ZarrStoreWriter) -> SamplesOfBoth:
    """Compare the samples of a source with those of the store of a writer that adds fields."""
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
    """Return a source that loads no more than the fields that a writer adds, if the source can do that."""
    return source.only(fields_of_writer(writer).keys()) if isinstance(source, SelectiveSource) else source


def lacking_fields(entry: SampleEntry, fields: Mapping[str, str]) -> dict[str, str]:
    """Return those of some fields, each with its domain, that a sample has the domain of and lacks."""
    return {
        field: domain for field, domain in fields.items() if domain in entry.domains and field not in entry.added_fields
    }


@dataclass(frozen=True, slots=True)
class Addition:
    """Adds fields of a source to samples that lack them; see `SampleWork`.

    Attributes
    ----------
    source : SampleSource
        Has the fields.
    fields : dict of str to str
        The domains of the fields, by canonical name.
    compare : {"all", "some"}
        See `ZarrStoreWriter.add_fields_to_group`.
    """

    source: SampleSource
    fields: dict[str, str]
    compare: Comparison = "all"

    def do(self, writer: ZarrStoreWriter, sample_id: str) -> SampleResult:
        """Add the fields that a sample lacks, with its positions, which are compared with those of the store."""
        entry = writer.entry_of_group(sample_id)
        lacking = lacking_fields(entry, self.fields)
        if not lacking:
            return SampleResult(sample_id, "skipped", entry)
        loaded = self.source.load(sample_id).fields
        found = {field: domain for field, domain in lacking.items() if field in loaded}
        if not found:
            raise SourceError(
                f"sample {sample_id!r}: the source lacks {', '.join(lacking)}, and so has nothing to add; expected the "
                f"domain {', '.join(dict.fromkeys(lacking.values()))}, as the store has it"
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
    """Add fields to the group of a sample; return what became of it."""
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
