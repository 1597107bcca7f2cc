"""The two layouts of a chunk index file: lengths in the order of the manifest, or by sample id."""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Mapping
from typing import Protocol

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.errors import CorruptDataError
from noether.data.zarr_store.manifest import SampleEntry, StoreManifest

__all__ = ["IndexLayout", "LengthsById", "LengthsInOrder", "checksum_of", "encode_index"]

Words = NDArray[np.uint32]

# Maximum number of samples of a manifest.
_MAX_SAMPLES = 1 << 20


class IndexLayout(Protocol):
    """Finds the chunk lengths of a sample in the file of a chunk index."""

    def words_of(self, sample_id: str, entry: SampleEntry, /) -> Words | None:
        """Return the lengths of all chunks of a sample as in the file; None if the file does not describe it."""

    def describes_all(self, manifest: StoreManifest, /) -> bool:
        """Return whether the file describes all samples of a manifest."""

    def require_sound(self) -> None:
        """Raise `CorruptDataError` if the content of the file is inconsistent."""


class LengthsInOrder:
    """The earlier layout, without sample ids: the lengths of all samples in the order of the manifest.

    Parameters
    ----------
    words : ndarray of uint32
        For n samples: first 2 (n + 1) words, which hold the start of each sample's lengths and the end of the last as
        uint64; then the lengths.
    manifest : StoreManifest
        The manifest of exactly these samples.

    Raises
    ------
    CorruptDataError
        The file is for another number of samples, or is truncated.
    """

    def __init__(self, words: Words, manifest: StoreManifest) -> None:
        n_head = 2 * (len(manifest.samples) + 1)
        fits = _is_list_of_words(words) and len(words) >= n_head
        starts = words[:n_head].view("<u8") if fits else np.zeros(1, "<u8")
        if not fits or int(starts[-1]) != len(words) - n_head:
            raise CorruptDataError(
                f"the chunk index {manifest.chunk_index} does not fit the {len(manifest.samples):,} samples of the "
                "store; rebuild it with noether-zarr index STORE"
            )
        self._starts = starts
        self._lengths = words[n_head:]
        self._numbers = {sample_id: number for number, sample_id in enumerate(manifest.samples)}

    def words_of(self, sample_id: str, _entry: SampleEntry, /) -> Words:
        """Return the lengths of all chunks of a sample as in the file."""
        number = self._numbers[sample_id]
        return self._lengths[int(self._starts[number]) : int(self._starts[number + 1])]

    def describes_all(self, _manifest: StoreManifest, /) -> bool:
        """Return True: the file is for exactly these samples."""
        return True

    def require_sound(self) -> None:
        """No-op: `ChunkIndex.lengths` compares each sample with the manifest."""


class LengthsById:
    """The lengths of samples by id, each with a checksum that the sample's entry in the manifest must match.

    The file describes a sample only if the entry has the same checksum. Writing a sample again removes the checksum
    from its entry. An id is found by bisection in the file, so memory does not grow with the number of samples.

    Parameters
    ----------
    words : ndarray of uint32
        The content of the file, as `encode_index` lays it out.
    name : str or None
        The name of the file, for errors.

    Raises
    ------
    CorruptDataError
        The file is not a chunk index, or is truncated.
    """

    def __init__(self, words: Words, name: str | None) -> None:
        self._name = name
        words = words.view(np.ndarray)  # slices of a memmap take several times as long
        n_words = len(words) if _is_list_of_words(words) else 0
        n_samples = int(words[:2].view("<u8")[0]) if n_words >= 2 else -1
        at = 2 + 4 * (n_samples + 1)
        if not 0 <= n_samples <= _MAX_SAMPLES or n_words < at + n_samples:
            raise self._damaged("it is truncated")
        starts = words[2:at].view("<u8").reshape(2, -1)
        self._starts, self._id_starts = starts
        self._checksums = words[at : at + n_samples]
        n_id_words = -(-int(self._id_starts[-1]) // 4)
        if n_words != at + n_samples + n_id_words + int(self._starts[-1]):
            raise self._damaged("its size differs from the size in its header")
        ids = words[at + n_samples :]
        self._ids = ids[:n_id_words].view(np.uint8).data
        self._lengths = ids[n_id_words:]

    def words_of(self, sample_id: str, entry: SampleEntry, /) -> Words | None:
        """Return the lengths of all chunks of a sample as in the file; None if the file does not describe it."""
        checksum = entry.lengths_crc32c
        if checksum is None:
            return None
        wanted, n_samples = sample_id.encode(), len(self._checksums)
        number = bisect_left(range(n_samples), wanted, key=self._id)
        if number == n_samples or self._id(number) != wanted or f"{self._checksums[number]:08x}" != checksum:
            return None
        return self._words(number)

    def describes_all(self, manifest: StoreManifest, /) -> bool:
        """Return whether the file describes all samples of a manifest."""
        samples = manifest.samples
        return len(samples) <= len(self._checksums) and all(
            self.words_of(sample_id, samples[sample_id]) is not None for sample_id in samples
        )

    def require_sound(self) -> None:
        """Raise `CorruptDataError` unless ids and offsets ascend, and all lengths match their checksums."""
        for starts in (self._starts, self._id_starts):
            if starts[0] or np.any(starts[1:] < starts[:-1]):
                raise self._damaged("its offsets do not ascend")
        previous = None
        for number, checksum in enumerate(self._checksums.tolist()):
            found = self._id(number)
            if previous is not None and found <= previous:
                raise self._damaged("its sample ids do not ascend")
            if checksum_of(self._words(number)) != f"{checksum:08x}":
                raise self._damaged(f"the lengths of its sample {number} do not match their checksum")
            previous = found

    def _id(self, number: int) -> bytes:
        return bytes(self._ids[self._slice(self._id_starts, number, len(self._ids))])

    def _words(self, number: int) -> Words:
        return self._lengths[self._slice(self._starts, number, len(self._lengths))]

    def _slice(self, starts: NDArray[np.uint64], number: int, stop_of_all: int) -> slice:
        start, stop = starts[number : number + 2].tolist()
        if not start <= stop <= stop_of_all:
            raise self._damaged("its offsets do not ascend")
        return slice(start, stop)

    def _damaged(self, reason: str) -> CorruptDataError:
        return CorruptDataError(
            f"the chunk index {self._name} is damaged ({reason}); rebuild it with noether-zarr index STORE"
        )


def checksum_of(words: Words) -> str:
    """Return the crc32c of a sample's lengths as 8 hexadecimal digits, as in the manifest."""
    return f"{google_crc32c.value(words.astype('<u4').tobytes()):08x}"


def encode_index(samples: Mapping[str, Words]) -> bytes:
    """Return the bytes of the chunk index file for the lengths of each sample's chunks.

    For n samples, sorted by id, the words are in this order:

    - n, as uint64
    - the start of each sample's lengths and the end of the last, as uint64
    - the start of each id in the bytes of the ids and the end of the last, as uint64
    - the checksum of each sample's lengths
    - the ids in UTF-8, padded with zeros to whole words
    - the lengths
    """
    by_id = sorted((sample_id.encode(), words) for sample_id, words in samples.items())
    ids = b"".join(sample_id for sample_id, _ in by_id)
    parts = [
        np.array([len(by_id)], "<u8"),
        _starts_of([len(words) for _, words in by_id]),
        _starts_of([len(sample_id) for sample_id, _ in by_id]),
        np.array([int(checksum_of(words), 16) for _, words in by_id], "<u4"),
        np.frombuffer(ids + bytes(-len(ids) % 4), "<u4"),
        *(words for _, words in by_id),
    ]
    file = io.BytesIO()
    np.save(file, np.concatenate([part.view("<u4") if part.dtype == "<u8" else part for part in parts]).astype("<u4"))
    return file.getvalue()


def _starts_of(sizes: list[int]) -> NDArray[np.uint64]:
    starts = np.zeros(len(sizes) + 1, "<u8")
    np.cumsum(sizes, out=starts[1:])
    return starts


def _is_list_of_words(words: Words) -> bool:
    return words.ndim == 1 and words.dtype == np.dtype("<u4")
