"""Which names are safe to use as paths below a store's root. Pure.

Sample ids, and the paths in a manifest from elsewhere, are untrusted: none may leave the root or hide in it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from noether.data.zarr_store.errors import SampleIdError

__all__ = [
    "GROUP_SUFFIX",
    "ROOT_KEY",
    "check_relative_path",
    "check_sample_id",
    "group_path",
    "is_plain",
    "portable_key",
    "printable",
    "require_distinct",
    "sample_id_of",
    "twin_error",
]

GROUP_SUFFIX = ".zarr"
# A group is complete, and so there, once this object of it is.
ROOT_KEY = "zarr.json"

# ext4, xfs, APFS and NTFS allow 255 bytes a name; a group is staged under a name that is up to 50 bytes longer.
_MAX_SEGMENT_BYTES = 200
_MAX_PATH_BYTES = 900  # S3 keys end at 1024 bytes, the root and the arrays' keys included
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
# Controls; what is not seen, such as U+200B, or turns the direction of writing, as U+202E does; halves of characters;
# ends of lines and paragraphs. See https://www.unicode.org/reports/tr44/#General_Category_Values.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_DRIVE = re.compile(r"^[A-Za-z]:")


def check_sample_id(sample_id: object) -> str:
    """Return a sample id if it is safe to name a group with, else raise `SampleIdError`.

    A sample id is a relative path with ``/`` between its parts: ``run_12``, ``param1/6f0a``. No part is empty, starts
    with a dot or, unless it is the last, ends in ``.zarr``, which would put one sample's group into another's.
    """
    if not isinstance(sample_id, str):
        raise SampleIdError(f"sample id: expected a str such as 'run_12', got {type(sample_id).__name__}")
    path = check_relative_path(sample_id, "sample id")
    for part in path.split("/")[:-1]:
        if part.lower().endswith(GROUP_SUFFIX):
            raise SampleIdError(
                f"sample id {sample_id!r}: the part {part!r} would lie inside the group of another sample"
            )
    return path


def check_relative_path(path: str, what: str) -> str:
    """Return a path if it stays below the root wherever it is joined to it, else raise `SampleIdError`.

    Parameters
    ----------
    path : str
        With ``/`` between its parts.
    what : str
        What it names, to begin the error with.
    """
    reason = _why_unsafe(path)
    if reason:
        shown = path if len(path) <= 80 else path[:77] + "..."
        raise SampleIdError(f"{what} {shown!r}: {reason}; expected a relative name such as 'run_12' or 'part/run_12'")
    return path


def group_path(sample_id: str) -> str:
    """Return the path of a sample's group, relative to the root."""
    return sample_id + GROUP_SUFFIX


def is_plain(text: str) -> bool:
    """Tell whether a terminal shows all of a text, and nothing else than it."""
    if text.isascii():
        return text.isprintable()
    return not any(unicodedata.category(character) in _HIDDEN_CATEGORIES for character in text)


def printable(text: str) -> str:
    """Return a text as a terminal may have it: what is not seen, or acts on the terminal, as its escape."""
    if is_plain(text):
        return text
    return "".join(one if is_plain(one) or one == "\n" else one.encode("unicode_escape").decode() for one in text)


def portable_key(path: str) -> str:
    """Return what two paths have in common that some file system, or some reader, takes for the same.

    File systems of macOS and Windows ignore case, those of macOS also how an accent is written; to a reader, digits
    and letters of other widths and styles look alike. This is the compatibility caseless match of the Unicode
    Standard (section 3.13, D146). Letters of different scripts that look alike have different keys.
    """
    if path.isascii():
        return path.lower()
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFD", path).casefold())
    return unicodedata.normalize("NFKD", folded.casefold())


def sample_id_of(path: str) -> str:
    """Return the sample whose group lies at a path, relative to the root, if `group_path` named it."""
    return path.removesuffix(GROUP_SUFFIX)


def require_distinct(sample_ids: Iterable[str]) -> None:
    """Raise `SampleIdError` where two samples have the same `portable_key`."""
    by_key: dict[str, str] = {}
    for sample_id in sample_ids:
        twin = by_key.setdefault(portable_key(sample_id), sample_id)
        if twin != sample_id:
            raise twin_error(sample_id, twin)


def twin_error(sample_id: str, twin: str) -> SampleIdError:
    """Say that a sample cannot stand beside another one."""
    return SampleIdError(
        f"sample id {sample_id!r}: there is {twin!r}, which some file systems take for the same, since they differ in "
        "nothing but case or the form of their characters; expected another id"
    )


def _why_unsafe(path: str) -> str | None:
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return "it is no valid Unicode text"
    if len(encoded) > _MAX_PATH_BYTES:
        return f"it is longer than {_MAX_PATH_BYTES} bytes"
    if _FORBIDDEN.search(path):
        return "it holds a backslash or a control character"
    if not is_plain(path):
        return "it holds a character that is not seen, or that turns the direction of writing"
    if _DRIVE.match(path):
        return "it starts with a drive letter"
    return next(filter(None, map(_why_part_unsafe, path.split("/"))), None)


def _why_part_unsafe(part: str) -> str | None:
    if not part:
        return "it has an empty part, or starts or ends with '/'"
    if part.startswith("."):
        return "a part of it starts with a dot"
    if part != part.strip():
        return "a part of it starts or ends with a blank"
    if len(part.encode()) > _MAX_SEGMENT_BYTES:
        return f"a part of it is longer than {_MAX_SEGMENT_BYTES} bytes"
    return None
