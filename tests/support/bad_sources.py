"""Sources that misbehave; worker processes import them by name, so nothing heavy is imported here."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from noether.data.schemas import FileMap
from noether.data.zarr_store.sources import SourceSample, TreeSource


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


class KilledSource(TreeSource):
    """Its process is killed by the system, as when memory runs out, while it loads one sample."""

    def __init__(self, root: Path, filemap: FileMap, deadly: str) -> None:
        super().__init__(root, filemap)
        self.deadly = deadly

    def load(self, sample_id: str) -> SourceSample:
        if sample_id == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().load(sample_id)
