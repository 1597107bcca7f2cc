"""Sources that misbehave. Worker processes import this module, so it imports no large libraries."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path

from noether.data.schemas import FileMap
from noether.data.zarr_store.errors import WholeFileWarning
from noether.data.zarr_store.sources import FieldDescription, SourceSample, TreeSource


class RaisingSource(TreeSource):
    """A source that raises given errors for some samples."""

    def __init__(self, root: Path, filemap: FileMap, errors: Mapping[str, BaseException]) -> None:
        super().__init__(root, filemap)
        self.errors = dict(errors)

    def load(self, sample_id: str) -> SourceSample:
        if sample_id in self.errors:
            raise self.errors[sample_id]
        return super().load(sample_id)


class GatedSource(TreeSource):
    """A source that waits at the named pipe of a sample, if it has one, before loading it."""

    def __init__(self, root: Path, filemap: FileMap, gates: Mapping[str, Path]) -> None:
        super().__init__(root, filemap)
        self.gates = dict(gates)

    def load(self, sample_id: str) -> SourceSample:
        if sample_id in self.gates:
            self.gates[sample_id].read_bytes()
        return super().load(sample_id)


def killed() -> None:
    """End the process like the system when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def crashed() -> None:
    """End the process like a bug in a library."""
    ctypes.string_at(0)


def exited() -> None:
    """Exit like a library that ends the program."""
    os._exit(7)


def hung() -> None:
    """Hang like on a network file system that does not respond."""
    threading.Event().wait()


def short_of_memory() -> None:
    """Raise the error of a sample that is larger than a memory limit."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 33, before[1]))
    try:
        bytearray(1 << 40)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def killed_while_writing() -> None:
    """Limit the size of files, so that the system kills the process when a file grows."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))


ACTS = {act.__name__: act for act in (killed, crashed, exited, hung, short_of_memory, killed_while_writing)}


class HostileSource(TreeSource):
    """A source that does one of `ACTS` to its process when it loads or describes some samples."""

    def __init__(self, root: Path, filemap: FileMap, acts: Mapping[str, str]) -> None:
        super().__init__(root, filemap)
        self.acts = dict(acts)

    def load(self, sample_id: str) -> SourceSample:
        if sample_id in self.acts:
            ACTS[self.acts[sample_id]]()
        return super().load(sample_id)

    def describe(self, sample_id: str) -> dict[str, FieldDescription]:
        if sample_id in self.acts:
            ACTS[self.acts[sample_id]]()
        return super().describe(sample_id)


class HostileUndescribed(HostileSource):
    """A source that returns sizes only by loading."""

    def describe(self, sample_id: str) -> None:  # type: ignore[override]  # noqa: ARG002 - protocols allow it
        return None


class WarningSource(TreeSource):
    """A source that warns about every sample."""

    def load(self, sample_id: str) -> SourceSample:
        warnings.warn("this file is large", WholeFileWarning, stacklevel=1)
        return super().load(sample_id)
