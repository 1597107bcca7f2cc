"""Checks that names are safe to use as paths below the root of a store. Pure.

Sample ids and the paths in a manifest are untrusted: none of them may lead out of the root, or be hidden in it.
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
# A group is complete once this object exists.
ROOT_KEY = "zarr.json"

# ext4, xfs, APFS and NTFS allow 255 bytes for a name. The staged name of a group is up to 50 bytes longer.
_MAX_SEGMENT_BYTES = 200
_MAX_PATH_BYTES = 900  # S3 keys have at most 1024 bytes, including the root and the keys of the arrays
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
# Control characters; invisible characters such as U+200B; bidirectional control characters such as U+202E; surrogates;
# line and paragraph separators. See https://www.unicode.org/reports/tr44/#General_Category_Values.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_DRIVE = re.compile(r"^[A-Za-z]:")


def check_sample_id(sample_id: object) -> str:
    """Return a sample id if it is a safe name for a group, else raise `SampleIdError`.

    A sample id is a relative path with ``/`` between its segments: ``run_12``, ``param1/6f0a``. No segment is empty or
    starts with a dot. Only the last segment can end in ``.zarr``: a group must not be inside the group of another
    sample.
    """
    if not isinstance(sample_id, str):
        raise SampleIdError(f"sample id: expected a str such as 'run_12', got {type(sample_id).__name__}")
    path = check_relative_path(sample_id, "sample id")
    for part in path.split("/")[:-1]:
        if part.lower().endswith(GROUP_SUFFIX):
            raise SampleIdError(
                f"sample id {sample_id!r}: the segment {part!r} is the name of the group of another sample; use a "
                f"segment that does not end in {GROUP_SUFFIX}"
            )
    return path


def check_relative_path(path: str, what: str) -> str:
    """Return a path if it stays below any root that it is joined to, else raise `SampleIdError`.

    Parameters
    ----------
    path : str
        Relative path with ``/`` between its segments.
    what : str
        Noun for the path, to begin the error message, such as ``"sample id"``.
    """
    reason = _why_unsafe(path)
    if reason:
        shown = path if len(path) <= 80 else path[:77] + "..."
        raise SampleIdError(f"{what} {shown!r}: {reason}; use a relative name such as 'run_12' or 'case/run_12'")
    return path


def group_path(sample_id: str) -> str:
    """Return the path of a sample's group, relative to the root."""
    return sample_id + GROUP_SUFFIX


def is_plain(text: str) -> bool:
    """Return whether a text has only characters that a terminal shows and does not interpret."""
    if text.isascii():
        return text.isprintable()
    return not any(unicodedata.category(character) in _HIDDEN_CATEGORIES for character in text)


def printable(text: str) -> str:
    """Return a text that is safe to print: invisible and control characters, except newlines, are escaped."""
    if is_plain(text):
        return text
    return "".join(one if is_plain(one) or one == "\n" else one.encode("unicode_escape").decode() for one in text)


def portable_key(path: str) -> str:
    """Return a key that is equal for two paths that a file system, or a person, can confuse.

    File systems of macOS and Windows ignore case, and macOS also ignores the Unicode form of an accent. For a person,
    digits and letters of other widths and styles look alike. This is the compatibility caseless match of the Unicode
    Standard (section 3.13, D146). Letters of different scripts that look alike have different keys.
    """
    if path.isascii():
        return path.lower()
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFD", path).casefold())
    return unicodedata.normalize("NFKD", folded.casefold())


def sample_id_of(path: str) -> str:
    """Return the sample id of a group path that `group_path` returned."""
    return path.removesuffix(GROUP_SUFFIX)


def require_distinct(sample_ids: Iterable[str]) -> None:
    """Raise `SampleIdError` if two samples have the same `portable_key`."""
    by_key: dict[str, str] = {}
    for sample_id in sample_ids:
        twin = by_key.setdefault(portable_key(sample_id), sample_id)
        if twin != sample_id:
            raise twin_error(sample_id, twin)


def twin_error(sample_id: str, twin: str) -> SampleIdError:
    """Return the error for two samples that have the same `portable_key`."""
    return SampleIdError(
        f"sample id {sample_id!r}: it differs from {twin!r} only in case or in the form of its characters, and some "
        "file systems treat both as the same name; use another id"
    )


def _why_unsafe(path: str) -> str | None:
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return "it is not valid Unicode text"
    if len(encoded) > _MAX_PATH_BYTES:
        return f"it is longer than {_MAX_PATH_BYTES} bytes"
    if _FORBIDDEN.search(path):
        return "it has a backslash or a control character"
    if not is_plain(path):
        return "it has an invisible or bidirectional control character"
    if _DRIVE.match(path):
        return "it starts with a drive letter"
    return next(filter(None, map(_why_part_unsafe, path.split("/"))), None)


def _why_part_unsafe(part: str) -> str | None:
    if not part:
        return "it has an empty segment, or starts or ends with '/'"
    if part.startswith("."):
        return "a segment of it starts with a dot"
    if part != part.strip():
        return "a segment of it starts or ends with a space"
    if len(part.encode()) > _MAX_SEGMENT_BYTES:
        return f"a segment of it is longer than {_MAX_SEGMENT_BYTES} bytes"
    return None
