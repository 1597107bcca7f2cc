"""Checks of the store besides its samples: the manifest, the chunk index, the report, and leftovers of writers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from noether.data.zarr_store.convert import REPORT_NAME, ReportFile
from noether.data.zarr_store.core import ROOT_KEY, ChecksumState, checksum_state, sample_id_of
from noether.data.zarr_store.errors import CorruptDataError, ManifestError
from noether.data.zarr_store.manifest import (
    MANIFEST_NAME,
    NEWEST_FORMAT_VERSION,
    Listing,
    OwnManifest,
    StoreManifest,
    entry_of_group,
    is_own_key,
    known_layouts,
    parse_json,
    pending_of,
    read_own_manifests,
    unfinished_removals,
    united,
)
from noether.data.zarr_store.reading import ChunkIndex, load_words
from noether.data.zarr_store.stores import Storage, is_remote, join
from noether.data.zarr_store.upkeep.verify.context import ListedSample
from noether.data.zarr_store.upkeep.verify.findings import Findings

__all__ = ["ReadManifest", "check_around", "find_unlisted", "open_index", "read_manifest", "require_manifest"]

_INDEX_NAME = re.compile(r"(?:chunk|sample)_index-([0-9a-f]{16})\.npy")

_UNSEALED_MANIFEST = "{places} carries no checksum, so only changes that contradict the groups are found"
_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class ReadManifest:
    """The manifest of a store before any repair.

    Attributes
    ----------
    manifest : StoreManifest or None
        The manifest; None if it is missing or cannot be read.
    checksum_state : {"intact", "broken", "none"}
        Whether the manifest matches its checksum; "none" if it has no checksum.
    problem : str
        Description of the damage; empty if there is none.
    data : bytes or None
        Bytes of the manifest; None if it is missing.
    """

    manifest: StoreManifest | None
    checksum_state: ChecksumState
    problem: str
    data: bytes | None


def read_manifest(storage: Storage) -> ReadManifest:
    """Read the manifest of a store; a damaged or missing manifest is not an error.

    Raises
    ------
    ManifestError
        This release does not know the version of the manifest.
    """
    data = storage.read_if_there(MANIFEST_NAME)
    if data is None:
        return ReadManifest(None, "none", "the manifest is missing", None)
    try:
        content, _ = parse_json(data)
    except ValueError as error:
        return ReadManifest(None, "none", str(error), data)
    state = checksum_state(data, content) if isinstance(content, dict) else "none"
    problem = "the document does not match its checksum" if state == "broken" else ""
    try:
        manifest = StoreManifest.parse(data, MANIFEST_NAME)
        dict(manifest.samples)  # an entry is checked at its first access
    except ManifestError as error:
        version = content.get("format_version") if isinstance(content, dict) else None
        if state != "broken" and isinstance(version, int) and version > NEWEST_FORMAT_VERSION:
            raise
        return ReadManifest(None, state, problem or str(error), data)
    return ReadManifest(manifest, state, problem, data)


def require_manifest(storage: Storage, found: ReadManifest, listing: Listing, findings: Findings) -> StoreManifest:
    """Return the manifest or, if it is damaged, a manifest that is rebuilt from the groups.

    Raises
    ------
    ManifestError
        There is no store.
    """
    if not found.problem and found.manifest is not None:
        if found.checksum_state == "none":
            findings.add_limit(_UNSEALED_MANIFEST, MANIFEST_NAME)
        return found.manifest
    own = [one for _, one in read_own_manifests(storage, listing.complete) if isinstance(one, OwnManifest)]
    intact = [one for one in own if one.checksum_state != "broken"]
    manifest = united(found.manifest, intact, listing.complete, trusted=False)
    if manifest is None:
        raise ManifestError(
            f"{join(storage.root, MANIFEST_NAME)}: {found.problem}, and {storage.root} has no complete group that this "
            "library wrote, so it is not a store; check the path"
        )
    lost = "" if found.manifest is not None else "; its splits cannot be restored, set them again after the repair"
    findings.add("manifest_damaged", f"{found.problem}{lost}", key=MANIFEST_NAME)
    return manifest


def open_index(storage: Storage, manifest: StoreManifest, findings: Findings) -> ChunkIndex | None:
    """Read the chunk index; the index of a local store is memory-mapped, the index of a remote store is in memory."""
    name = manifest.index_name
    if name is None:
        return None
    data = storage.read_if_there(name) if is_remote(storage.root) else None
    path = Path(storage.root, name)
    if data is None and not path.is_file():
        findings.add("chunk_index_missing", "the manifest names the chunk index, but the object is missing", key=name)
        return None
    try:
        if data is None:
            with path.open("rb") as file:
                _require_hash(name, hashlib.file_digest(file, "sha256").hexdigest())
            words = load_words(path)
        else:
            _require_hash(name, hashlib.sha256(data).hexdigest())
            words = load_words(BytesIO(data))
        index = ChunkIndex(words, manifest)
        index.require_sound()
    except CorruptDataError as error:
        findings.add("chunk_index_damaged", str(error), key=name)
        return None
    return index


def _require_hash(name: str, digest: str) -> None:
    """Raise `CorruptDataError` if the hash in the name of a chunk index is wrong; names of other programs have none."""
    named = _INDEX_NAME.fullmatch(name)
    if named is not None and not digest.startswith(named[1]):
        raise CorruptDataError("the chunk index does not match the hash in its name")


def find_unlisted(
    storage: Storage, manifest: StoreManifest, listing: Listing, findings: Findings
) -> Iterator[ListedSample]:
    """Yield the complete groups that the manifest does not list, and add findings about all unlisted groups."""
    removing = unfinished_removals(manifest)
    for path, sample_id in removing.items():
        findings.add("unfinished_removal", "the removal of the sample has not ended", sample_id=sample_id, key=path)
    listed = {entry.relpath for entry in dict(manifest.samples).values()} | removing.keys()
    others = {path: sizes for path, sizes in listing.groups.items() if path not in listed}
    layouts = known_layouts(manifest)
    for path, sizes in others.items():
        if ROOT_KEY in sizes:
            continue
        if all(is_own_key(inside, layouts) for inside in sizes):
            findings.add("leftover", f"a group without {ROOT_KEY} that the manifest does not list", key=path)
        else:
            findings.add("not_recognised", f"a directory without {ROOT_KEY}", key=path)
    for path, own in read_own_manifests(storage, [path for path in listing.complete if path not in listed]):
        problem = _why_not_of(manifest, own)
        inside = others[path].keys() - {ROOT_KEY}
        if _is_damaged(own) and inside and all(is_own_key(key, layouts) for key in inside):
            explanation = "the root of a group that the manifest does not list is damaged"
            findings.add(
                "metadata_damaged",
                explanation,
                sample_id=sample_id_of(path),
                key=f"{path}/{ROOT_KEY}",
                way_out="noether-zarr repair {store} --source SOURCE; or, to discard the sample, delete the directory",
            )
        elif isinstance(own, ManifestError) or problem:
            findings.add("not_recognised", problem, key=path)
        else:
            findings.add("unlisted_group", "the manifest does not list the sample", sample_id=own.sample_id, key=path)
            entry = entry_of_group(manifest, own.alone.domains, own.entry)
            yield ListedSample(own.sample_id, entry, others[path])


def _is_damaged(own: OwnManifest | ManifestError) -> bool:
    return isinstance(own, ManifestError) or own.checksum_state == "broken"


def _why_not_of(manifest: StoreManifest, own: OwnManifest | ManifestError) -> str:
    """Return the reason why a group does not belong to a store; empty if it does."""
    if isinstance(own, ManifestError):
        return str(own)
    if own.checksum_state == "broken":
        return f"a group that the manifest does not list, and whose {ROOT_KEY} does not match its checksum"
    differing = manifest.differing_settings(own.alone, of_group=True)
    if differing:
        return f"a group that was written with other settings ({', '.join(differing)})"
    if own.sample_id in manifest.samples:
        return f"a second group of the sample {own.sample_id!r}"
    return ""


def check_around(
    storage: Storage, manifest: StoreManifest, former: ReadManifest, listing: Listing, findings: Findings
) -> None:
    """Check everything besides the samples: files beside the groups, leftovers of writers, the report, the splits."""
    named = {MANIFEST_NAME, REPORT_NAME, *manifest.index_names}
    for key in listing.others.keys() - named:
        if _INDEX_NAME.fullmatch(key):
            if not former.problem:  # a damaged manifest may have named this index
                findings.add("leftover", "a chunk index that the manifest does not name", key=key)
        else:
            findings.add("not_recognised", "the object does not belong to the store", key=key)
    for staged in storage.abandoned():
        what = "the only complete copy of" if staged.restores else "partial output of a killed writer for"
        findings.add("leftover", f"{what} {staged.target}", key=staged.key)
    if REPORT_NAME in listing.others:
        _check_report(storage, findings)
    _check_later_fields(manifest, findings)
    for split, sample_ids in manifest.splits.items():
        unknown = [sample_id for sample_id in sample_ids if sample_id not in manifest.samples]
        if unknown:
            shown = ", ".join(map(repr, unknown[:_MAX_NAMED])) + (", …" if len(unknown) > _MAX_NAMED else "")
            explanation = f"split {split!r} names {len(unknown):,} samples that are not in the store: {shown}"
            findings.add("unknown_sample_in_split", explanation, key=MANIFEST_NAME)


def _check_later_fields(manifest: StoreManifest, findings: Findings) -> None:
    """Add findings about pending fields, and about additions and removals of fields that have not ended."""
    for one in pending_of(manifest):
        if one.lacking or not one.n_samples:
            shown = ", ".join(map(repr, one.lacking[:_MAX_NAMED])) + (", …" if len(one.lacking) > _MAX_NAMED else "")
            n_lacking = f"{len(one.lacking):,} of {one.n_samples:,} samples lack it"
            explanation = f"{one.field} is pending: {n_lacking}{': ' if shown else ''}{shown}"
            findings.add("pending_field", explanation, field=one.field, key=MANIFEST_NAME)
        else:
            explanation = f"{one.field}: all samples have the field, but the manifest lists it as pending"
            findings.add("unfinished_addition", explanation, field=one.field, key=MANIFEST_NAME)
    for arrays in manifest.removing_fields.values():
        for field in arrays:
            explanation = f"{field}: the removal of the field has not ended"
            findings.add("unfinished_removal", explanation, field=field, key=MANIFEST_NAME)


def _check_report(storage: Storage, findings: Findings) -> None:
    data = storage.read_if_there(REPORT_NAME)
    try:
        ReportFile.parse(data, REPORT_NAME)
    except CorruptDataError as error:
        findings.add("report_damaged", str(error), key=REPORT_NAME)
        return
    content: Mapping[str, Any] = {} if data is None else parse_json(data)[0]
    if checksum_state(data or b"", content) == "broken":
        findings.add("report_damaged", "the document does not match its checksum", key=REPORT_NAME)
