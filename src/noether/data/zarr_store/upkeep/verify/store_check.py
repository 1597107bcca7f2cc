"""What a store has beside its samples: the manifest, the chunk index, the report, and what is left over."""

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

_UNSEALED_MANIFEST = "{places} carries no checksum, so that only what contradicts the groups is found"
_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class ReadManifest:
    """A manifest as it was found.

    Attributes
    ----------
    manifest : StoreManifest or None
        None where there is none that can be read.
    checksum_state : {"intact", "broken", "none"}
        Whether it is as it was written.
    problem : str
        What is wrong with it; empty if nothing is.
    data : bytes or None
        What was read.
    """

    manifest: StoreManifest | None
    checksum_state: ChecksumState
    problem: str
    data: bytes | None


def read_manifest(storage: Storage) -> ReadManifest:
    """Read the manifest of a store, whatever state it is in.

    Raises
    ------
    ManifestError
        It is of a version that this release does not know.
    """
    data = storage.read_if_there(MANIFEST_NAME)
    if data is None:
        return ReadManifest(None, "none", "it is not there", None)
    try:
        content, _ = parse_json(data)
    except ValueError as error:
        return ReadManifest(None, "none", str(error), data)
    state = checksum_state(data, content) if isinstance(content, dict) else "none"
    problem = "its bytes do not match the checksum that it carries" if state == "broken" else ""
    try:
        manifest = StoreManifest.parse(data, MANIFEST_NAME)
        dict(manifest.samples)  # each is checked when it is asked for
    except ManifestError as error:
        version = content.get("format_version") if isinstance(content, dict) else None
        if state != "broken" and isinstance(version, int) and version > NEWEST_FORMAT_VERSION:
            raise
        return ReadManifest(None, state, problem or str(error), data)
    return ReadManifest(manifest, state, problem, data)


def require_manifest(storage: Storage, found: ReadManifest, listing: Listing, findings: Findings) -> StoreManifest:
    """Return the manifest or, where that is damaged, what the groups say instead.

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
            f"{join(storage.root, MANIFEST_NAME)}: {found.problem}; there is no complete group either that this "
            f"library wrote, so {storage.root} is no store; check the path"
        )
    findings.add("manifest_damaged", found.problem, key=MANIFEST_NAME)
    return manifest


def open_index(storage: Storage, manifest: StoreManifest, findings: Findings) -> ChunkIndex | None:
    """Read the chunk index; that of a local store is mapped, that of another is held in memory."""
    name = manifest.index_name
    if name is None:
        return None
    data = storage.read_if_there(name) if is_remote(storage.root) else None
    path = Path(storage.root, name)
    if data is None and not path.is_file():
        findings.add("chunk_index_missing", "the manifest names it, but it is not there", key=name)
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
    """Raise `CorruptDataError` where a chunk index has another hash than its name; other programs' have any name."""
    named = _INDEX_NAME.fullmatch(name)
    if named is not None and not digest.startswith(named[1]):
        raise CorruptDataError("its bytes do not match the hash in its name")


def find_unlisted(
    storage: Storage, manifest: StoreManifest, listing: Listing, findings: Findings
) -> Iterator[ListedSample]:
    """Yield the complete groups of the store that the manifest does not list; name the others that it does not."""
    removing = unfinished_removals(manifest)
    for path, sample_id in removing.items():
        findings.add("unfinished_removal", "its removal was begun and has not ended", sample_id=sample_id, key=path)
    listed = {entry.relpath for entry in dict(manifest.samples).values()} | removing.keys()
    others = {path: sizes for path, sizes in listing.groups.items() if path not in listed}
    layouts = known_layouts(manifest)
    for path, sizes in others.items():
        if ROOT_KEY in sizes:
            continue
        if all(is_own_key(inside, layouts) for inside in sizes):
            findings.add("leftover", f"a group without {ROOT_KEY}, which the manifest does not list", key=path)
        else:
            findings.add("not_recognised", f"a directory without {ROOT_KEY}", key=path)
    for path, own in read_own_manifests(storage, [path for path in listing.complete if path not in listed]):
        problem = _why_none_of(manifest, own)
        inside = others[path].keys() - {ROOT_KEY}
        if _is_damaged(own) and inside and all(is_own_key(key, layouts) for key in inside):
            explanation = "it is damaged, in a group that the manifest does not list"
            findings.add("metadata_damaged", explanation, sample_id=sample_id_of(path), key=f"{path}/{ROOT_KEY}")
        elif isinstance(own, ManifestError) or problem:
            findings.add("not_recognised", problem, key=path)
        else:
            findings.add("unlisted_group", "the manifest does not list it", sample_id=own.sample_id, key=path)
            entry = entry_of_group(manifest, own.alone.domains, own.entry)
            yield ListedSample(own.sample_id, entry, others[path])


def _is_damaged(own: OwnManifest | ManifestError) -> bool:
    return isinstance(own, ManifestError) or own.checksum_state == "broken"


def _why_none_of(manifest: StoreManifest, own: OwnManifest | ManifestError) -> str:
    """Say why a group is none of a store; nothing where it is one."""
    if isinstance(own, ManifestError):
        return str(own)
    if own.checksum_state == "broken":
        return f"a group that the manifest does not list, whose {ROOT_KEY} does not match its checksum"
    differing = manifest.differing_settings(own.alone, of_group=True)
    if differing:
        return f"a group that was written with other settings ({', '.join(differing)})"
    if own.sample_id in manifest.samples:
        return f"another group of the sample {own.sample_id!r}"
    return ""


def check_around(
    storage: Storage, manifest: StoreManifest, former: ReadManifest, listing: Listing, findings: Findings
) -> None:
    """Check what is no sample: files beside the groups, what writers left, the report, the splits."""
    named = {MANIFEST_NAME, REPORT_NAME, *manifest.index_names}
    for key in listing.others.keys() - named:
        if _INDEX_NAME.fullmatch(key):
            if not former.problem:  # else nobody knows whether it was named
                findings.add("leftover", "a chunk index that the manifest does not name", key=key)
        else:
            findings.add("not_recognised", "it is no part of the store", key=key)
    for staged in storage.abandoned():
        what = "the only complete copy of" if staged.restores else "what a writer that was killed left of"
        findings.add("leftover", f"{what} {staged.target}", key=staged.key)
    if REPORT_NAME in listing.others:
        _check_report(storage, findings)
    _check_later_fields(manifest, findings)
    for split, sample_ids in manifest.splits.items():
        unknown = [sample_id for sample_id in sample_ids if sample_id not in manifest.samples]
        if unknown:
            shown = ", ".join(map(repr, unknown[:_MAX_NAMED])) + (", …" if len(unknown) > _MAX_NAMED else "")
            explanation = f"split {split!r} names {len(unknown)} samples that are not in the store: {shown}"
            findings.add("unknown_sample_in_split", explanation, key=MANIFEST_NAME)


def _check_later_fields(manifest: StoreManifest, findings: Findings) -> None:
    """Name the fields that not all samples have, and those that are on their way in or out."""
    for one in pending_of(manifest):
        if one.lacking or not one.n_samples:
            shown = ", ".join(map(repr, one.lacking[:_MAX_NAMED])) + (", …" if len(one.lacking) > _MAX_NAMED else "")
            n_lacking = f"{len(one.lacking):,} of {one.n_samples:,} samples lack it"
            explanation = f"{one.field} is pending: {n_lacking}{': ' if shown else ''}{shown}"
            findings.add("pending_field", explanation, field=one.field, key=MANIFEST_NAME)
        else:
            explanation = f"{one.field}: all samples have it, and the manifest lists it as pending"
            findings.add("unfinished_addition", explanation, field=one.field, key=MANIFEST_NAME)
    for arrays in manifest.removing_fields.values():
        for field in arrays:
            explanation = f"{field}: its removal was begun and has not ended"
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
        findings.add("report_damaged", "its bytes do not match the checksum that it carries", key=REPORT_NAME)
