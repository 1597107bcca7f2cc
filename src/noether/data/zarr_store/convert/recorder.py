"""Keeps the manifest and conversion.json up to date while a conversion goes on."""

from __future__ import annotations

import time
from typing import Any

from noether.data.zarr_store.convert.report import ReportFile, RunRecord, SampleResult
from noether.data.zarr_store.writer import ZarrStoreWriter

__all__ = ["Recorder"]

# So much work at most is looked at again after a run was killed without a warning; groups themselves are kept.
_SAVE_SECONDS = 10.0
# Saving takes longer the larger the store is; it shall not take more than a tenth of the time.
_SAVES_APART = 10.0


class Recorder:
    """Takes results as they come, and saves now and then.

    Parameters
    ----------
    writer : ZarrStoreWriter
        Has the manifest.
    settings : dict
        How the conversion was called.
    """

    def __init__(self, writer: ZarrStoreWriter, settings: dict[str, Any]) -> None:
        self._writer = writer
        self._run = RunRecord(settings=settings | _settings_of(writer))
        self._unsaved: list[SampleResult] = []
        self._has_results = self._has_entries = False
        self._next_save = time.monotonic() + _SAVE_SECONDS
        self.has_saved_entries = False

    def add(self, result: SampleResult) -> None:
        """Take what became of a sample."""
        self._unsaved.append(result)
        self._has_results = True
        if result.entry is not None and not self._is_known(result):
            self._writer.record(result.sample_id, result.entry)
            self._has_entries = True
        if time.monotonic() > self._next_save:
            self._save()

    def finish(self) -> None:
        """Save what is not saved yet, and that the conversion has ended; nothing where there was no sample."""
        if self._has_results:
            self._run = self._run.finished()
            self._save()

    def _is_known(self, result: SampleResult) -> bool:
        return result.outcome == "skipped" and self._writer.manifest.samples.get(result.sample_id) == result.entry

    def _save(self) -> None:
        start = time.monotonic()
        options = self._writer.settings.storage_options
        if self._has_entries:
            self._writer.save_manifest()
            self._has_entries, self.has_saved_entries = False, True
        ReportFile.add(self._writer.store_root, self._run, self._unsaved, storage_options=options)
        self._unsaved.clear()
        end = time.monotonic()
        self._next_save = end + max(_SAVE_SECONDS, _SAVES_APART * (end - start))


def _settings_of(writer: ZarrStoreWriter) -> dict[str, Any]:
    """Return the settings of a writer but for the options of its file system, which may be secret."""
    settings = {key: value for key, value in writer.to_init_kwargs().items() if key != "storage_options"}
    if writer.settings.origin is not None:
        settings["origin"] = list(writer.settings.origin)
    return settings | {"filemap": writer.filemap.model_dump(exclude_none=True)}
