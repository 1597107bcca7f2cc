"""Execution of the steps of a repair."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from noether.data.zarr_store.convert import REPORT_NAME, ReportFile
from noether.data.zarr_store.errors import CorruptDataError, MissingDependencyError, StorageError, reason_of
from noether.data.zarr_store.manifest import (
    MANIFEST_NAME,
    OwnManifest,
    SampleEntry,
    StoreManifest,
    added_fields,
    is_own_key,
    known_layouts,
    list_store,
    read_own_manifests,
    settled,
    united,
)
from noether.data.zarr_store.reading import join_fields, write_chunk_index
from noether.data.zarr_store.stores import join
from noether.data.zarr_store.upkeep.remove import finish_removals, remove_samples
from noether.data.zarr_store.upkeep.remove_fields import finish_field_removals
from noether.data.zarr_store.upkeep.repair.plan import Action, Planner
from noether.data.zarr_store.upkeep.verify.store_check import ReadManifest

__all__ = ["Repairer"]

KEPT_SUFFIX = ".damaged"
"""Suffix of the backup copy of an unreadable document."""


@dataclass(slots=True)
class Repairer:
    """Executes the planned steps of a repair.

    Attributes
    ----------
    planner : Planner
        Planner of the steps.
    found : ReadManifest
        The manifest before the repair.
    storage_options : mapping
        Options of the store's file system.
    failures : dict of str to str
        By sample id, the reason why the sample could not be converted.
    """

    planner: Planner
    found: ReadManifest
    storage_options: Mapping[str, Any]
    failures: dict[str, str] = field(default_factory=dict)
    _documents: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def do(self, actions: Sequence[Action], on_action: Callable[[Action], None]) -> None:
        """Execute steps in order, and call `on_action` before each.

        Raises
        ------
        StorageError
            The store cannot be reached, or another process changes it.
        """
        converted: dict[str, SampleEntry] = {}
        taken = [action.sample_id for action in actions if action.kind == "save_manifest"]
        unlisted = [action.sample_id for action in actions if action.kind == "unlist" and action.sample_id is not None]
        try:
            for action in actions:
                on_action(action)
                match action.kind:
                    case "put_back":
                        self._put_back(action.object)
                    case "remove":
                        self._remove(action.object)
                    case "restore_metadata":
                        self._restore(action.object, action.sample_id or "")
                    case "save_manifest":
                        self._save_manifest(taken)
                        taken = []
                    case "finish_removal":
                        finish_removals(self._root, storage_options=self.storage_options)
                        finish_field_removals(self._root, storage_options=self.storage_options)
                    case "join_fields":
                        join_fields(self._root, storage_options=self.storage_options)
                    case "unlist":
                        if unlisted:  # the first such step removes all of these samples
                            remove_samples(self._root, unlisted, storage_options=self.storage_options)
                        unlisted = []
                    case "convert":
                        converted |= self._convert(action.sample_id or "")
                    case "save_report":
                        self._save_report()
                    case "make_chunk_index":
                        self._record(converted)
                        converted = {}
                        write_chunk_index(self._root, storage_options=self.storage_options)
        finally:
            # Also after Ctrl-C: converted samples must not be lost.
            self._record(converted)

    @property
    def _root(self) -> str:
        return self.planner.storage.root

    def _put_back(self, target: str) -> None:
        for staged in self.planner.storage.abandoned():
            if staged.target == target and staged.restores:
                self.planner.storage.recover(staged)

    def _remove(self, key: str) -> None:
        """Remove staged output, one object, or the objects of a group that have names of this library."""
        storage = self.planner.storage
        for staged in storage.abandoned():
            if staged.key == key:
                storage.recover(staged)
                return
        inside = [item.key for item in storage.objects(key)]
        domains = known_layouts(self.planner.manifest)
        storage.delete([one for one in inside if is_own_key(one[len(key) + 1 :], domains)] or [key])

    def _restore(self, key: str, sample_id: str) -> None:
        if sample_id not in self._documents:
            self._documents[sample_id] = self.planner.restored(sample_id)
        self.planner.storage.write(key, self._documents[sample_id][key])

    def _save_manifest(self, sample_ids: Sequence[str | None]) -> None:
        """Replace the manifest, and take the entries of these samples from their groups.

        The id None stands for all samples: the manifest is damaged.
        """
        if not sample_ids:
            return  # the first such step saves all of them
        storage, found = self.planner.storage, self.found
        known = {} if found.manifest is None else dict(found.manifest.samples)
        listing = list_store(storage.objects(), {entry.relpath for entry in known.values()})
        complete = listing.complete
        groups = [one for _, one in read_own_manifests(storage, complete) if isinstance(one, OwnManifest)]
        wanted = [
            one
            for one in groups
            if one.checksum_state != "broken" and (None in sample_ids or one.sample_id in sample_ids)
        ]
        manifest = united(found.manifest, wanted, complete, trusted=not found.problem)
        if manifest is None:
            raise StorageError(
                f"{self._root}: another process changed the store during the repair, and no group is left; repair the "
                "store again"
            )
        if found.manifest is None and found.data:
            storage.write(MANIFEST_NAME + KEPT_SUFFIX, found.data)
        self._replace(manifest)

    def _replace(self, manifest: StoreManifest) -> None:
        def change(current: bytes | None) -> bytes:
            if current != self.found.data:
                raise StorageError(
                    f"{self._root}: another process changed {MANIFEST_NAME} during the repair; repair the store again"
                )
            return manifest.to_json(join(self._root, MANIFEST_NAME))

        self.planner.storage.update(MANIFEST_NAME, change)
        if self.found.manifest is not None:
            self.planner.storage.delete(self.found.manifest.index_names)

    def _convert(self, sample_id: str) -> dict[str, SampleEntry]:
        """Convert a sample, and return its entry by id; return an empty dict if the conversion fails."""
        if self.planner.reconversion is None:
            return {}
        try:
            return {sample_id: self.planner.reconversion.convert(sample_id)}
        except (MissingDependencyError, StorageError):
            raise  # no sample could be converted
        except Exception as error:  # noqa: BLE001 - a library may raise anything on a broken file; the rest goes on
            self.failures[sample_id] = reason_of(error)
            return {}

    def _record(self, converted: Mapping[str, SampleEntry]) -> None:
        """Add the entries of converted samples to the manifest, and keep the changes of other processes."""
        former: list[str] = []

        def change(current: StoreManifest) -> StoreManifest:
            former[:] = current.index_names
            samples = dict(sorted((dict(current.samples) | dict(converted)).items()))
            update = {"samples": samples, "chunk_index": None, "sample_index": None}
            return settled(current.model_copy(update=update), added_fields(current), joins=False)

        if converted:
            StoreManifest.update(self._root, change, storage_options=self.storage_options)
            self.planner.storage.delete(former)

    def _save_report(self) -> None:
        """Write the report again with a correct checksum or, if it cannot be read, rename it."""
        storage = self.planner.storage
        data = storage.read_if_there(REPORT_NAME) or b""
        try:
            storage.write(REPORT_NAME, ReportFile.parse(data, REPORT_NAME).to_json())
        except CorruptDataError:
            storage.write(REPORT_NAME + KEPT_SUFFIX, data)
            storage.delete([REPORT_NAME])
