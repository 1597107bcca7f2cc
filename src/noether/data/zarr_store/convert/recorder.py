"""Saves of the manifest and of conversion.json during a conversion."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from noether.data.zarr_store.convert.report import ReportFile, RunKind, RunRecord, SampleResult
from noether.data.zarr_store.convert.turns import Turns, is_costly
from noether.data.zarr_store.manifest import SampleEntry
from noether.data.zarr_store.stores import open_storage
from noether.data.zarr_store.writer import ZarrStoreWriter

__all__ = ["Recorder"]

# Least number of seconds between two saves. A kill between them loses no sample, because the groups are complete.
_SAVE_SECONDS = 10.0
# A save reads and writes the lines of all samples, so its time grows with the store. Saves may use at most a hundredth
# of the total time, but one slow save must not delay the next by a day.
_SAVES_APART = 100.0
_LONGEST_PAUSE_S = 3600.0
# Estimated seconds of a save per sample of the store, until the first save is measured.
_SECONDS_OF_A_SAMPLE = 40e-6


class Recorder:
    """Collects results, and saves them at intervals.

    Parameters
    ----------
    writer : ZarrStoreWriter
        Writer of the store, with its manifest.
    settings : dict
        Arguments of the call.
    kind : {"convert", "add-fields", "map-fields"}
        Kind of the invocation.
    record : callable of str and SampleEntry, optional
        Function that adds a sample and its entry to the next save of the manifest. The default is `writer.record`.
    clock : callable
        Function that returns the time in seconds.

    Attributes
    ----------
    has_saved_entries : bool
        Whether the manifest was saved with at least one sample.
    report_file : ReportFile
        The report that `finish` saved; empty before that.
    """

    def __init__(
        self,
        writer: ZarrStoreWriter,
        settings: dict[str, Any],
        *,
        kind: RunKind = "convert",
        record: Callable[[str, SampleEntry], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._run = RunRecord(kind=kind, settings=settings | _settings_of(writer))
        self._record = record or writer.record
        self._unsaved: list[SampleResult] = []
        self._has_results = self._has_entries = False
        self._clock = clock
        self._turns = Turns(open_storage(writer.store_root, writer.settings.storage_options), clock=clock)
        self._next_save = clock() + _pause_after(_SECONDS_OF_A_SAMPLE * len(writer.manifest.samples))
        self.has_saved_entries = False
        self.report_file = ReportFile()

    def add(self, result: SampleResult) -> None:
        """Record the result of a sample, and save if a save is due."""
        self._unsaved.append(result)
        self._has_results = True
        if result.entry is not None and not self._is_known(result):
            self._record(result.sample_id, result.entry)
            self._has_entries = True
        if self._clock() > self._next_save:
            with self._turn(wait=False) as has_turn:
                if has_turn:
                    self._save()

    def finish(self) -> None:
        """Save the remaining results, and record the end of the conversion; a no-op if there was no sample."""
        if self._has_results:
            self._run = self._run.finished()
            with self._turn(wait=True):
                self.report_file = self._save()

    def _is_known(self, result: SampleResult) -> bool:
        return result.outcome == "skipped" and self._writer.manifest.samples.get(result.sample_id) == result.entry

    @contextmanager
    def _turn(self, *, wait: bool) -> Iterator[bool]:
        if not is_costly(self._writer):
            yield True
            return
        with self._turns.turn(wait=wait) as has_turn:
            yield has_turn

    def _save(self) -> ReportFile:
        start = self._clock()
        options = self._writer.settings.storage_options
        if self._has_entries:
            self._writer.save_manifest()
            self._has_entries, self.has_saved_entries = False, True
        report = ReportFile.add(self._writer.store_root, self._run, self._unsaved, storage_options=options)
        self._unsaved.clear()
        end = self._clock()
        self._next_save = end + _pause_after(end - start)
        return report


def _pause_after(seconds: float) -> float:
    """Return the seconds to wait after a save that took `seconds`."""
    return max(_SAVE_SECONDS, min(_SAVES_APART * seconds, _LONGEST_PAUSE_S))


def _settings_of(writer: ZarrStoreWriter) -> dict[str, Any]:
    """Return the settings of a writer without the options of its file system, which may contain secrets."""
    settings = {key: value for key, value in writer.to_init_kwargs().items() if key != "storage_options"}
    if writer.settings.origin is not None:
        settings["origin"] = list(writer.settings.origin)
    return settings | {"filemap": writer.filemap.model_dump(exclude_none=True)}
