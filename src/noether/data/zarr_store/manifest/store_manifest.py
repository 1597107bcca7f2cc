"""The model of manifest.json: the samples and fields of a store, and the settings of its writers.

The bytes can come from an untrusted source, so pydantic checks them. Keys without a default are required, and all other
keys can be missing. Unknown keys at the top level are kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, MutableMapping
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    field_serializer,
    model_validator,
)
from pydantic_core import to_json

from noether.data.zarr_store.core import (
    CHECKSUM_KEY,
    ROOT_KEY,
    ZERO_CHECKSUM,
    check_sample_id,
    count_of,
    parse_document,
    require_few_values,
    with_checksum,
)
from noether.data.zarr_store.errors import ManifestConflictError, ManifestError, UnknownNameError, nearest_names
from noether.data.zarr_store.layout import ArrayLayout, DomainLayout
from noether.data.zarr_store.manifest.added_fields import PendingFields, added_fields, domains_of_sample, field_order
from noether.data.zarr_store.manifest.checks import (
    ChunkIndexName,
    PlainText,
    SampleIndexName,
    check_domain_layouts,
    check_later_fields,
    check_origin,
    invalid_manifest,
    settings_of,
)
from noether.data.zarr_store.manifest.description import Description
from noether.data.zarr_store.manifest.field_merging import fields_agree, merged_fields
from noether.data.zarr_store.manifest.lines import (
    LENGTHS_KEY,
    DomainSample,
    SafePath,
    SampleEntry,
    SampleLines,
    check_samples,
    join_samples,
    parse_json,
)
from noether.data.zarr_store.manifest.removals import SeenManifest, live_records
from noether.data.zarr_store.stores import join, open_storage

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST_NAME",
    "NEWEST_FORMAT_VERSION",
    "ArrayLayout",
    "CopyOrigin",
    "DomainLayout",
    "DomainSample",
    "Origin",
    "SampleEntry",
    "StoreManifest",
    "format_version_for",
]

Origin = tuple[float, float, float]

FORMAT_VERSION = 1
NEWEST_FORMAT_VERSION = 2
"""The version of a store with an origin. Readers that do not know the key `origin` refuse this version."""
MANIFEST_NAME = "manifest.json"

# The settings of all samples of a store. Two writers with different settings cannot write to the same store.
_SHARED_KEYS = (
    "dataset_name",
    "format_version",
    "shuffle_seed",
    "shuffle_algorithm",
    "coords_dtype",
    "values_dtype",
    "compressor",
    "checksum",
    "domains",
    "copied_from",
    "origin",
)

# The file lacks these keys where they are empty.
_RARE_KEYS = ("removing", "origin", "sample_index", "pending_fields", "removing_fields")


def _known_version(version: int) -> int:
    if not FORMAT_VERSION <= version <= NEWEST_FORMAT_VERSION:
        raise ValueError(
            f"format version {version} is not known to this release, which reads versions up to "
            f"{NEWEST_FORMAT_VERSION}; upgrade: pip install --upgrade noether-zarr-store"
        )
    return version


def format_version_for(origin: Origin | None) -> int:
    """Return the format version of a store with this origin, or of a store without one."""
    return FORMAT_VERSION if origin is None else NEWEST_FORMAT_VERSION


_SampleId = Annotated[str, AfterValidator(check_sample_id)]


class CopyOrigin(BaseModel):
    """The source of a store that is a partial copy of another store.

    Attributes
    ----------
    store_root : str
        Root of the store that was copied.
    fraction : float
        Fraction of the points of every domain that the copy has: the first points, rounded up to whole chunks.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    store_root: str
    fraction: Annotated[float, Field(gt=0, le=1)]


class StoreManifest(BaseModel):
    """The manifest of a store: its samples and fields, and the settings that all samples share.

    Attributes
    ----------
    dataset_name : str
        Name of the dataset.
    format_version : int
        Version of the format: 2 with an `origin`, else 1.
    shuffle_seed : int
        Seed of all shuffles.
    coords_dtype, values_dtype : str
        Stored dtypes of positions and of all other fields, unless `domains` has another dtype for a field.
    compressor : str
        ``blosc-zstd-<level>``.
    domains : dict of str to DomainLayout
        All domains and arrays that a sample can have.
    samples : mapping of str to SampleEntry
        Entries by sample id. Entries of a large manifest are parsed and checked lazily, at each access.
    shuffle_algorithm : str or None
        Algorithm that shuffled the points; ``None`` if another program shuffled them.
    checksum : bool
        Whether each chunk carries a crc32c.
    splits : dict of str to list of str
        Sample ids by split.
    chunk_index : str or None
        Name of a chunk index file of the earlier form, which describes all samples.
    sample_index : str or None
        Name of a chunk index file with the ids of the samples that it describes.
    copied_from : CopyOrigin or None
        Source of a partial copy; ``None`` for a store with all points.
    origin : tuple of three floats, or None
        Point that was subtracted from all positions; ``None`` if no point was subtracted.
    removing : dict of str to str
        Sample ids of the groups that are being removed, by path of the group; see `removals`.
    pending_fields : dict of str to dict of str to ArrayLayout
        Layouts of the added fields that some samples lack, by domain and canonical name.
    removing_fields : dict of str to dict of str to ArrayLayout
        Layouts of the fields that are being removed from the groups, by domain and canonical name.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    dataset_name: PlainText
    format_version: Annotated[int, AfterValidator(_known_version)]
    shuffle_seed: int
    coords_dtype: PlainText
    values_dtype: PlainText
    compressor: PlainText
    domains: dict[str, DomainLayout]
    samples: MutableMapping[_SampleId, SampleEntry]
    shuffle_algorithm: PlainText | None = None
    checksum: bool = False
    splits: dict[PlainText, Annotated[list[str], FailFast()]] = {}
    chunk_index: ChunkIndexName | None = None
    sample_index: SampleIndexName | None = None
    copied_from: CopyOrigin | None = None
    origin: Origin | None = None
    removing: dict[SafePath, _SampleId] = {}
    pending_fields: PendingFields = {}
    removing_fields: PendingFields = {}

    def __repr__(self) -> str:
        title = f"{type(self).__name__} of {self.dataset_name}: {count_of(len(self.samples), 'sample')}"
        return Description(self, self.samples).text(title)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return Description(self, self.samples).html(type(self).__name__)

    @property
    def promises_all_chunks(self) -> bool:
        """Whether a missing chunk is an error. This library stores all chunks; others omit chunks of fill values."""
        return self.shuffle_algorithm is not None

    @property
    def index_name(self) -> str | None:
        """Name of the chunk index. If there are two, `chunk_index` was made last, by an earlier release."""
        return self.chunk_index or self.sample_index

    @property
    def index_names(self) -> list[str]:
        """Names of all chunk index files."""
        return [name for name in (self.chunk_index, self.sample_index) if name is not None]

    @model_validator(mode="before")
    @classmethod
    def _without_checksum(cls, content: Any) -> Any:
        # The checksum belongs to the bytes that were read; `to_json` computes a new one.
        return {key: content[key] for key in content if key != CHECKSUM_KEY} if isinstance(content, dict) else content

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        self.domains = {domain: layout.with_paths(domain) for domain, layout in self.domains.items()}
        check_domain_layouts(self.domains)
        check_later_fields(self.domains, self.pending_fields, self.removing_fields)
        check_origin(self.origin, self.domains)
        if self.format_version != format_version_for(self.origin):
            raise ValueError(
                f"format_version: expected {format_version_for(self.origin)} with the origin {self.origin}, got "
                f"{self.format_version}"
            )
        for sample_id, entry in self.samples.items():
            unknown = entry.domains.keys() - self.domains.keys()
            if unknown:
                raise ValueError(f"sample {sample_id!r}: the store has no domains {sorted(unknown)}")
        return self

    @field_serializer("samples", mode="wrap")
    def _plain_samples(self, samples: Mapping[str, SampleEntry], handler: SerializerFunctionWrapHandler) -> Any:
        return handler(dict(samples))

    @classmethod
    def parse(cls, data: bytes, origin: str) -> Self:
        """Read a manifest from its JSON. An error in the entry of a sample can be raised later, at its first access.

        Parameters
        ----------
        data : bytes
            The JSON text.
        origin : str
            Path or URL of the manifest, for errors.

        Raises
        ------
        ManifestError
            The text is not a manifest, or its version is newer than this release.
        """
        samples: Any = None
        try:
            content, starts = parse_json(data)
            if isinstance(content, dict):
                require_few_values(settings_of(content), "beside the samples")
                if starts is None and isinstance(content.get("samples"), dict):
                    # Samples are checked one by one, up to the first invalid one.
                    samples, content["samples"] = content["samples"], {}
            manifest = cls.model_validate(content)
        except ValueError as error:
            raise invalid_manifest(origin, error) from error
        if starts:
            manifest.samples = SampleLines(manifest.domains, origin, data, starts)
        elif samples:
            manifest.samples = check_samples(samples, manifest.domains, origin)
        return manifest

    @classmethod
    def load(cls, root: str, *, storage_options: Mapping[str, Any] | None = None) -> Self:
        """Read the manifest of the store at `root`, a path or URL.

        Raises
        ------
        ManifestError
            The manifest is missing or malformed, or its version is newer than this release.
        """
        data = _require_found(open_storage(root, storage_options).read_if_there(MANIFEST_NAME), root)
        return cls.parse(data, join(root, MANIFEST_NAME))

    @classmethod
    def load_if_there(cls, root: str, *, storage_options: Mapping[str, Any] | None = None) -> Self | None:
        """Read the manifest of the store at `root`; return ``None`` if there is no store yet."""
        data = open_storage(root, storage_options).read_if_there(MANIFEST_NAME)
        return None if data is None else cls.parse(data, join(root, MANIFEST_NAME))

    def save(
        self, root: str, *, seen: SeenManifest | None = None, storage_options: Mapping[str, Any] | None = None
    ) -> str:
        """Add the samples and splits to the manifest at `root`, atomically.

        The samples and splits of other writers stay. If both manifests have the same sample or split, this manifest
        wins. Samples are written in the order of their ids, so the file does not depend on the order of their
        conversion. Afterwards, `samples`, `splits`, `domains`, `pending_fields`, `removing` and the names of chunk
        indexes match the file.

        Parameters
        ----------
        root : str
            Path or URL of the store.
        seen : SeenManifest, optional
            Manifest as the caller saw it last. Samples that were removed since then are not added again.
        storage_options : mapping, optional
            Options of the file system; see `stores.open_storage`.

        Returns
        -------
        str
            Path or URL of the file.

        Raises
        ------
        ManifestConflictError
            The manifest at `root` has other settings.
        """
        url, storage = join(root, MANIFEST_NAME), open_storage(root, storage_options)
        merged: StoreManifest = self

        def has_root(relpath: str) -> bool:
            return storage.read_tail(f"{relpath}/{ROOT_KEY}", 1) is not None

        def merge(current: bytes | None) -> bytes:
            nonlocal merged
            none: dict[str, Any] = {"samples": {}, "removing": {}, "sample_index": None, "removing_fields": {}}
            there = self.model_copy(update=none) if current is None else type(self).parse(current, url)
            live = live_records(there, self.samples, seen or SeenManifest(), has_root)
            merged = there.merged_with(self.model_copy(update={"samples": live}), url)
            data = merged.to_json(url)
            # Dropped indexes are deleted before the manifest is replaced. In the other order, a kill in between would
            # leave files that no manifest names.
            dropped = [name for name in there.index_names if name not in merged.index_names]
            if dropped:
                storage.delete(dropped)
            return data

        storage.update(MANIFEST_NAME, merge)
        self.samples, self.splits, self.chunk_index = merged.samples, merged.splits, merged.chunk_index
        self.sample_index, self.removing = merged.sample_index, merged.removing
        self.domains, self.pending_fields = merged.domains, merged.pending_fields
        return url

    @classmethod
    def update(
        cls, root: str, change: Callable[[Self], Self], *, storage_options: Mapping[str, Any] | None = None
    ) -> None:
        """Replace the manifest at `root` by the result of `change`, atomically.

        Parameters
        ----------
        root : str
            Path or URL of the store.
        change : callable of StoreManifest to StoreManifest
            Function that returns the new manifest, with its samples in their order in the file. It is called again if
            another writer came first, so it must not depend on earlier calls.
        storage_options : mapping, optional
            Options of the file system; see `stores.open_storage`.

        Raises
        ------
        ManifestError
            There is no manifest.
        """
        url, storage = join(root, MANIFEST_NAME), open_storage(root, storage_options)

        def replace(current: bytes | None) -> bytes:
            return change(cls.parse(_require_found(current, root), url)).to_json(url)

        # Without a store, no directory and no lock file is created.
        _require_found(storage.read_if_there(MANIFEST_NAME), root)
        storage.update(MANIFEST_NAME, replace)

    def merged_with(self, other: StoreManifest, origin: str) -> StoreManifest:
        """Return a copy with the samples and splits of `other`. They replace samples and splits of the same name.

        If samples are added, the copy names no chunk index of the earlier form, since an added sample with an equal
        entry can have other bytes. The entry of an added sample has no checksum of chunk lengths, so an index with
        sample ids still describes the other samples. The group of an added sample is no longer in `removing`. An added
        field that one of these samples lacks becomes pending again; then the copy names no chunk index at all.

        Raises
        ------
        ManifestConflictError
            The settings of `other` differ from the settings of this manifest, which was read from `origin`.
        """
        self.require_same_settings(other, origin)
        added = {
            path
            for path, sample_id in self.removing.items()
            if sample_id in other.samples and other.samples[sample_id].relpath == path
        }
        merged = self.model_copy(
            update={
                "removing": {path: sample_id for path, sample_id in self.removing.items() if path not in added},
                "samples": SampleLines.of(self.samples, self.domains, origin) | other.samples,
                "splits": self.splits | other.splits,
                "chunk_index": None if other.samples else self.chunk_index,
            }
        )
        return merged_fields(self, other, merged)

    def with_index(self, name: str, checksums: Mapping[str, str], seen: StoreManifest) -> tuple[Self, bool]:
        """Return a copy that names a chunk index, and whether the index describes all samples.

        Samples get the checksums of their chunk lengths, unless their entries have changed since `seen`, the manifest
        from which the index was made.
        """
        lines = SampleLines.of(self.samples, self.domains, name)
        # If the fields differ, the chunk lengths of all samples differ.
        is_same = self.has_same_fields(seen)
        unchanged = lines.unchanged_since(SampleLines.of(seen.samples, seen.domains, name)) if is_same else []
        described = {sample_id: checksums[sample_id] for sample_id in unchanged if sample_id in checksums}
        samples = lines.with_lengths(described)
        named = self.model_copy(update={"samples": samples, "chunk_index": None, "sample_index": name})
        return named, len(described) == len(lines)

    def has_same_fields(self, other: StoreManifest) -> bool:
        """Return whether another manifest has the same fields in the same order, the order of a chunk index."""
        return field_order(self.domains) == field_order(other.domains)

    def require_same_settings(self, other: StoreManifest, origin: str, *, of_group: bool = False) -> None:
        """Raise `ManifestConflictError` unless `other` has the settings of this manifest, which was read from `origin`.

        See `differing_settings` for `of_group`.
        """
        keys = self.differing_settings(other, of_group=of_group)
        differing = [
            f"{key}: the store has {_short(getattr(self, key))}, this writer {_short(getattr(other, key))}"
            for key in keys
            if key != "format_version" or "origin" not in keys  # the version follows from the origin
        ]
        if differing:
            raise ManifestConflictError(
                f"{origin}: the store was written with other settings ({'; '.join(differing)}); "
                "use the settings of the store, or write to another store"
            )

    def settings_alone(self) -> StoreManifest:
        """Return a manifest with only the shared settings: no samples, splits, chunk index or unknown keys."""
        return StoreManifest(samples={}, **{key: getattr(self, key) for key in _SHARED_KEYS})

    def differing_settings(self, other: StoreManifest, *, of_group: bool = False) -> list[str]:
        """Return the keys of the settings in which another manifest differs.

        Added fields do not count as settings. With `of_group`, `other` is a group's own manifest; see
        `fields_agree`.
        """
        differing = [key for key in _SHARED_KEYS if getattr(self, key) != getattr(other, key)]
        if "domains" in differing and fields_agree(self, other, of_group=of_group):
            differing.remove("domains")
        return differing

    def as_group_attributes(
        self, sample_id: str, entry: SampleEntry, later: AbstractSet[str] | None = None
    ) -> dict[str, Any]:
        """Return the attributes of a sample's group: the attributes of the sample, and a manifest of this sample only.

        `of_group` reads that manifest, so a store's manifest can be rebuilt from its groups. The manifest lacks the
        added fields in `later` (by default the result of `added_fields`) that the sample lacks.
        """
        domains = domains_of_sample(self, entry, added_fields(self) if later is None else later)
        alone = self.model_copy(update={"samples": {sample_id: entry}, "domains": domains})
        left_out: dict[str, Any] = {
            "removing": True,
            "sample_index": True,
            "pending_fields": True,
            "removing_fields": True,
            "samples": {sample_id: {"attributes", LENGTHS_KEY} | entry.left_out()},
        }
        if self.origin is None:
            left_out["origin"] = True
        manifest = alone.model_dump(mode="json", exclude=left_out)
        return {"attributes": entry.attributes, "manifest": manifest}

    @classmethod
    def of_group(cls, data: bytes, origin: str) -> Self:
        """Read the manifest of one sample from the root ``zarr.json`` of its group.

        Raises
        ------
        ManifestError
            The group has no such manifest.
        """
        try:
            attributes = parse_document(data, finite=False)["attributes"]
            manifest = attributes["manifest"]
            [entry] = manifest["samples"].values()
            entry["attributes"] = attributes["attributes"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ManifestError(
                f"{origin}: not a group of this library ({error!r}); convert the sample again, or remove the group"
            ) from error
        return cls.parse(json.dumps(manifest).encode(), origin)

    def sample(self, sample_id: str) -> SampleEntry:
        """Return the entry of a sample; raise `UnknownNameError` if the store lacks the sample."""
        try:
            return self.samples[sample_id]
        except KeyError:
            if sample_id in self.removing.values():
                reason = f"its removal has begun; finish it: noether-zarr remove STORE --sample {sample_id}"
            else:
                reason = nearest_names(sample_id, self.samples)
            raise UnknownNameError(f"sample {sample_id!r} is not in the store; {reason}") from None

    def to_json(self, origin: str) -> bytes:
        """Return the bytes of the file, with their checksum; errors name `origin`."""
        # Most stores have none of these, so their manifests lack the keys.
        left_out = {"samples", *(key for key in _RARE_KEYS if not getattr(self, key))}
        rest = ZERO_CHECKSUM | self.model_dump(mode="json", exclude=left_out, warnings="error")
        return with_checksum(join_samples(to_json(rest, indent=2), SampleLines.of(self.samples, self.domains, origin)))


def _require_found(data: bytes | None, root: str) -> bytes:
    if data is None:
        raise ManifestError(
            f"{join(root, MANIFEST_NAME)}: not found, so {root} is no store; check the path, or convert a source "
            "into it: noether-zarr convert SOURCE STORE --preset NAME"
        )
    return data


def _short(value: object) -> str:
    if isinstance(value, dict):
        value = {
            domain: {field: f"{array.dtype} x {array.dim}" for field, array in layout.arrays.items()}
            for domain, layout in value.items()
        }
    return str(value)
