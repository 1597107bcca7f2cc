"""Is a sample what its source is: the same positions and values, after the stored cast, in the original order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

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
    """Return the shuffle of a store; raise `OriginalOrderError` unless the order of the source is known."""
    try:
        return require_original_order(manifest)
    except OriginalOrderError as error:
        raise OriginalOrderError(
            f"{origin}: it cannot be compared with a source: {error}; verify the level 'data'"
        ) from error


class SourceCheck:
    """Compares samples with their source, one at a time, since a source may be as large as memory.

    Parameters
    ----------
    context : Context
        What is verified.
    source : SampleSource
        Where the samples came from.
    shuffle_algorithm : str
        The shuffle of the store, which is known.
    threads : int
        Threads that read the source.
    run : callable
        Does tasks, and those that they give.
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
        """Read all chunks of a sample, and compare their rows with those of the source."""
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
        """Note which samples of the source are not among these."""
        missing = sorted(self._there.difference(sample_ids))
        if missing:
            example = f"{len(missing)} samples of the source are not in the store, such as {missing[0]!r}"
            self._context.findings.add("not_converted", example)

    def _read(self, check: SampleCheck, expected: Mapping[str, StoredRows | None]) -> None:
        checks = check.array_checks(expected, reads_chunks=True)
        self._run(task for one in checks for task in one.tasks())

    def _load(self, sample: ListedSample) -> dict[str, list[FieldValues]]:
        """Load the domains that can be compared; say why others cannot."""
        sample_id, entry = sample.sample_id, sample.entry
        if sample_id not in self._there:
            self._add(sample, "not_compared", "the source does not have it")
            return {}
        try:
            loaded = self._source.load(sample_id)
            layouts = self._context.manifest.domains
            # Fields that came later need not be in this source.
            layouts = without_fields(layouts, later_fields(self._context.manifest) - loaded.fields.keys())
            known = {field for layout in layouts.values() for field in layout.arrays}
            given = {field: values for field, values in loaded.fields.items() if field in known}
            domains = check_fields(sample_id, given, layouts)
            attributes = check_attributes(sample_id, loaded.attributes)
            self._note_change(sample)
        except MissingDependencyError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a broken file makes a library raise, the rest goes on
            self._add(sample, "not_compared", f"the source cannot be read: {reason_of(error)}")
            return {}
        # Others may have been set since.
        if not attributes.items() <= entry.attributes.items():
            self._add(sample, "source_differs", "its attributes are not those of the source")
        for domain in domains.keys() ^ entry.domains.keys():
            has, lacks = ("source", "sample") if domain in domains else ("sample", "source")
            self._add(sample, "source_differs", f"the {has} has the domain {domain!r}, the {lacks} has not")
        return {
            domain: values for domain, values in domains.items() if self._has_as_many_points(sample, domain, values)
        }

    def _has_as_many_points(self, sample: ListedSample, domain: str, values: list[FieldValues]) -> bool:
        found = sample.entry.domains.get(domain)
        n_points = values[0][1].shape[0]
        if found is not None and found.n_points != n_points:
            difference = f"domain {domain!r} has {found.n_points:,} points, in the source {n_points:,}"
            self._add(sample, "source_differs", difference)
        return found is not None and found.n_points == n_points

    def _note_change(self, sample: ListedSample) -> None:
        former = sample.entry.fingerprint
        if former is None or not isinstance(self._source, FingerprintedSource):
            return
        if self._source.fingerprint(sample.sample_id) != former:
            self._add(sample, "source_changed", "the files of the source have changed since it was converted")

    def _add(self, sample: ListedSample, kind: FindingKind, explanation: str) -> None:
        self._context.findings.add(kind, explanation, sample_id=sample.sample_id, key=sample.entry.relpath)
