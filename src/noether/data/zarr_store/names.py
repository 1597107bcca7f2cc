"""Which names are safe to use as paths below a store's root. Pure.

Sample ids, and the paths in a manifest from elsewhere, are untrusted: none may leave the root or hide in it.
"""

from __future__ import annotations

import re

from noether.data.zarr_store.errors import SampleIdError

__all__ = ["GROUP_SUFFIX", "ROOT_KEY", "check_relative_path", "check_sample_id", "group_path"]

GROUP_SUFFIX = ".zarr"
# A group is complete, and so there, once this object of it is.
ROOT_KEY = "zarr.json"

# ext4, xfs, APFS and NTFS allow 255 bytes a name; a group is staged under a name that is up to 50 bytes longer.
_MAX_SEGMENT_BYTES = 200
_MAX_PATH_BYTES = 900  # S3 keys end at 1024 bytes, the root and the arrays' keys included
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")
_DRIVE = re.compile(r"^[A-Za-z]:")


def check_sample_id(sample_id: object) -> str:
    """Give a sample id back if it is safe to name a group with, else raise `SampleIdError`.

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
    """Give a path back if it stays below the root wherever it is joined to it, else raise `SampleIdError`.

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
    """Give the path of a sample's group, relative to the root."""
    return sample_id + GROUP_SUFFIX


def _why_unsafe(path: str) -> str | None:
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return "it is no valid Unicode text"
    if len(encoded) > _MAX_PATH_BYTES:
        return f"it is longer than {_MAX_PATH_BYTES} bytes"
    if _FORBIDDEN.search(path):
        return "it holds a backslash or a control character"
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
