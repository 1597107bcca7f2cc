"""Repair of a store: verify, repair, and verify again."""

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
from noether.data.zarr_store.upkeep.repair.apply import Repairer
from noether.data.zarr_store.upkeep.repair.plan import Action, Planner
from noether.data.zarr_store.upkeep.repair.reconversion import Reconversion, encoding_of
from noether.data.zarr_store.upkeep.verify.engine import Progress, verify_store
from noether.data.zarr_store.upkeep.verify.findings import Findings, Level, VerifyReport
from noether.data.zarr_store.upkeep.verify.store_check import read_manifest, require_manifest

__all__ = ["RepairReport", "repair_store"]

# Damaged metadata hide other damage until they are repaired, so there are several rounds.
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class RepairReport:
    """The result of a repair, or of a dry run.

    Attributes
    ----------
    before : VerifyReport
        Findings before the repair.
    actions : tuple of Action
        Steps of the repair, in order; in a dry run, the planned steps.
    failures : dict of str to str
        By sample id, the reason why the sample could not be converted again.
    after : VerifyReport or None
        Findings after the repair; None after a dry run.
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
    """Verify a store, repair the damage, and verify the store again.

    - Metadata are rebuilt from their copies, the manifest from the groups, and the chunk index from the shards.
    - Staged output of killed writers is removed, or restored if it is the only copy of a group.
    - Samples whose data are damaged or missing are converted again, if there is a source.

    Only objects with names of this library are removed; all other objects are kept, and listed in the report. No other
    process may write to the store during the repair.

    Parameters
    ----------
    store_root : str or path
        Local path or URL of the store.
    source : SampleSource, optional
        Source of the samples.
    level : {"census", "index", "data", "source"}
        Thoroughness of the verification; see `verify_store`.
    dry_run : bool
        Whether to change nothing, and only return the first steps of the repair.
    workers : int, optional
        Number of threads. The default is one per core, or 16 for a URL.
    progress : callable of (int, int) to None, optional
        Progress callback of each verification; see `verify_store`.
    on_action : callable of Action, optional
        Callback before each step.
    storage_options : mapping, optional
        Options of the store's file system; see `stores.open_storage`.

    Raises
    ------
    ArgumentError
        A parameter is out of its range, or the source does not fit the store.
    ManifestError
        There is no store, or this release does not know its version.
    MissingDependencyError
        A library that the source needs is not installed.
    StorageError
        The store cannot be reached, or another process changes it.
    """
    root = normalize_root(store_root)
    if level == "source" and source is None:
        raise ArgumentError("source: expected a source for the level 'source', got none; set source, or level='data'")

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
        repairer = _open(open_storage(root, storage_options), source, workers, storage_options or {})
        planned = [action for action in repairer.planner.plan(latest) if action not in done]
        done += planned
        if dry_run or not planned:
            break
        repairer.do(planned, on_action or (lambda _: None))
        failures |= repairer.failures
        latest = verify()
    return RepairReport(before, tuple(done), failures, None if dry_run else latest)


def _open(
    storage: Storage, source: SampleSource | None, workers: int | None, storage_options: Mapping[str, Any]
) -> Repairer:
    found = read_manifest(storage)
    known = {} if found.manifest is None else dict(found.manifest.samples)
    listing = list_store(storage.objects(), {entry.relpath for entry in known.values()})
    manifest = require_manifest(storage, found, listing, Findings(storage.root))
    threads = workers or default_threads()
    reconversion = None
    if source is not None:
        reconversion = Reconversion(storage.root, manifest, source, threads, storage_options)
    encoding = encoding_of(manifest, threads)
    return Repairer(Planner(storage, manifest, encoding, reconversion), found, storage_options)
