"""Loading mappings: a user's mapping.toml, or a mapping that is shipped with the library."""

from __future__ import annotations

import os
import tomllib
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from noether.data.zarr_store.errors import ArgumentError, nearest_names
from noether.data.zarr_store.sources.mapping import DomainMapping, PartSelection, SourceMapping

__all__ = ["find_mapping", "load_mapping", "parse_mapping", "shipped_mappings"]

_SUFFIX = ".toml"
_KEYS = sorted({*SourceMapping.model_fields, *DomainMapping.model_fields, *PartSelection.model_fields})


def shipped_mappings() -> dict[str, str]:
    """Return the text of the mappings that are shipped with the library, by name."""
    folder = files("noether.data.zarr_store.sources") / "mappings"
    return {
        file.name.removesuffix(_SUFFIX): file.read_text(encoding="utf-8")
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(_SUFFIX)
    }


def find_mapping(name_or_path: str | os.PathLike[str]) -> SourceMapping:
    """Load a mapping from a file, or by the name of a shipped mapping.

    Raises
    ------
    ArgumentError
        The mapping or file does not exist, or is not valid.
    """
    text = os.fspath(name_or_path)
    if text.endswith(_SUFFIX) or os.sep in text:
        return load_mapping(text)
    known = shipped_mappings()
    if text not in known:
        raise ArgumentError(
            f"mapping {text!r} is not known; {nearest_names(text, known)}; for a mapping of your own, use "
            f"a file name that ends in {_SUFFIX}"
        )
    return parse_mapping(known[text], f"mapping {text}")


def load_mapping(path: str | os.PathLike[str]) -> SourceMapping:
    """Load a mapping from a file.

    Raises
    ------
    ArgumentError
        The file cannot be read, or is not a valid mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError):
            raise ArgumentError(f"mapping {path} cannot be read ({error.strerror}); check the path") from error
        raise ArgumentError(f"mapping {path} cannot be read (it is not UTF-8 text); save it as UTF-8") from error
    return parse_mapping(text, f"mapping {path}")


def parse_mapping(text: str, where: str) -> SourceMapping:
    """Parse a mapping; `where` names it at the start of error messages.

    Raises
    ------
    ArgumentError
        The text is not a valid mapping.
    """
    try:
        return SourceMapping.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ArgumentError(f"{where}: it is not valid TOML ({error}); correct the file") from error
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        what = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            what = f"no such key; {nearest_names(problem['loc'][-1], _KEYS, limit=len(_KEYS))}"
        raise ArgumentError(f"{where}: {_place(problem['loc'])}{what}") from error


def _place(location: tuple[int | str, ...]) -> str:
    # Pydantic inserts the kind (tag of the union) after the name of a field or attribute; leave it out.
    kind = {"domains": 4, "attributes": 2}.get(str(location[0])) if location else None
    parts = [str(part) for number, part in enumerate(location) if number != kind]
    return f"{'.'.join(parts)}: " if parts else ""
