"""manifest.json: what a store holds, and how it was written.

The models are read from bytes that may come from anywhere, so pydantic checks them. Required keys are those without a
default; everything else may be missing. Keys of the manifest itself that are not known here are kept as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field as dataclass_field
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, JsonValue, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from noether.data.zarr_store.errors import (
    ManifestConflictError,
    ManifestError,
    UnknownNameError,
    nearest_names,
)
from noether.data.zarr_store.fidelity import FieldFidelity
from noether.data.zarr_store.grid import Grid
from noether.data.zarr_store.layout import ArrayLayout, DomainLayout
from noether.data.zarr_store.names import check_relative_path, check_sample_id
from noether.data.zarr_store.stores import join, open_storage

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST_NAME",
    "ArrayLayout",
    "DomainLayout",
    "DomainSample",
    "SampleEntry",
    "StoreManifest",
]

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"

# What all samples of a store share; two writers that differ in one of these cannot write to the same store.
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
)


def _known_version(version: int) -> int:
    if version != FORMAT_VERSION:
        raise ValueError(
            f"format version {version} is not known to this release, which reads version {FORMAT_VERSION}; "
            "upgrade: pip install --upgrade noether-zarr-store"
        )
    return version


def _safe_path(path: str) -> str:
    return check_relative_path(path, "path")


@dataclass(frozen=True, slots=True)
class DomainSample:
    """The grid of one domain of one sample, as the manifest has it."""

    n_points: int
    chunk_points: int
    shard_points: int
    n_chunks: int

    def __post_init__(self) -> None:
        if self.n_chunks != self.grid.n_chunks:
            raise ValueError(
                f"n_chunks: expected {self.grid.n_chunks} for {self.n_points} points in chunks of "
                f"{self.chunk_points}, got {self.n_chunks}"
            )

    @classmethod
    def of(cls, grid: Grid) -> Self:
        """Record a grid."""
        return cls(grid.n_points, grid.chunk_points, grid.shard_points, grid.n_chunks)

    @property
    def grid(self) -> Grid:
        """The chunks and shards of the domain."""
        return Grid(self.n_points, self.chunk_points, self.shard_points)


@dataclass(frozen=True, slots=True)
class SampleEntry:
    """One sample of the manifest.

    Attributes
    ----------
    relpath : str
        Where its group lies, relative to the root.
    domains : dict of str to DomainSample
        The domains that the sample has.
    attributes : dict of str to JSON value
        The sample's own attributes, such as design parameters.
    fidelity : dict of str to FieldFidelity
        By canonical field name, what storing it lost.
    """

    relpath: Annotated[str, AfterValidator(_safe_path)]
    domains: dict[str, DomainSample]
    attributes: dict[str, JsonValue] = dataclass_field(default_factory=dict)
    fidelity: dict[str, FieldFidelity] = dataclass_field(default_factory=dict)


class StoreManifest(BaseModel):
    """What a store holds, and the settings that all its samples share.

    Attributes
    ----------
    dataset_name : str
        Name of the dataset.
    format_version : int
        Version of the format.
    shuffle_seed : int
        Seed of all shuffles.
    coords_dtype, values_dtype : str
        Stored dtype of positions and of all else, unless `domains` has another for a field.
    compressor : str
        ``blosc-zstd-<level>``.
    domains : dict of str to DomainLayout
        All domains and arrays that a sample can have.
    samples : dict of str to SampleEntry
        By sample id.
    shuffle_algorithm : str or None
        How points were shuffled; ``None`` where the store was shuffled elsewhere.
    checksum : bool
        Whether each chunk carries a crc32c.
    splits : dict of str to list of str
        Sample ids by split.
    chunk_index : str or None
        Name of the chunk index file.
    """

    model_config = ConfigDict(extra="allow")

    dataset_name: str
    format_version: Annotated[int, AfterValidator(_known_version)]
    shuffle_seed: int
    coords_dtype: str
    values_dtype: str
    compressor: str
    domains: dict[str, DomainLayout]
    samples: dict[Annotated[str, AfterValidator(check_sample_id)], SampleEntry]
    shuffle_algorithm: str | None = None
    checksum: bool = False
    splits: dict[str, list[str]] = {}
    chunk_index: Annotated[str, AfterValidator(_safe_path)] | None = None

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        for domain, layout in self.domains.items():
            _safe_path(domain)
            if layout.position not in layout.arrays:
                raise ValueError(f"domain {domain!r}: its position {layout.position!r} is none of its arrays")
            for array in layout.arrays.values():
                _safe_path(array.array_name)
        for sample_id, entry in self.samples.items():
            unknown = entry.domains.keys() - self.domains.keys()
            if unknown:
                raise ValueError(f"sample {sample_id!r}: domains {sorted(unknown)} are not among the store's")
        return self

    @classmethod
    def parse(cls, data: bytes, origin: str) -> Self:
        """Read a manifest from its JSON.

        Parameters
        ----------
        data : bytes
            The JSON text.
        origin : str
            Where it came from, for the error.

        Raises
        ------
        ManifestError
            It is no manifest, or of a version that this release does not know.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise ManifestError(f"{origin}: {_explain(error)}") from error

    @classmethod
    def load(cls, root: str, *, storage_options: Mapping[str, Any] | None = None) -> Self:
        """Read the manifest of the store at `root`, a path or URL.

        Raises
        ------
        ManifestError
            There is none, it is malformed, or its version is not known.
        """
        manifest = cls.load_if_there(root, storage_options=storage_options)
        if manifest is None:
            raise ManifestError(
                f"{join(root, MANIFEST_NAME)}: not found, so {root} is no store; check the path, or convert a source "
                "into it: noether-zarr convert SOURCE STORE --preset NAME"
            )
        return manifest

    @classmethod
    def load_if_there(cls, root: str, *, storage_options: Mapping[str, Any] | None = None) -> Self | None:
        """Read the manifest of the store at `root`; ``None`` where there is none yet."""
        data = open_storage(root, storage_options).read_if_there(MANIFEST_NAME)
        return None if data is None else cls.parse(data, join(root, MANIFEST_NAME))

    def save(self, root: str, *, storage_options: Mapping[str, Any] | None = None) -> str:
        """Add the samples to the manifest at `root`, in one atomic step.

        Samples that others recorded there stay, and are in `samples` afterwards; of a sample that both have, this
        manifest's entry is kept. Samples are written in the order of their ids, so that the file does not depend on
        the order in which they were made.

        Returns
        -------
        str
            Path or URL of the file.

        Raises
        ------
        ManifestConflictError
            The manifest there was written with other settings.
        """
        url = join(root, MANIFEST_NAME)

        def merge(current: bytes | None) -> bytes:
            there = None if current is None else StoreManifest.parse(current, url)
            merged = self if there is None else there.merged_with(self, url)
            self.samples = dict(sorted(merged.samples.items()))
            return merged.model_copy(update={"samples": self.samples}).model_dump_json(indent=2).encode()

        open_storage(root, storage_options).update(MANIFEST_NAME, merge)
        return url

    def merged_with(self, other: StoreManifest, origin: str) -> StoreManifest:
        """Give a copy with the samples of `other` added; its entries replace those of the same id.

        Raises
        ------
        ManifestConflictError
            `other` has other settings than this manifest, which was read from `origin`.
        """
        self.require_same_settings(other, origin)
        return self.model_copy(update={"samples": self.samples | other.samples})

    def require_same_settings(self, other: StoreManifest, origin: str) -> None:
        """Raise `ManifestConflictError` unless `other` has the settings of this manifest, read from `origin`."""
        differing = [
            f"{key}: the store has {_short(getattr(self, key))}, this writer {_short(getattr(other, key))}"
            for key in _SHARED_KEYS
            if getattr(self, key) != getattr(other, key)
        ]
        if differing:
            raise ManifestConflictError(
                f"{origin}: the store was written with other settings ({'; '.join(differing)}); "
                "use the store's settings, or write to another store"
            )

    def as_group_attributes(self, sample_id: str, entry: SampleEntry) -> dict[str, Any]:
        """Give the attributes of a sample's group: its own, and a manifest of the sample alone.

        `of_group` reads that manifest back, so a store's manifest can be rebuilt from its groups.
        """
        alone = self.model_copy(update={"samples": {sample_id: entry}})
        manifest = alone.model_dump(mode="json", exclude={"samples": {sample_id: {"attributes"}}})
        return {"attributes": entry.attributes, "manifest": manifest}

    @classmethod
    def of_group(cls, data: bytes, origin: str) -> Self:
        """Read the manifest of one sample from the root ``zarr.json`` of its group.

        Raises
        ------
        ManifestError
            It has no such manifest.
        """
        try:
            attributes = json.loads(data)["attributes"]
            manifest = attributes["manifest"]
            for entry in manifest["samples"].values():
                entry["attributes"] = attributes["attributes"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ManifestError(f"{origin}: no group that this library wrote: {error!r}") from error
        return cls.parse(json.dumps(manifest).encode(), origin)

    def sample(self, sample_id: str) -> SampleEntry:
        """Give the entry of a sample; `UnknownNameError` where there is none."""
        try:
            return self.samples[sample_id]
        except KeyError:
            raise UnknownNameError(
                f"sample {sample_id!r} is not in the store; {nearest_names(sample_id, self.samples)}"
            ) from None


def _explain(error: ValidationError) -> str:
    """Say what is wrong in one line, the version first: an unknown one explains all the rest."""
    problems = error.errors(include_url=False, include_input=False)
    problems.sort(key=lambda problem: problem["loc"] != ("format_version",))
    where = ".".join(str(part) for part in problems[0]["loc"])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    message = problems[0]["msg"].removeprefix("Value error, ")
    return f"no valid manifest: {where + ': ' if where else ''}{message}{more}"


def _short(value: object) -> str:
    if isinstance(value, dict):
        value = {
            domain: {field: f"{array.dtype} x {array.dim}" for field, array in layout.arrays.items()}
            for domain, layout in value.items()
        }
    return str(value)
