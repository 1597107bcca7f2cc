"""What a manifest from elsewhere may say of all its samples, and how an error says what is wrong with it. Pure."""

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
# pydantic makes 600 bytes of each problem, and as many again to name it.
_MAX_NAMED_PROBLEMS = 1000


def _plain(text: str) -> str:
    if not is_plain(text):
        raise ValueError(f"{text[:_MAX_SHOWN]!r} holds characters that are not seen, or that change how others are")
    return text


PlainText = Annotated[str, AfterValidator(_plain)]
"""Text that can be printed on a terminal."""

ChunkIndexName = Annotated[str, Field(pattern=r"^chunk_index-[0-9a-f]{1,64}\.npy$")]
"""Name of a chunk index. What it names is deleted when another takes its place, so it can be nothing else."""

SampleIndexName = Annotated[str, Field(pattern=r"^sample_index-[0-9a-f]{1,64}\.npy$")]
"""Name of a chunk index that has the ids of its samples."""


def settings_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return all of a manifest's JSON but the samples, and the ids in its splits, of which there may be many."""
    splits = content.get("splits")
    return {**content, "samples": None, "splits": list(splits) if isinstance(splits, dict) else None}


def check_domain_layouts(domains: Mapping[str, DomainLayout]) -> None:
    """Raise `ValueError` unless each field has one array of its own, which can be stored, below the group's root."""
    fields: set[str] = set()
    paths: set[str] = set()
    for domain, layout in domains.items():
        check_relative_path(domain, "path")
        if layout.position not in layout.arrays:
            raise ValueError(f"domain {domain!r}: its position {layout.position!r} is none of its arrays")
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
    """Raise `ValueError` unless fields that are pending or being removed could be fields beside those of the store.

    What is being removed is deleted with all below it, so its array can be no part of another one.
    """
    united = {domain: dict(layout.arrays) for domain, layout in domains.items()}
    for fields in later:
        for domain, arrays in fields.items():
            if domain not in united:
                raise ValueError(f"fields that came later, or go: domain {domain!r} is not among the store's")
            known = {field for of_domain in united.values() for field in of_domain}
            twice = known & arrays.keys()
            if twice:
                raise ValueError(f"field {min(twice)!r}: it is pending, or being removed, and also another field")
            united[domain] |= arrays
            for array in arrays.values():
                check_relative_path(array.array_name, "path")
                if array.array_name.rpartition("/")[0] != domain:
                    raise ValueError(
                        f"field {array.field!r}: expected an array in {domain!r}, got {array.array_name!r}"
                    )
    check_domain_layouts({domain: replace(layout, arrays=united[domain]) for domain, layout in domains.items()})


def check_origin(origin: tuple[float, float, float] | None, domains: Mapping[str, DomainLayout]) -> None:
    """Raise `ValueError` where a store has an origin, and positions that it cannot be subtracted from."""
    for domain, layout in domains.items() if origin is not None else ():
        width = layout.arrays[layout.position].dim
        if width != len(origin or ()):
            raise ValueError(f"origin: expected positions of 3 components, got {width} in domain {domain!r}")


def _check_array(field: str, array: ArrayLayout) -> None:
    if array.field != field:
        raise ValueError(f"field {field!r}: its array says that it is field {array.field[:_MAX_SHOWN]!r}")
    if array.dtype not in STORED_DTYPES:
        found = array.dtype[:_MAX_SHOWN]
        raise ValueError(f"field {field!r}: dtype: expected one of {', '.join(STORED_DTYPES)}, got {found!r}")
    if array.dim < 1:
        raise ValueError(f"field {field!r}: dim: expected a whole number of at least 1, got {array.dim}")


def invalid_manifest(origin: str, error: ValueError, *where: str) -> ManifestError:
    """Say in one line what is wrong with a manifest, the version first: an unknown one explains all the rest.

    Parameters
    ----------
    origin : str
        Where the manifest came from.
    error : ValueError
        Of pydantic, or of its parser of JSON.
    *where : str
        Keys that lead to what was validated.
    """
    if not isinstance(error, ValidationError):
        return ManifestError(f"{origin}: no valid manifest: {error}")
    if error.error_count() > _MAX_NAMED_PROBLEMS:
        what = ".".join(map(_shown, where)) or "it"
        return ManifestError(f"{origin}: no valid manifest: {what} has {error.error_count():,} problems")
    problems = error.errors(include_url=False, include_input=False)
    problems.sort(key=lambda problem: problem["loc"] != ("format_version",))
    key = ".".join(map(_shown, (*where, *problems[0]["loc"])))
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    message = problems[0]["msg"].removeprefix("Value error, ")
    return ManifestError(f"{origin}: no valid manifest: {key + ': ' if key else ''}{message}{more}")


def _shown(key: str | int) -> str:
    """Return a key, which may be anything, as it can be shown."""
    text = str(key)
    return text if len(text) <= _MAX_SHOWN and is_plain(text) else repr(text[:_MAX_SHOWN])
