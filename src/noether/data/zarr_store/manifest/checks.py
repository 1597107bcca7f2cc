"""Checks of a manifest from an untrusted source, apart from its samples, and the error of an invalid manifest. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from noether.data.zarr_store.core import check_relative_path, is_plain
from noether.data.zarr_store.errors import ManifestError
from noether.data.zarr_store.layout import STORED_DTYPES, ArrayLayout, DomainLayout

__all__ = [
    "ChunkIndexName",
    "PlainText",
    "SampleIndexName",
    "check_domain_layouts",
    "check_later_fields",
    "check_origin",
    "invalid_manifest",
    "settings_of",
]

_MAX_SHOWN = 80
_REPAIR = "repair it: noether-zarr repair STORE"
# pydantic uses 600 bytes of memory for each problem, and another 600 bytes to name it.
_MAX_NAMED_PROBLEMS = 1000


def _plain(text: str) -> str:
    if not is_plain(text):
        raise ValueError(f"{text[:_MAX_SHOWN]!r} holds invisible or bidirectional control characters")
    return text


PlainText = Annotated[str, AfterValidator(_plain)]
"""Text that can be printed on a terminal."""

ChunkIndexName = Annotated[str, Field(pattern=r"^chunk_index-[0-9a-f]{1,64}\.npy$")]
"""Name of a chunk index. The writer of a new index deletes the file of this name, so no other name is allowed."""

SampleIndexName = Annotated[str, Field(pattern=r"^sample_index-[0-9a-f]{1,64}\.npy$")]
"""Name of a chunk index that holds the ids of its samples."""


def settings_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest's JSON without its samples and without the ids of its splits; both can be large."""
    splits = content.get("splits")
    return {**content, "samples": None, "splits": list(splits) if isinstance(splits, dict) else None}


def check_domain_layouts(domains: Mapping[str, DomainLayout]) -> None:
    """Raise `ValueError` unless each field has its own array, of a dtype that can be stored, below the group's root."""
    fields: set[str] = set()
    paths: set[str] = set()
    for domain, layout in domains.items():
        check_relative_path(domain, "path")
        if layout.position not in layout.arrays:
            raise ValueError(f"domain {domain!r}: its arrays lack its position {layout.position!r}")
        for field, array in layout.arrays.items():
            check_relative_path(array.array_name, "path")
            _check_array(_plain(field), array)
            if field in fields or array.array_name in paths:
                raise ValueError(
                    f"field {field!r}: another field has the same {'name' if field in fields else 'array'}"
                )
            fields.add(field)
            paths.add(array.array_name)


def check_later_fields(domains: Mapping[str, DomainLayout], *later: Mapping[str, Mapping[str, ArrayLayout]]) -> None:
    """Raise `ValueError` unless pending fields, and fields that are being removed, fit the store's fields.

    The removal of an array deletes everything below its path, so no other array is allowed there.
    """
    united = {domain: dict(layout.arrays) for domain, layout in domains.items()}
    for fields in later:
        for domain, arrays in fields.items():
            if domain not in united:
                raise ValueError(f"pending_fields, removing_fields: the store has no domain {domain!r}")
            known = {field for of_domain in united.values() for field in of_domain}
            twice = known & arrays.keys()
            if twice:
                raise ValueError(f"field {min(twice)!r}: it is listed twice, once as pending or being removed")
            united[domain] |= arrays
            for array in arrays.values():
                check_relative_path(array.array_name, "path")
                if array.array_name.rpartition("/")[0] != domain:
                    raise ValueError(
                        f"field {array.field!r}: expected an array in {domain!r}, got {array.array_name!r}"
                    )
    check_domain_layouts({domain: replace(layout, arrays=united[domain]) for domain, layout in domains.items()})


def check_origin(origin: tuple[float, float, float] | None, domains: Mapping[str, DomainLayout]) -> None:
    """Raise `ValueError` if a store has an origin, and positions without 3 components."""
    for domain, layout in domains.items() if origin is not None else ():
        width = layout.arrays[layout.position].dim
        if width != len(origin or ()):
            raise ValueError(f"origin: expected positions of 3 components, got {width} in domain {domain!r}")


def _check_array(field: str, array: ArrayLayout) -> None:
    if array.field != field:
        raise ValueError(f"field {field!r}: its array names another field, {array.field[:_MAX_SHOWN]!r}")
    if array.dtype not in STORED_DTYPES:
        found = array.dtype[:_MAX_SHOWN]
        raise ValueError(f"field {field!r}: dtype: expected one of {', '.join(STORED_DTYPES)}, got {found!r}")
    if array.dim < 1:
        raise ValueError(f"field {field!r}: dim: expected a whole number of at least 1, got {array.dim}")


def invalid_manifest(origin: str, error: ValueError, *where: str) -> ManifestError:
    """Return the error of an invalid manifest, in one line. It names the first problem and the number of the others.

    An unknown format version comes first, since it explains all other problems.

    Parameters
    ----------
    origin : str
        Path or URL of the manifest.
    error : ValueError
        Error of pydantic or of the JSON parser.
    *where : str
        Keys of the value that was validated.
    """
    if not isinstance(error, ValidationError):
        return ManifestError(f"{origin}: not a valid manifest: {error}; {_REPAIR}")
    if error.error_count() > _MAX_NAMED_PROBLEMS:
        what = ".".join(map(_shown, where)) or "it"
        return ManifestError(f"{origin}: not a valid manifest: {what} has {error.error_count():,} problems; {_REPAIR}")
    problems = error.errors(include_url=False, include_input=False)
    problems.sort(key=lambda problem: problem["loc"] != ("format_version",))
    key = ".".join(map(_shown, (*where, *problems[0]["loc"])))
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    message = problems[0]["msg"].removeprefix("Value error, ")
    found = f"{key + ': ' if key else ''}{message}{more}"
    way_out = "" if "; upgrade: " in message else f"; {_REPAIR}"
    return ManifestError(f"{origin}: not a valid manifest: {found}{way_out}")


def _shown(key: str | int) -> str:
    """Return a key in a form that can be printed; a key from an untrusted manifest can be any text."""
    text = str(key)
    return text if len(text) <= _MAX_SHOWN and is_plain(text) else repr(text[:_MAX_SHOWN])
