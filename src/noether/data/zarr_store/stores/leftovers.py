"""What writers leave behind that are killed, recognised by its name."""

from __future__ import annotations

import os
import re
import uuid
from typing import NamedTuple

__all__ = [
    "FORMER_SUFFIX",
    "Leftover",
    "is_running",
    "staged_file_name",
    "staged_group_name",
    "staged_group_prefix",
    "target_of",
]

FORMER_SUFFIX = ".former"
"""Ends the name of a group that was moved aside, for another one to take its place."""

_STAGED = re.compile(r"\.(.+)\.(?:[0-9a-f]{32}|(\d+)-[0-9a-f]{16}(?:\.former)?)", re.DOTALL)


class Leftover(NamedTuple):
    """One of them.

    Attributes
    ----------
    key : str
        Of the file or directory, relative to the root.
    target : str
        What it was to become, or was before it was moved aside.
    restores : bool
        Whether it is a complete group, the only one of its target, and so goes back to where it belongs.
    """

    key: str
    target: str
    restores: bool = False


def staged_file_name(name: str) -> str:
    """Give a name that nobody else uses, to write a file under that is then renamed to `name`."""
    return f".{name}.{uuid.uuid4().hex}"


def staged_group_name(name: str) -> str:
    """Give a name that nobody else uses, to write a group under that is then renamed to `name`."""
    return f"{staged_group_prefix(name, os.getpid())}{uuid.uuid4().hex[:16]}"


def staged_group_prefix(name: str, pid: int) -> str:
    """Give how the names begin under which a process stages the group `name`."""
    return f".{name}.{pid}-"


def target_of(key: str) -> tuple[str, int | None] | None:
    """Give what a staged file or group was to become, and the process that staged it; None for all other keys."""
    parent, slash, name = key.rpartition("/")
    match = _STAGED.fullmatch(name)
    if match is None:
        return None
    return f"{parent}{slash}{match[1]}", None if match[2] is None else int(match[2])


def is_running(pid: int) -> bool:
    """Say whether there is a process of this id on this machine, or none can tell."""
    if os.name == "nt":
        return True  # to ask would interrupt it
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
