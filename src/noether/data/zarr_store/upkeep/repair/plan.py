"""The plan of a repair: steps for the findings of a verification. Nothing is changed here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from noether.data.zarr_store.convert import REPORT_NAME
from noether.data.zarr_store.core import ROOT_KEY, group_path, sample_id_of
from noether.data.zarr_store.manifest import (
    MANIFEST_NAME,
    OwnManifest,
    SampleEntry,
    StoreManifest,
    read_own_manifests,
    unfinished_removals,
)
from noether.data.zarr_store.stores import StagedWrite, Storage
from noether.data.zarr_store.upkeep.repair.documents import restored_documents
from noether.data.zarr_store.upkeep.repair.reconversion import Reconversion
from noether.data.zarr_store.upkeep.verify.findings import Finding, FindingKind, VerifyReport
from noether.data.zarr_store.writing import Encoding

__all__ = ["Action", "ActionKind", "Planner"]

ActionKind = Literal[
    "put_back",
    "remove",
    "restore_metadata",
    "save_manifest",
    "finish_removal",
    "join_fields",
    "unlist",
    "convert",
    "save_report",
    "make_chunk_index",
]
_ORDER: tuple[ActionKind, ...] = get_args(ActionKind)

_NEED_THE_SOURCE: frozenset[FindingKind] = frozenset(
    {
        "settings_differ",
        "missing_group",
        "half_written_group",
        "missing_array",
        "missing_object",
        "wrong_size",
        "shard_index_damaged",
        "chunk_damaged",
        "not_finite",
        "source_differs",
    }
)
_OF_THE_INDEX: frozenset[FindingKind] = frozenset({"chunk_index_missing", "chunk_index_damaged"})


@dataclass(frozen=True, slots=True)
class Action:
    """One step of a repair.

    Attributes
    ----------
    kind : str
        Kind of the step, from `ActionKind`.
    object : str
        Key of the object or group that the step changes.
    sample_id : str or None
        Id of the sample, if the step concerns one sample.
    reason : str
        Reason of the step.
    """

    kind: ActionKind
    object: str
    sample_id: str | None
    reason: str


@dataclass(slots=True)
class Planner:
    """Plans the steps for findings.

    Attributes
    ----------
    storage : Storage
        Storage of the store.
    manifest : StoreManifest
        Expected state of the store.
    encoding : Encoding or None
        Encoding of the chunks; None for stores of other programs.
    reconversion : Reconversion or None
        Converts samples again; None without a source.
    """

    storage: Storage
    manifest: StoreManifest
    encoding: Encoding | None
    reconversion: Reconversion | None

    def plan(self, report: VerifyReport) -> list[Action]:
        """Return the steps that repair the damage in a report, in the order of their execution."""
        abandoned = {staged.key: staged for staged in self.storage.abandoned()}
        removing = unfinished_removals(self.manifest)
        # Staged output of a group with an unfinished removal is removed together with the group.
        going = {key for key, staged in abandoned.items() if staged.target in removing}
        damage = [finding for finding in report.having("damage") if finding.object not in going]
        n_missing = sum(finding.kind == "missing_group" for finding in damage)
        put_back = {staged.target for key, staged in abandoned.items() if staged.restores and key not in going}
        by_sample = defaultdict(list)
        actions: list[Action] = []
        for finding in damage:
            if finding.kind == "leftover" and finding.sample_id is None:
                actions.append(self._about_leftover(finding, abandoned))
            elif finding.kind == "unfinished_removal":
                actions.append(Action("finish_removal", finding.object or "", finding.sample_id, finding.explanation))
            elif finding.kind == "unfinished_addition":
                actions.append(Action("join_fields", MANIFEST_NAME, None, finding.explanation))
            elif finding.kind in _OF_THE_INDEX:
                actions.append(self._make_index(finding.explanation))
            elif finding.kind == "manifest_damaged":
                actions.append(Action("save_manifest", MANIFEST_NAME, None, finding.explanation))
            elif finding.kind == "report_damaged":
                actions.append(Action("save_report", REPORT_NAME, None, finding.explanation))
            elif finding.sample_id is not None:
                by_sample[finding.sample_id].append(finding)
        for sample_id, findings in by_sample.items():
            if self._relpath(sample_id) not in put_back:
                # If all groups are missing, a disk may be unmounted, so no sample is removed from the manifest.
                may_unlist = n_missing < len(self.manifest.samples)
                actions += self._about_sample(sample_id, findings, may_unlist=may_unlist)
        if any(action.kind in {"save_manifest", "convert"} for action in actions):
            actions.append(self._make_index("samples were added or changed"))
        unique = {(action.kind, action.object, action.sample_id): action for action in reversed(actions)}
        return sorted(unique.values(), key=lambda action: (_ORDER.index(action.kind), action.object))

    def _about_leftover(self, finding: Finding, abandoned: dict[str, StagedWrite]) -> Action:
        key = finding.object or ""
        if key in abandoned and abandoned[key].restores:
            return Action("put_back", abandoned[key].target, None, f"{key} is {finding.explanation}")
        if self._can_convert(sample_id_of(key)):
            return Action("convert", key, sample_id_of(key), finding.explanation)
        return Action("remove", key, None, finding.explanation)

    def _about_sample(self, sample_id: str, findings: list[Finding], *, may_unlist: bool) -> Iterator[Action]:
        lost = next((one for one in findings if one.kind in _NEED_THE_SOURCE), None)
        restorable = self._can_restore(sample_id, findings)
        if lost is None and not restorable:
            lost = next((one for one in findings if one.kind == "metadata_damaged"), None)
        if lost is not None and self._can_convert(sample_id):
            yield Action("convert", self._relpath(sample_id), sample_id, lost.explanation)
            return
        relpath = self._relpath(sample_id)
        if lost is not None and lost.kind == "missing_group" and may_unlist and not self.storage.is_linked(relpath):
            yield Action("unlist", relpath, sample_id, lost.explanation)
            return
        # Other readers would read metadata without chunks as an array of fill values.
        lost_arrays = tuple(f"{one.object}/" for one in findings if one.kind == "missing_array")
        for key in self.restored(sample_id) if restorable else ():
            if not key.startswith(lost_arrays):
                yield Action("restore_metadata", key, sample_id, "the document can be restored from its copies")
        for one in findings:
            if one.kind == "leftover":
                yield Action("remove", one.object or "", sample_id, one.explanation)
            elif (
                one.kind in {"entry_differs", "unlisted_group"} and lost is None and self._is_of(sample_id, one.object)
            ):
                yield Action("save_manifest", MANIFEST_NAME, sample_id, one.explanation)

    def restored(self, sample_id: str) -> dict[str, bytes]:
        """Return the correct content of each damaged metadata document of a sample, by key."""
        entry = self.manifest.samples.get(sample_id) or self._own_entry(sample_id)
        if self.encoding is None or entry is None:
            return {}
        return restored_documents(self.storage, self.manifest, self.encoding, sample_id, entry)

    def _can_restore(self, sample_id: str, findings: list[Finding]) -> bool:
        """Return whether all damaged metadata of a sample can be restored."""
        damaged = {one.object or "" for one in findings if one.kind == "metadata_damaged"}
        return bool(damaged) and damaged <= self.restored(sample_id).keys()

    def _is_of(self, sample_id: str, key: str | None) -> bool:
        """Return whether a group's own manifest has this sample id; `key` is the group or its root."""
        own = self._own_manifest((key or "").removesuffix(f"/{ROOT_KEY}"))
        return own is not None and own.sample_id == sample_id

    def _own_entry(self, sample_id: str) -> SampleEntry | None:
        own = self._own_manifest(group_path(sample_id))
        return None if own is None else own.entry

    def _own_manifest(self, path: str) -> OwnManifest | None:
        [(_, own)] = read_own_manifests(self.storage, [path])
        return own if isinstance(own, OwnManifest) and own.checksum_state != "broken" else None

    def _relpath(self, sample_id: str) -> str:
        entry = self.manifest.samples.get(sample_id)
        return group_path(sample_id) if entry is None else entry.relpath

    def _can_convert(self, sample_id: str) -> bool:
        return self.reconversion is not None and self.reconversion.has(sample_id)

    def _make_index(self, reason: str) -> Action:
        return Action("make_chunk_index", self.manifest.index_name or "sample_index-*.npy", None, reason)
