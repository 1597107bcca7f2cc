"""Check of a sample against its source: the same positions and values, after the stored cast, in original order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from noether.data.zarr_store.core import count_of
from noether.data.zarr_store.errors import MissingDependencyError, OriginalOrderError, SampleDataError, reason_of
from noether.data.zarr_store.manifest import StoreManifest, later_fields, without_fields
from noether.data.zarr_store.reading import require_original_order
from noether.data.zarr_store.sources import FingerprintedSource, SampleSource
from noether.data.zarr_store.upkeep.verify.context import Context, ListedSample
from noether.data.zarr_store.upkeep.verify.findings import FindingKind
from noether.data.zarr_store.upkeep.verify.sample_check import SampleCheck
from noether.data.zarr_store.upkeep.verify.tasks import Task
from noether.data.zarr_store.writing import (
    FieldValues,
    PreparedSample,
    StoredRows,
    check_attributes,
    check_fields,
)

__all__ = ["SourceCheck", "require_known_order"]


def require_known_order(manifest: StoreManifest, origin: str) -> str:
    """Return the shuffle algorithm of a store; raise `OriginalOrderError` if the order of the source is unknown."""
    try:
        return require_original_order(manifest)
    except OriginalOrderError as error:
        raise OriginalOrderError(
            f"{origin}: the store cannot be compared with a source ({error}); use the level 'data'"
        ) from error


class SourceCheck:
    """Compares samples with their source, one at a time, because a sample of the source may be as large as memory.

    Parameters
    ----------
    context : Context
        State of the verification.
    source : SampleSource
        Source of the samples.
    shuffle_algorithm : str
        Shuffle algorithm of the store.
    threads : int
        Number of threads that read the source.
    run : callable
        Function that runs tasks, and the tasks that they return.
    """

    def __init__(
        self,
        context: Context,
        source: SampleSource,
        shuffle_algorithm: str,
        threads: int,
        run: Callable[[Iterable[Task]], None],
    ) -> None:
        self._context = context
        self._algorithm = shuffle_algorithm
        self._source = source
        self._threads = threads
        self._run = run
        self._there = frozenset(source.sample_ids())

    def compare(self, check: SampleCheck) -> None:
        """Read all chunks of a sample, and compare their rows with the source."""
        sample = check.sample
        fields = self._load(sample)
        compared: set[str] = set()
        prepared = PreparedSample(
            sample.sample_id,
            fields,
            {domain: found.grid for domain, found in sample.entry.domains.items()},
            shuffle_algorithm=self._algorithm,
            shuffle_seed=self._context.manifest.shuffle_seed,
            non_finite="allow",
            threads=self._threads,
            positions={layout.position for layout in self._context.manifest.domains.values()},
            origin=self._context.manifest.origin,
        )
        try:
            with prepared:
                for _, arrays in prepared.domains():
                    expected = {layout.field: rows for layout, rows in arrays.arrays}
                    self._read(check, expected)
                    compared |= expected.keys()
        except SampleDataError as error:
            self._add(sample, "source_differs", str(error))
        self._read(check, dict.fromkeys(field for field in check.fields if field not in compared))

    def note_unconverted(self, sample_ids: Iterable[str]) -> None:
        """Add a note about samples of the source that are not in `sample_ids`."""
        missing = sorted(self._there.difference(sample_ids))
        if missing:
            lacking = f"the store lacks {count_of(len(missing), 'sample')} of the source, such as {missing[0]!r}"
            self._context.findings.add("not_converted", lacking)

    def _read(self, check: SampleCheck, expected: Mapping[str, StoredRows | None]) -> None:
        checks = check.array_checks(expected, reads_chunks=True)
        self._run(task for one in checks for task in one.tasks())

    def _load(self, sample: ListedSample) -> dict[str, list[FieldValues]]:
        """Load the domains that can be compared; add findings about the others."""
        sample_id, entry = sample.sample_id, sample.entry
        if sample_id not in self._there:
            self._add(sample, "not_compared", "the source does not have the sample")
            return {}
        try:
            loaded = self._source.load(sample_id)
            layouts = self._context.manifest.domains
            # This source need not have fields that were added later.
            layouts = without_fields(layouts, later_fields(self._context.manifest) - loaded.fields.keys())
            known = {field for layout in layouts.values() for field in layout.arrays}
            given = {field: values for field, values in loaded.fields.items() if field in known}
            domains = check_fields(sample_id, given, layouts)
            attributes = check_attributes(sample_id, loaded.attributes)
            self._note_change(sample)
        except MissingDependencyError:
            raise
        except Exception as error:  # noqa: BLE001 - a library may raise anything on a broken file; the rest goes on
            self._add(sample, "not_compared", f"the source cannot be read: {reason_of(error)}")
            return {}
        # The sample may have more attributes, which were set after the conversion.
        if not attributes.items() <= entry.attributes.items():
            self._add(sample, "source_differs", "the attributes of the sample differ from the source")
        for domain in domains.keys() ^ entry.domains.keys():
            has, lacks = ("source", "sample") if domain in domains else ("sample", "source")
            self._add(sample, "source_differs", f"the {has} has the domain {domain!r}, but the {lacks} does not")
        return {
            domain: values for domain, values in domains.items() if self._has_as_many_points(sample, domain, values)
        }

    def _has_as_many_points(self, sample: ListedSample, domain: str, values: list[FieldValues]) -> bool:
        found = sample.entry.domains.get(domain)
        n_points = values[0][1].shape[0]
        if found is not None and found.n_points != n_points:
            difference = f"domain {domain!r} has {found.n_points:,} points in the store, and {n_points:,} in the source"
            self._add(sample, "source_differs", difference)
        return found is not None and found.n_points == n_points

    def _note_change(self, sample: ListedSample) -> None:
        former = sample.entry.fingerprint
        if former is None or not isinstance(self._source, FingerprintedSource):
            return
        if self._source.fingerprint(sample.sample_id) != former:
            self._add(sample, "source_changed", "the files of the source have changed since the conversion")

    def _add(self, sample: ListedSample, kind: FindingKind, explanation: str) -> None:
        self._context.findings.add(kind, explanation, sample_id=sample.sample_id, key=sample.entry.relpath)
