"""The content of an export: stored fields and predictions of a sample, in the order of the source."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.errors import ArgumentError, UnknownNameError, nearest_names
from noether.data.zarr_store.manifest import require_joined
from noether.data.zarr_store.reader import ZarrChunkReader

__all__ = ["Content", "as_numbers", "check_no_field"]


@dataclass(frozen=True, slots=True)
class Content:
    """The fields and predictions to export for one sample.

    Attributes
    ----------
    reader : ZarrChunkReader
        Reader of the store.
    sample_id : str
        Id of the sample.
    n_points : dict of str to int
        Number of points of each candidate domain.
    fields : frozenset of str or None
        Canonical names of the fields; None means all fields of a domain.
    predictions : dict of str to ndarray
        Arrays of numbers in stored order, each with one row per point of a domain.
    """

    reader: ZarrChunkReader
    sample_id: str
    n_points: dict[str, int]
    fields: frozenset[str] | None
    predictions: dict[str, NDArray[Any]]

    @classmethod
    def select(
        cls,
        reader: ZarrChunkReader,
        sample_id: str,
        domain: str | None,
        fields: Iterable[str] | None,
        predictions: Mapping[str, Any] | None,
    ) -> Content:
        """Check a request, and return its content; no array is read. For the parameters see `export.export_sample`.

        Raises
        ------
        UnknownNameError
            The sample has no such domain or field.
        ArgumentError
            Nothing is requested, or a prediction is not an array of numbers with one row per point of a domain.
        """
        entry = reader.manifest.sample(sample_id)
        n_points = {name: grid.n_points for name, grid in entry.domains.items() if domain in (None, name)}
        if domain is not None and not n_points:
            raise UnknownNameError(
                f"sample {sample_id!r} has no domain {domain!r}; {nearest_names(domain, entry.domains)}"
            )
        if isinstance(fields, str):
            raise ArgumentError(f"fields: expected a list of names, got the str {fields!r}; write [{fields!r}]")
        if fields is None and predictions is not None:
            fields = ()
        named = None if fields is None else frozenset(require_joined(reader.manifest, fields))
        arrays = {name: _prediction(name, values, sample_id, n_points) for name, values in (predictions or {}).items()}
        if named is not None and not named and not arrays:
            raise ArgumentError(f"sample {sample_id!r}: nothing to export; name at least one field or prediction")
        known = {field for name in n_points for field in reader.manifest.domains[name].arrays}
        for field in sorted((named or frozenset()) - known):
            raise UnknownNameError(f"sample {sample_id!r} has no field {field!r}; {nearest_names(field, known)}")
        for name in sorted(arrays):
            check_no_field(name, named or ())
        return cls(reader, sample_id, n_points, named, arrays)

    def fields_of(self, domain: str) -> list[str]:
        """Return the names of the fields of a domain to export."""
        fields = self.reader.manifest.domains[domain].arrays
        return [field for field in fields if self.fields is None or field in self.fields]

    def domains_with_all(self) -> dict[str, int]:
        """Return the domains that can hold all requested fields and predictions, with their numbers of points.

        Raises
        ------
        ArgumentError
            There is no such domain; a mesh takes one domain at a time.
        """
        domains = {
            domain: count
            for domain, count in self.n_points.items()
            if (self.fields is None or self.fields <= set(self.fields_of(domain)))
            and all(len(values) == count for values in self.predictions.values())
        }
        if not domains:
            raise ArgumentError(
                f"sample {self.sample_id!r}: {', '.join([*sorted(self.fields or ()), *self.predictions])} do not "
                "belong to one domain, and a mesh takes one domain at a time; export each domain with its own call"
            )
        return domains

    def positions(self, domain: str) -> NDArray[Any]:
        """Read the stored positions of a domain, relative to the origin, in the order of the source."""
        return self._read([self.reader.manifest.domains[domain].position])[0]

    def arrays(self, domain: str) -> dict[str, NDArray[Any]]:
        """Read the requested fields and predictions of one domain, in the order of the source.

        float16 becomes float32. If the store has an origin, it is added to the positions, which become float64.
        """
        fields = self.fields_of(domain)
        arrays = dict(zip(fields, self._read(fields), strict=True))
        position, origin = self.reader.manifest.domains[domain].position, self.reader.origin
        if origin is not None and position in arrays:
            arrays[position] = np.add(arrays[position], origin, dtype=np.float64)
        predictions = {name: values for name, values in self.predictions.items() if domain in self._domains_of(values)}
        if predictions:
            order = self.reader.permutation(self.sample_id, domain)
            for name, values in predictions.items():
                arrays[name] = np.empty_like(values)
                arrays[name][order] = values
        return {
            name: values.astype(np.float32) if values.dtype == np.float16 else values for name, values in arrays.items()
        }

    def arrays_of_all_domains(self) -> dict[str, NDArray[Any]]:
        """Read the requested fields and predictions of all domains; see `arrays`.

        Raises
        ------
        ArgumentError
            Several domains have as many points as a prediction has rows.
        """
        for name, values in self.predictions.items():
            domains = self._domains_of(values)
            if len(domains) > 1:
                raise ArgumentError(
                    f"prediction {name!r}: expected the number of points of one domain, got {len(values):,} rows, but "
                    f"{' and '.join(domains)} of sample {self.sample_id!r} have {len(values):,} points each; set domain"
                )
        return {name: values for domain in self.n_points for name, values in self.arrays(domain).items()}

    def _domains_of(self, prediction: NDArray[Any]) -> list[str]:
        return [domain for domain, count in self.n_points.items() if count == len(prediction)]

    def _read(self, fields: list[str]) -> list[NDArray[Any]]:
        arrays = self.reader.read_arrays(self.sample_id, fields=fields, order="original", dtype=None)
        return [arrays[field] for field in fields]


def check_no_field(name: str, fields: Container[str]) -> None:
    """Raise `ArgumentError` if a prediction has the name of an exported field."""
    if name in fields:
        raise ArgumentError(
            f"prediction {name!r}: the field of that name is exported too; leave the field out of fields, "
            f"or use another name for the prediction, such as 'predicted_{name}'"
        )


def as_numbers(where: str, values: Any) -> NDArray[Any]:
    """Return a prediction, or some of its rows, as an array in native byte order; tensors may be on any device.

    Parameters
    ----------
    where : str
        Description of the prediction, for the beginning of an error.
    values : array or tensor
        The prediction.

    Raises
    ------
    ArgumentError
        The values are not an array of numbers, or a tensor requires gradients.
    """
    try:
        to_cpu = getattr(values, "cpu", None)  # a method of tensors
        array = np.asarray(to_cpu() if callable(to_cpu) else values)
    except (TypeError, ValueError, RuntimeError) as error:  # for example, a tensor requires gradients
        raise ArgumentError(
            f"{where}: expected an array, got {type(values).__name__} ({error}); pass an array of numbers, "
            "or, for a tensor, values.detach().float()"
        ) from error
    if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:
        raise ArgumentError(
            f"{where}: expected numbers of at most 8 bytes, got dtype {array.dtype}; cast it to float32"
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _prediction(name: str, values: Any, sample_id: str, n_points: Mapping[str, int]) -> NDArray[Any]:
    """Return a prediction of all points as an array, of shape ``(n_points,)`` if it has one component."""
    array = as_numbers(f"prediction {name!r}", values)
    if array.ndim not in (1, 2) or 0 in array.shape or len(array) not in n_points.values():
        counts = ", ".join(f"{count:,} of {domain}" for domain, count in n_points.items())
        raise ArgumentError(
            f"prediction {name!r}: expected shape (n_points,) or (n_points, width) with the number of points of a "
            f"domain of sample {sample_id!r} ({counts}), got {array.shape}; pass one row per point, in stored order"
        )
    return array[:, 0] if array.shape[1:] == (1,) else array
