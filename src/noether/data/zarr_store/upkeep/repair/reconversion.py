"""Converting single samples again, with their former settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from noether.data.zarr_store.convert import fingerprint_of_sample
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.layout import present_specs
from noether.data.zarr_store.manifest import SampleEntry, StoreManifest, added_fields
from noether.data.zarr_store.sampling import SHUFFLE_ALGORITHMS
from noether.data.zarr_store.sources import SampleSource, field_attributes_of
from noether.data.zarr_store.writer import ZarrStoreWriter
from noether.data.zarr_store.writing import Encoding, NonFinite, StoreSettings, compression_level_of

__all__ = ["Reconversion", "encoding_of"]


def encoding_of(manifest: StoreManifest, threads: int) -> Encoding | None:
    """Return the encoding of the chunks of a store, or None if another program wrote the store."""
    level = compression_level_of(manifest)
    if level is None or manifest.shuffle_algorithm is None:
        return None
    return Encoding(level, manifest.checksum, threads)


class Reconversion:
    """Converts samples of a store again, with the store's settings and the samples' former chunks.

    Parameters
    ----------
    root : str
        Path or URL of the store.
    manifest : StoreManifest
        Manifest of the store.
    source : SampleSource
        Source of the samples.
    threads : int
        Number of threads of the writer.
    storage_options : mapping
        Options of the store's file system.

    Raises
    ------
    ArgumentError
        This library cannot write to the store, or the source lacks fields of the store.
    """

    def __init__(
        self,
        root: str,
        manifest: StoreManifest,
        source: SampleSource,
        threads: int,
        storage_options: Mapping[str, Any],
    ) -> None:
        encoding = encoding_of(manifest, threads)
        if encoding is None or manifest.shuffle_algorithm not in SHUFFLE_ALGORITHMS:
            raise ArgumentError(
                f"source: expected a store that this library converted from a source, got {root} with the compressor "
                f"{manifest.compressor} and the shuffle {manifest.shuffle_algorithm}; repair it without a source"
            )
        self._root = root
        self._manifest = manifest
        self._source = source
        self._encoding = encoding
        self._storage_options = dict(storage_options)
        self._fields = {field: array for layout in manifest.domains.values() for field, array in layout.arrays.items()}
        specs = {spec.field: spec for spec in present_specs(source.filemap)}
        # This source need not have fields that were added later; a sample that is converted again loses them.
        lacking = self._fields.keys() - specs.keys() - added_fields(manifest)
        self._fields = {field: array for field, array in self._fields.items() if field in specs}
        if lacking:
            raise ArgumentError(
                f"source: expected all fields of the store, got a source without {', '.join(sorted(lacking))}; use the "
                "source that the store was converted from, with the same preset or file map"
            )
        beyond = {spec.attribute: None for field, spec in specs.items() if field not in self._fields}
        self._filemap = source.filemap.model_copy(update=beyond)
        said = field_attributes_of(source)
        self._field_attributes = {field: said[field] for field in self._fields if field in said}
        self._there = frozenset(source.sample_ids())

    def has(self, sample_id: str) -> bool:
        """Return whether the source has a sample."""
        return sample_id in self._there

    def convert(self, sample_id: str) -> SampleEntry:
        """Convert a sample, replacing its group, and return its new entry for the manifest.

        Raises any error of the source, and the errors of `ZarrStoreWriter.write_group`.
        """
        loaded = self._source.load(sample_id)
        fields = {field: values for field, values in loaded.fields.items() if field in self._fields}
        former = self._manifest.samples.get(sample_id)
        # Attributes that were set after the conversion are not in the source.
        attributes = {**({} if former is None else former.attributes), **(loaded.attributes or {})}
        return self._writer(sample_id).write_group(
            sample_id,
            fields,
            attributes=attributes,
            fingerprint=fingerprint_of_sample(self._source, sample_id),
            on_position_loss=lambda _: None,  # the first conversion warned of this loss
        )

    def _writer(self, sample_id: str) -> ZarrStoreWriter:
        """Open a writer with the former chunks and shards of the sample or, if unknown, those of the other samples."""
        manifest = self._manifest
        entries = [manifest.samples[sample_id]] if sample_id in manifest.samples else None
        return ZarrStoreWriter(
            self._root,
            self._filemap,
            **StoreSettings.of(manifest, self._root, entries).to_init_kwargs(self._filemap),
            non_finite=self._non_finite(),
            storage_options=self._storage_options,
            threads=self._encoding.threads,
            field_attributes=self._field_attributes,
        )

    def _non_finite(self) -> NonFinite:
        """Return "allow" if the store has NaN or infinite values already, and "raise" otherwise."""
        entries = self._manifest.samples.values()
        counts = (loss.non_finite for entry in entries for loss in entry.fidelity.values())
        return "allow" if any(counts) else "raise"
