"""Objects that a forked process inherits and must never destroy."""

from __future__ import annotations

import ctypes
import os
from typing import Any
from weakref import WeakValueDictionary

__all__ = ["keep_in_forks"]

# Objects by id, since some cannot be hashed.
_kept: WeakValueDictionary[int, Any] = WeakValueDictionary()


def keep_in_forks(resource: object) -> None:
    """Prevent forked processes from destroying an object, since that would do harm.

    The destructor of an obstore store takes a lock, which a thread of the parent can have held at the fork: one forked
    process in 200 hung when measured. The destructor of an s3fs file system closes its connections in an event loop
    whose kernel objects are shared with the parent: the next read of the parent took 15 s when measured.
    """
    _kept[id(resource)] = resource


def _keep_inherited() -> None:
    for resource in _kept.values():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(resource))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_inherited)
