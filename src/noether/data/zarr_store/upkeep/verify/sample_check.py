"""Check of one sample: its group is complete, agrees with the manifest, and its nodes agree with its root."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import MIN_STORED_BYTES, ChunkCodec, index_size
from noether.data.zarr_store.core import ROOT_KEY, Grid, parse_document
from noether.data.zarr_store.errors import CorruptDataError, ManifestError
from noether.data.zarr_store.layout import ArrayLayout
from noether.data.zarr_store.manifest import (
    Metadata,
    OwnManifest,
    SampleEntry,
    checksum_state_of_root,
    directories_of,
    domains_of_sample,
    entry_of_group,
    is_own_key,
    known_layouts,
    parse_group,
    shards_by_array,
)
from noether.data.zarr_store.reading import OpenSample, ReadableArray, ShardAccess, ShardedArray
from noether.data.zarr_store.upkeep.verify.array_check import ArrayCheck
from noether.data.zarr_store.upkeep.verify.context import Context, ListedSample
from noether.data.zarr_store.upkeep.verify.findings import FindingKind
from noether.data.zarr_store.upkeep.verify.tasks import Task
from noether.data.zarr_store.writing import StoredRows, node_document

__all__ = ["SampleCheck"]

_UNSEALED_GROUPS = "{places}: the metadata carry no checksum, so only changes that contradict the manifest are found"
_NO_CHECKSUMS = (
    "{places}: the chunks carry no checksum, so only changes that break the decompression are found; use --level "
    "source to find all changes"
)
_LEFT_TO_ZARR = "{places}: the array is read by zarr-python, so the indexes of its shards are not checked separately"


# Number of missing shards of one array that have findings of their own.
_MAX_MISSING = 100


class SampleCheck:
    """Checks one sample, in tasks.

    Parameters
    ----------
    context : Context
        State of the verification.
    sample : ListedSample
        The sample.

    Attributes
    ----------
    is_readable : bool
        Whether the root of the group agrees with the manifest, so that its arrays can be checked.
    """

    def __init__(self, context: Context, sample: ListedSample) -> None:
        self.sample = sample
        self.is_readable = False
        self._context = context
        self._is_own = False
        # Fields whose arrays cannot be opened; there are findings about them already.
        self._missing: set[str] = set()

    def __call__(self) -> Iterable[Task]:
        """Check the objects by name and size, and the root of the group; return the tasks for the rest."""
        if ROOT_KEY not in self.sample.sizes:
            if self.sample.sizes:
                self._add("half_written_group", f"the group has {len(self.sample.sizes):,} objects, but no {ROOT_KEY}")
            else:
                self._add("missing_group", "the manifest lists the sample, but its group is missing")
            return ()
        key = self.sample.key(ROOT_KEY)
        document = self._context.read(key)
        try:
            nodes = parse_group(document, "")
        except CorruptDataError:
            self._add("metadata_damaged", "the document is not the zarr.json of a group", key=key)
            self._find_missing_arrays()
            return ()
        if not self._agrees(document, key):
            return ()
        self.is_readable = True
        self._find_missing_arrays()
        if self._is_own:
            self._check_objects()
        else:
            self._check_array_nodes(nodes)
        return (partial(self._check_nodes, nodes or {}), self._check_arrays) if self._context.reaches("index") else ()

    @property
    def fields(self) -> list[str]:
        """Fields of the sample according to the manifest."""
        return [layout.field for layout, _ in self._arrays()]

    def array_checks(self, expected: Mapping[str, StoredRows | None], *, reads_chunks: bool) -> Iterator[ArrayCheck]:
        """Yield a check for each array; an array that cannot be opened is a finding.

        Parameters
        ----------
        expected : mapping of str to StoredRows or None
            Fields to check, with their expected rows, if these are known.
        reads_chunks : bool
            Whether to read the chunks, and not only the shards' indexes.
        """
        missing_is_error = self._is_own or self._context.manifest.promises_all_chunks
        access = ShardAccess(self._context.storage)
        opened = OpenSample(access, self.sample.sample_id, self.sample.entry.relpath, missing_is_error)
        lengths, shards = self._indexed_lengths(), shards_by_array(self.sample.sizes)
        for layout, grid in self._arrays():
            if layout.field not in expected or layout.field in self._missing:
                continue
            key = self.sample.key(layout.array_name)
            try:
                array, sharded = self._open_array(opened, layout, grid)
            except CorruptDataError as error:
                self._add("metadata_damaged", str(error), field=layout.field, key=key)
                continue
            yield ArrayCheck(
                self._context,
                self.sample,
                layout,
                grid,
                array,
                sharded,
                key,
                shards.get(layout.array_name, {}),
                lengths.get(layout.field),
                reads_chunks,
                expected[layout.field],
            )

    def _open_array(
        self, opened: OpenSample, layout: ArrayLayout, grid: Grid
    ) -> tuple[ReadableArray[Any], ShardedArray | None]:
        """Open an array; the second result is None if zarr-python, not this library, decodes its shards.

        Raises `CorruptDataError` if the array does not agree with the manifest.
        """
        path, shape = layout.array_name, (grid.n_points, layout.dim)
        where = f"sample {self.sample.sample_id!r}, field {layout.field}"
        array = opened.sharded_array(path, shape, grid.chunk_points, where)
        if self._is_own and not _keeps_promise(array, layout, grid):
            raise CorruptDataError("the dtype, chunks or shards of the array do not agree with the manifest")
        if array is None:
            self._context.findings.add_limit(_LEFT_TO_ZARR, self.sample.key(path))
            return opened.zarr_array(path, shape, where), None
        if not array.codec.checksum:
            self._context.findings.add_limit(_NO_CHECKSUMS, self.sample.key(path))
        return array, array

    def _agrees(self, document: bytes, key: str) -> bool:
        """Return whether the root is intact, and agrees with the manifest on the settings and domains of the sample."""
        manifest, entry = self._context.manifest, self.sample.entry
        state = checksum_state_of_root(document)
        if state == "broken":
            self._add("metadata_damaged", "the document does not match its checksum", key=key)
            self._find_missing_arrays()
            return False
        if state == "none":
            self._context.findings.add_limit(_UNSEALED_GROUPS, entry.relpath)
        try:
            own = OwnManifest.of_root(document, entry.relpath, key)
        except ManifestError as error:
            # Groups of other programs have no manifest of their own.
            if state == "intact" or manifest.promises_all_chunks:
                self._add("metadata_damaged", str(error), key=key)
            return True
        self._is_own = True
        # Manifests of other programs leave out many settings.
        written = manifest.model_fields_set
        settings = [one for one in manifest.differing_settings(own.alone, of_group=True) if one in written]
        if settings:
            self._add("settings_differ", f"the group disagrees with the manifest on {', '.join(settings)}", key=key)
            return False
        says = entry_of_group(manifest, own.alone.domains, own.entry)
        parts = _differing_parts(entry, says, all_parts=self._context.manifest_is_intact)
        if own.sample_id != self.sample.sample_id:
            parts = [f"the sample id, which is {own.sample_id!r} in the group"]
        if parts:
            self._add("entry_differs", f"the group disagrees with the manifest on {', '.join(parts)}", key=key)
        # Arrays that the group lists are not leftovers, even if the manifest does not list them yet.
        added = tuple(sorted({*entry.added_fields, *says.added_fields}))
        self.sample = replace(self.sample, entry=replace(entry, added_fields=added))
        return entry.domains == own.entry.domains

    def _arrays(self) -> Iterator[tuple[ArrayLayout, Grid]]:
        """Yield the layout and the grid of each array according to the manifest."""
        domains = domains_of_sample(self._context.manifest, self.sample.entry, frozenset())
        for domain, found in self.sample.entry.domains.items():
            for layout in domains[domain].arrays.values():
                yield layout, found.grid

    def _paths(self) -> dict[str, str | None]:
        """Return the path of each node below the root, and its field if the node is an array."""
        paths: dict[str, str | None] = dict.fromkeys(self.sample.entry.domains)
        return paths | {layout.array_name: layout.field for layout, _ in self._arrays()}

    def _find_missing_arrays(self) -> None:
        """Find the arrays without any object. This is damage in every store: only missing chunks mean fill values."""
        there = directories_of(self.sample.sizes)
        for layout, _ in self._arrays():
            path = layout.array_name
            if path not in there:
                self._missing.add(layout.field)
                explanation = "the manifest lists the array, but the group does not have it"
                self._add("missing_array", explanation, field=layout.field, key=self.sample.key(path))

    def _check_array_nodes(self, copies: Metadata | None) -> None:
        """Find the arrays of another program's group whose metadata, or their copies in the root, are missing."""
        for layout, _ in self._arrays():
            path = layout.array_name
            key = f"{path}/{ROOT_KEY}"
            if layout.field in self._missing:
                continue
            if key not in self.sample.sizes:
                self._add("metadata_damaged", "the object is missing", field=layout.field, key=self.sample.key(key))
            elif copies is not None and path not in copies:
                explanation = "the root of the group has no copy of this document"
                self._add("metadata_damaged", explanation, field=layout.field, key=self.sample.key(key))
            else:
                continue
            if copies is None or path not in copies:
                self._missing.add(layout.field)  # no reader can open it

    def _check_objects(self) -> None:
        """Check the names and sizes of the objects of a group that this library wrote."""
        known = {ROOT_KEY}
        for path, field in self._paths().items():
            inside = f"{path}/{ROOT_KEY}"
            known.add(inside)
            if inside not in self.sample.sizes and field not in self._missing:
                self._add("metadata_damaged", "the object is missing", field=field, key=self.sample.key(inside))
        lengths, shards = self._indexed_lengths(), shards_by_array(self.sample.sizes)
        for layout, grid in self._arrays():
            path = layout.array_name
            found = {number: size for number, size in shards.get(path, {}).items() if number < grid.n_shards}
            known |= {f"{path}/c/{number}/0" for number in found}
            if layout.field not in self._missing:
                self._check_shards(self.sample.key(path), layout, grid, found, lengths.get(layout.field))
        known |= self._removed_objects()
        for inside in self.sample.sizes.keys() - known:
            if is_own_key(inside, known_layouts(self._context.manifest)):
                self._add("leftover", "the sample has no such shard or array", key=self.sample.key(inside))
            else:
                self._add("not_recognised", "the object does not belong to the sample", key=self.sample.key(inside))

    def _removed_objects(self) -> set[str]:
        """Return the objects of fields whose removal has not ended; the removal is a finding of its own."""
        paths = [
            f"{array.array_name}/"
            for arrays in self._context.manifest.removing_fields.values()
            for array in arrays.values()
        ]
        return {inside for inside in self.sample.sizes if inside.startswith(tuple(paths))} if paths else set()

    def _check_shards(
        self, key: str, layout: ArrayLayout, grid: Grid, found: dict[int, int], lengths: NDArray[np.uint32] | None
    ) -> None:
        """Check the numbers and sizes of the shards of an array."""
        missing = (number for number in range(grid.n_shards) if number not in found)
        for number in islice(missing, _MAX_MISSING):
            self._add("missing_object", "the object is missing", field=layout.field, key=f"{key}/c/{number}/0")
        if grid.n_shards - len(found) > _MAX_MISSING:
            explanation = f"{grid.n_shards - len(found):,} of the {grid.n_shards:,} shards are missing"
            self._add("missing_object", explanation, field=layout.field, key=key)
        per_shard = grid.shard_points // grid.chunk_points
        most_bytes = ChunkCodec(np.dtype(layout.dtype), grid.chunk_points, layout.dim).max_stored_bytes
        for number, size in found.items():
            chunks = range(number * per_shard, min((number + 1) * per_shard, grid.n_chunks))
            least, most = len(chunks) * MIN_STORED_BYTES, len(chunks) * most_bytes
            if lengths is not None:
                least = most = int(lengths[chunks.start : chunks.stop].sum(dtype=np.int64))
            least, most = least + index_size(per_shard), most + index_size(per_shard)
            if not least <= size <= most:
                wanted = f"{least:,}" if least == most else f"{least:,} to {most:,}"
                explanation = f"expected {wanted} bytes, got {size:,}"
                self._add("wrong_size", explanation, field=layout.field, key=f"{key}/c/{number}/0")

    def _check_nodes(self, copies: Metadata) -> tuple[()]:
        """Compare the metadata of the nodes with their copies in the root."""
        for path, field in self._paths().items():
            key = self.sample.key(f"{path}/{ROOT_KEY}")
            document = self._context.read(key)
            if path not in copies:
                if self._is_own:
                    explanation = "the root of the group has no copy of this document"
                    self._add("metadata_damaged", explanation, field=field, key=key)
            elif f"{path}/{ROOT_KEY}" in self.sample.sizes and not self._is_copied(document, copies[path]):
                explanation = "the document differs from its copy in the root of the group"
                self._add("metadata_damaged", explanation, field=field, key=key)
        return ()

    def _is_copied(self, document: bytes, copy: Any) -> bool:
        try:
            # Documents of this library must be equal byte by byte; other programs may format their JSON differently.
            return document == node_document(copy) if self._is_own else _same_array(parse_document(document), copy)
        except ValueError:
            return False

    def _check_arrays(self) -> Iterator[Task]:
        for check in self.array_checks(dict.fromkeys(self.fields), reads_chunks=self._context.level == "data"):
            yield from check.tasks()

    def _indexed_lengths(self) -> dict[str, NDArray[np.uint32]]:
        """Return the lengths of the sample's chunks from the chunk index, by field."""
        index = self._context.chunk_index
        if index is None or self.sample.sample_id not in self._context.manifest.samples:
            return {}
        try:
            return index.lengths(self.sample.sample_id)
        except CorruptDataError as error:
            self._context.findings.add("chunk_index_damaged", str(error), key=self._context.manifest.index_name)
            return {}

    def _add(self, kind: FindingKind, explanation: str, *, field: str | None = None, key: str | None = None) -> None:
        self._context.findings.add(
            kind, explanation, sample_id=self.sample.sample_id, field=field, key=key or self.sample.entry.relpath
        )


def _differing_parts(listed: SampleEntry, own: SampleEntry, *, all_parts: bool) -> list[str]:
    """Return the keys of an entry whose values differ in the group.

    A key that `listed` lacks counts only if `all_parts` is true.
    """
    parts = ("domains", "attributes", "fidelity", "fingerprint", "added_fields")
    differing = [
        part for part in parts if (all_parts or getattr(listed, part)) and getattr(listed, part) != getattr(own, part)
    ]
    # Releases that do not know this key leave it out when they save.
    if listed.content_crc32c and own.content_crc32c and listed.content_crc32c != own.content_crc32c:
        differing.append("content_crc32c")
    return differing


def _keeps_promise(array: ShardedArray | None, layout: ArrayLayout, grid: Grid) -> bool:
    return (
        array is not None
        and array.codec.dtype == np.dtype(layout.dtype)
        and array.chunks_per_shard * grid.chunk_points == grid.shard_points
    )


def _same_array(found: Any, copy: Any) -> bool:
    """Return whether two metadata documents agree; groups always agree, since they may contain further copies."""
    both = [one if isinstance(one, dict) else {} for one in (found, copy)]
    kinds = [one.get("node_type") for one in both]
    return kinds == ["group", "group"] or (kinds == ["array", "array"] and both[0] == both[1])
