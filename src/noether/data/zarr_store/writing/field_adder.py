"""Adding of fields to a sample: compare, encode and write arrays, then replace the root of the group."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from noether.data.zarr_store.core import ROOT_KEY, Grid
from noether.data.zarr_store.errors import StorageError
from noether.data.zarr_store.manifest import (
    FieldFidelity,
    Origin,
    OwnManifest,
    PendingFields,
    SampleEntry,
    sound_own_manifest,
)
from noether.data.zarr_store.stores import Storage, join
from noether.data.zarr_store.writing.field_addition import (
    Comparison,
    FieldAddition,
    StoredRowsOf,
    WrittenArrays,
    array_objects,
)
from noether.data.zarr_store.writing.group_encoding import DomainArrays, counted, encoded
from noether.data.zarr_store.writing.prepare import PreparedSample
from noether.data.zarr_store.writing.settings import WriterSettings
from noether.data.zarr_store.writing.validation import FieldValues

__all__ = ["FieldAdder", "RowOrder", "prepared_sample", "read_own_manifest"]

RowOrder = Literal["original", "stored"]


def prepared_sample(
    settings: WriterSettings,
    sample_id: str,
    fields: Mapping[str, list[FieldValues]],
    grids: Mapping[str, Grid],
    origin: Origin | None,
    *,
    compared: Collection[str] = (),
    in_stored_order: bool = False,
) -> PreparedSample:
    """Return a `PreparedSample` for the settings of a writer; see `PreparedSample` for the other parameters."""
    return PreparedSample(
        sample_id,
        fields,
        grids,
        shuffle_algorithm=settings.shuffle_algorithm,
        shuffle_seed=settings.shuffle_seed,
        non_finite=settings.non_finite,
        threads=settings.encoding.threads,
        positions={layout.position for layout in settings.layouts.values()},
        origin=origin,
        compared=compared,
        in_stored_order=in_stored_order,
    )


def read_own_manifest(storage: Storage, sample_id: str, path: str) -> OwnManifest:
    """Return the manifest in the root of a sample's group at `path`; `CorruptDataError` if the root is damaged."""
    return sound_own_manifest(sample_id, storage.read_if_there(f"{path}/{ROOT_KEY}"), path, storage.root)


@dataclass(frozen=True, slots=True)
class FieldAdder:
    """Adds fields to the groups of samples. Thread-safe.

    Attributes
    ----------
    settings : WriterSettings
        The settings of the writer.
    storage : Storage
        The storage of the store.
    stored : callable
        Function that reads the stored rows of a field.
    declare : callable of PendingFields
        Function that lists fields as pending in the manifest. It is called before the first object is written.
    """

    settings: WriterSettings
    storage: Storage
    stored: StoredRowsOf
    declare: Callable[[PendingFields], None]

    def add(
        self,
        own: OwnManifest,
        field_arrays: Mapping[str, Any],
        order: RowOrder,
        compare: Comparison,
        on_bytes: Callable[[int], None] | None,
    ) -> SampleEntry:
        """Add fields to a sample; see `ZarrStoreWriter.add_fields_to_group`."""
        is_stored = order == "stored"
        addition = FieldAddition.checked(own, field_arrays, self.settings.layouts, in_stored_order=is_stored)
        prepared = prepared_sample(
            self.settings,
            own.sample_id,
            addition.fields,
            addition.grids,
            # In stored order, positions come from a reader, which returns them without the origin.
            None if is_stored else self.settings.origin,
            compared=addition.compared,
            in_stored_order=is_stored,
        )
        self._recover(addition)
        with prepared:
            contents = dict(prepared.domains())
            addition.require_same(contents, partial(self.stored, own), compare, self.settings.encoding.threads)
            if not addition.new:
                return own.entry
            self.declare(addition.added)
            written = self._write_arrays(own.entry.relpath, addition.arrays(contents), on_bytes)
        return self._name_arrays(addition, written, prepared.fidelity)

    def _recover(self, addition: FieldAddition) -> None:
        """Remove the staged root and the staged arrays of these domains that a killed process left."""
        own = addition.own
        positions = [own.alone.domains[domain] for domain in addition.fields]
        places = [ROOT_KEY, *(layout.arrays[layout.position].array_name for layout in positions)]
        self.storage.recover_own([f"{own.entry.relpath}/{place}" for place in places])

    def _write_arrays(
        self, relpath: str, contents: Iterable[tuple[str, DomainArrays]], on_bytes: Callable[[int], None] | None
    ) -> WrittenArrays:
        """Write arrays into a group, each atomically."""
        written = WrittenArrays({}, {})
        with closing(encoded(contents, self.settings.encoding, self.settings.field_attributes)) as domains:
            for _, arrays in domains:
                for array in arrays:
                    place, objects = f"{relpath}/{array.path}", array_objects(array)
                    self.storage.write_group(place, objects if on_bytes is None else counted(objects, on_bytes))
                    written.metadata[array.path] = array.metadata
                    written.content[array.field] = array.checksum.digits
        return written

    def _name_arrays(
        self, addition: FieldAddition, written: WrittenArrays, fidelity: Mapping[str, FieldFidelity]
    ) -> SampleEntry:
        """Replace the root of a group by one that names the new arrays, after checking that these exist.

        Returns
        -------
        SampleEntry
            The entry in the new root.
        """
        relpath = addition.own.entry.relpath
        key = f"{relpath}/{ROOT_KEY}"
        where, new = join(self.storage.root, key), b""

        def change(current: bytes | None) -> bytes:
            nonlocal new
            new = addition.changed_root(current, written, fidelity, where)
            for path, document in written.metadata.items():
                if self.storage.read_if_there(f"{relpath}/{path}/{ROOT_KEY}") != document:
                    raise StorageError(f"cannot write {where}: another process removed {path}; add the fields again")
            return new

        self.storage.update(key, change)
        return OwnManifest.of_root(new, relpath, where).entry
