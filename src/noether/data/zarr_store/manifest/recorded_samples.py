"""The samples of a writer: the samples of the store, and the samples that were assigned since."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import replace

from noether.data.zarr_store.core import check_sample_id
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.manifest.lines import SampleEntry

__all__ = ["RecordedSamples"]


class RecordedSamples(MutableMapping[str, SampleEntry]):
    """Samples by id. Assigned samples are kept apart, so that a save adds only them to the samples of other writers.

    Parameters
    ----------
    saved : mapping of str to SampleEntry
        The samples of the manifest that was read.

    Attributes
    ----------
    recorded : dict of str to SampleEntry
        The samples that were assigned.

    Raises
    ------
    SampleIdError
        An assigned id is not a safe relative name.
    ArgumentError
        An assigned value is not a `SampleEntry`, or a sample is deleted.
    """

    def __init__(self, saved: Mapping[str, SampleEntry]) -> None:
        self._saved = saved
        self.recorded: dict[str, SampleEntry] = {}

    def __getitem__(self, sample_id: str) -> SampleEntry:
        entry = self.recorded.get(sample_id)
        return self._saved[sample_id] if entry is None else entry

    def __setitem__(self, sample_id: str, entry: SampleEntry) -> None:
        if not isinstance(entry, SampleEntry):
            raise ArgumentError(
                f"sample {sample_id!r}: expected a SampleEntry, got {entry!r}; assign the result of write_group"
            )
        if entry.lengths_crc32c is not None:  # the chunks can have changed since the index was made
            entry = replace(entry, lengths_crc32c=None)
        self.recorded[check_sample_id(sample_id)] = entry

    def __delitem__(self, sample_id: str) -> None:
        raise ArgumentError(f"sample {sample_id!r}: a writer cannot remove samples; use remove_samples")

    def __iter__(self) -> Iterator[str]:
        yield from self._saved
        yield from (sample_id for sample_id in self.recorded if sample_id not in self._saved)

    def __len__(self) -> int:
        return len(self._saved) + sum(sample_id not in self._saved for sample_id in self.recorded)

    def __contains__(self, sample_id: object) -> bool:
        return sample_id in self.recorded or sample_id in self._saved

    def mark_saved(self, saved: Mapping[str, SampleEntry], recorded: Mapping[str, SampleEntry]) -> None:
        """Replace the saved samples, and drop the recorded entries that this save has written."""
        self._saved = saved
        for sample_id, entry in recorded.items():
            if self.recorded.get(sample_id) is entry:  # else it was assigned again during the save
                del self.recorded[sample_id]

    def __repr__(self) -> str:
        return f"<{len(self)} samples, {len(self.recorded)} of them recorded and not yet saved>"
