"""Keeps the manifest and conversion.json up to date while a conversion goes on."""

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

# Saves are at least so far apart. A run that is killed between two loses no sample: groups themselves are kept.
_SAVE_SECONDS = 10.0
# A save takes longer the larger the store is, since it reads and writes all samples. Saves shall not take more than a
# hundredth of the time, but one slow save shall not put the next one off for a day.
_SAVES_APART = 100.0
_LONGEST_PAUSE_S = 3600.0
# The first save shows how long one takes. Till then, it is taken to need so long for each sample of the store.
_SECONDS_OF_A_SAMPLE = 40e-6


class Recorder:
    """Takes results as they come, and saves now and then.

    Parameters
    ----------
    writer : ZarrStoreWriter
        Has the manifest.
    settings : dict
        How the run was called.
    kind : {"convert", "add-fields", "map-fields"}
        What the run does.
    record : callable of str and SampleEntry, optional
        Takes samples and their entries for the next save of the manifest; by default that of the writer.
    clock : callable
        Tells the time in seconds.

    Attributes
    ----------
    has_saved_entries : bool
        Whether the manifest was saved with a sample.
    report_file : ReportFile
        The report as `finish` saved it; empty before that.
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
        """Take what became of a sample."""
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
        """Save what is not saved yet, and that the conversion has ended; nothing where there was no sample."""
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
    """Return the time between a save that took so many seconds and the next."""
    return max(_SAVE_SECONDS, min(_SAVES_APART * seconds, _LONGEST_PAUSE_S))


def _settings_of(writer: ZarrStoreWriter) -> dict[str, Any]:
    """Return the settings of a writer but for the options of its file system, which may be secret."""
    settings = {key: value for key, value in writer.to_init_kwargs().items() if key != "storage_options"}
    if writer.settings.origin is not None:
        settings["origin"] = list(writer.settings.origin)
    return settings | {"filemap": writer.filemap.model_dump(exclude_none=True)}
