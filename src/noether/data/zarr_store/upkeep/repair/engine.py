"""A store is verified, mended, and verified again."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from noether.data.zarr_store.core import default_threads
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.manifest import list_store
from noether.data.zarr_store.sources import SampleSource
from noether.data.zarr_store.stores import Storage, normalize_root, open_storage
from noether.data.zarr_store.upkeep.repair.apply import Mender
from noether.data.zarr_store.upkeep.repair.plan import Action, Planner
from noether.data.zarr_store.upkeep.repair.reconversion import Reconversion, encoding_of
from noether.data.zarr_store.upkeep.verify.engine import Progress, verify_store
from noether.data.zarr_store.upkeep.verify.findings import Findings, Level, VerifyReport
from noether.data.zarr_store.upkeep.verify.store_check import read_manifest, require_manifest

__all__ = ["RepairReport", "repair_store"]

# What lies behind damaged metadata is only seen once these are mended.
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a repair did, or would do.

    Attributes
    ----------
    before : VerifyReport
        What was found.
    actions : tuple of Action
        What was done about it, in this order; or would be.
    failures : dict of str to str
        By sample id, why a sample could not be converted again.
    after : VerifyReport or None
        What is found now; None where nothing was done, since it was not to be.
    """

    before: VerifyReport
    actions: tuple[Action, ...]
    failures: dict[str, str]
    after: VerifyReport | None

    @property
    def is_sound(self) -> bool:
        """Whether the store has no damage now."""
        return (self.after or self.before).is_sound

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values for JSON."""
        return {
            "is_sound": self.is_sound,
            "before": self.before.to_dict(),
            "actions": [asdict(action) for action in self.actions],
            "failures": self.failures,
            "after": None if self.after is None else self.after.to_dict(),
        }


def repair_store(
    store_root: str | os.PathLike[str],
    *,
    source: SampleSource | None = None,
    level: Level = "data",
    dry_run: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
    on_action: Callable[[Action], None] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> RepairReport:
    """Verify a store, mend what can be mended, and verify it again.

    - Metadata are made again from their copies, the manifest from the groups, the chunk index from the shards.
    - What killed writers left is removed, or put back where it is the only copy of a group.
    - Samples whose data are damaged or missing are converted again, where there is a source.

    Nothing is removed but what has a name that this library gives; all else is left alone, and named in the report.
    Nothing else may write to the store meanwhile.

    Parameters
    ----------
    store_root : str or path
        Local path or URL of the store.
    source : SampleSource, optional
        Where the samples came from.
    level : {"census", "index", "data", "source"}
        How closely to look; see `verify_store`.
    dry_run : bool
        Whether to change nothing, and only say what would be done first.
    workers : int, optional
        Threads; by default one for each core, and 16 for a URL.
    progress : callable of (int, int) to None, optional
        Of each verification; see `verify_store`.
    on_action : callable of Action, optional
        Called before each step is done.
    storage_options : mapping, optional
        Options of the store's file system; see `stores.open_storage`.

    Raises
    ------
    ArgumentError
        A parameter is out of its range, or the source does not fit the store.
    ManifestError
        There is no store, or one of a version that this release does not know.
    MissingDependencyError
        A library that the source needs is not installed.
    StorageError
        The store cannot be reached, or somebody else changes it.
    """
    root = normalize_root(store_root)
    if level == "source" and source is None:
        raise ArgumentError("source: expected one for the level 'source', got none")

    def verify() -> VerifyReport:
        return verify_store(
            root,
            level=level,
            source=source if level == "source" else None,
            workers=workers,
            progress=progress,
            storage_options=storage_options,
        )

    before = latest = verify()
    done: list[Action] = []
    failures: dict[str, str] = {}
    for _ in range(_ROUNDS):
        mender = _open(open_storage(root, storage_options), source, workers, storage_options or {})
        planned = [action for action in mender.planner.plan(latest) if action not in done]
        done += planned
        if dry_run or not planned:
            break
        mender.do(planned, on_action or (lambda _: None))
        failures |= mender.failures
        latest = verify()
    return RepairReport(before, tuple(done), failures, None if dry_run else latest)


def _open(
    storage: Storage, source: SampleSource | None, workers: int | None, storage_options: Mapping[str, Any]
) -> Mender:
    found = read_manifest(storage)
    known = {} if found.manifest is None else dict(found.manifest.samples)
    listing = list_store(storage.objects(), {entry.relpath for entry in known.values()})
    manifest = require_manifest(storage, found, listing, Findings(storage.root))
    threads = workers or default_threads()
    reconversion = None
    if source is not None:
        reconversion = Reconversion(storage.root, manifest, source, threads, storage_options)
    encoding = encoding_of(manifest, threads)
    return Mender(Planner(storage, manifest, encoding, reconversion), found, storage_options)
