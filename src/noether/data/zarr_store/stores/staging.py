"""What writers leave behind that are killed, recognised by its name."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import uuid
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "FORMER_SUFFIX",
    "StagedWrite",
    "is_running",
    "staged_here",
    "staged_name",
    "staged_prefix",
    "target_of",
]

FORMER_SUFFIX = ".former"
"""Ends the name of a group that was moved aside, for another one to take its place."""

_STAGED = re.compile(r"\.(.+)\.(?:[0-9a-f]{32}|(\d+)-([0-9a-f]{16})(?:\.former)?)", re.DOTALL)


class StagedWrite(NamedTuple):
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


def staged_name(name: str) -> str:
    """Return a name that nobody else uses, to write a file or group under that is then renamed to `name`."""
    return f"{staged_prefix(name, os.getpid())}{_machine()}{uuid.uuid4().hex[:8]}"


def staged_prefix(name: str, pid: int) -> str:
    """Return how the names begin under which a process stages the file or group `name`."""
    return f".{name}.{pid}-"


def staged_here(name: str) -> bool:
    """Say whether a name was given by a process of this machine: of one that is unknown, nobody knows if it runs."""
    match = _STAGED.fullmatch(name)
    return match is not None and match[2] is not None and match[3].startswith(_machine())


@cache
def _machine() -> str:
    """Return eight digits for whatever has process ids of its own: a machine or, on one, a container."""
    namespace = ""
    with suppress(OSError):  # only Linux has them
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return hashlib.sha256(f"{platform.node()} {namespace}".encode()).hexdigest()[:8]


def target_of(key: str) -> tuple[str, int | None] | None:
    """Return what a staged file or group was to become, and the process that staged it; None for all other keys."""
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
