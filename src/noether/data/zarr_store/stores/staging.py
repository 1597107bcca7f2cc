"""Names of staged files and groups, by which the staged writes of killed writers are recognised."""

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
"""Suffix of the name of a former group, which was moved aside for its replacement."""

_STAGED = re.compile(r"\.(.+)\.(?:[0-9a-f]{32}|(\d+)-([0-9a-f]{16})(?:\.former)?)", re.DOTALL)


class StagedWrite(NamedTuple):
    """A staged file or group of a killed writer.

    Attributes
    ----------
    key : str
        Key of the file or directory, relative to the root.
    target : str
        Key that it would have got, or had before it was moved aside.
    restores : bool
        Whether it is the only complete copy of its target, so that a recovery moves it back.
    """

    key: str
    target: str
    restores: bool = False


def staged_name(name: str) -> str:
    """Return a unique name for staging a file or group that is then renamed to `name`."""
    return f"{staged_prefix(name, os.getpid())}{_machine()}{uuid.uuid4().hex[:8]}"


def staged_prefix(name: str, pid: int) -> str:
    """Return the prefix of the names under which a process stages the file or group `name`."""
    return f".{name}.{pid}-"


def staged_here(name: str) -> bool:
    """Return whether this machine created the staged name. A writer on another machine can still be running."""
    match = _STAGED.fullmatch(name)
    return match is not None and match[2] is not None and match[3].startswith(_machine())


@cache
def _machine() -> str:
    """Return eight hex digits for this namespace of process ids, which is a machine or a container."""
    namespace = ""
    with suppress(OSError):  # only Linux has namespaces
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return hashlib.sha256(f"{platform.node()} {namespace}".encode()).hexdigest()[:8]


def target_of(key: str) -> tuple[str, int | None] | None:
    """Return the target of a staged file or group, and the id of its process; None for all other keys."""
    parent, slash, name = key.rpartition("/")
    match = _STAGED.fullmatch(name)
    if match is None:
        return None
    return f"{parent}{slash}{match[1]}", None if match[2] is None else int(match[2])


def is_running(pid: int) -> bool:
    """Return whether a process of this id runs on this machine; True if that cannot be found out."""
    if os.name == "nt":
        return True  # os.kill would interrupt the process
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
