"""Sources that misbehave; worker processes import them by name, so nothing heavy is imported here."""

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
    """Raises what it is told to for some samples."""

    def __init__(self, root: Path, filemap: FileMap, errors: Mapping[str, BaseException]) -> None:
        super().__init__(root, filemap)
        self.errors = dict(errors)

    def load(self, sample_id: str) -> SourceSample:
        if sample_id in self.errors:
            raise self.errors[sample_id]
        return super().load(sample_id)


class GatedSource(TreeSource):
    """Waits at the named pipe of a sample, where there is one, before it loads it."""

    def __init__(self, root: Path, filemap: FileMap, gates: Mapping[str, Path]) -> None:
        super().__init__(root, filemap)
        self.gates = dict(gates)

    def load(self, sample_id: str) -> SourceSample:
        if sample_id in self.gates:
            self.gates[sample_id].read_bytes()
        return super().load(sample_id)


def killed() -> None:
    """As by the system, when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def crashed() -> None:
    """As by a bug in a library."""
    ctypes.string_at(0)


def exited() -> None:
    """As by a library that thinks the program is its own."""
    os._exit(7)


def hung() -> None:
    """As on a network file system that has gone."""
    threading.Event().wait()


def short_of_memory() -> None:
    """As where a limit is set, and a sample is larger."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 33, before[1]))
    try:
        bytearray(1 << 40)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def killed_while_writing() -> None:
    """Later, by the system, when a file grows over a limit."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))


ACTS = {act.__name__: act for act in (killed, crashed, exited, hung, short_of_memory, killed_while_writing)}


class HostileSource(TreeSource):
    """Does one of `ACTS` to its process when it is to load or describe some samples."""

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
    """Tells sizes only by loading."""

    def describe(self, sample_id: str) -> None:  # type: ignore[override]  # noqa: ARG002 - protocols allow it
        return None


class WarningSource(TreeSource):
    """Warns of every sample."""

    def load(self, sample_id: str) -> SourceSample:
        warnings.warn("this file is large", WholeFileWarning, stacklevel=1)
        return super().load(sample_id)
