"""What a forked process inherits, and must not let go."""

from __future__ import annotations

import ctypes
import os
from typing import Any
from weakref import WeakValueDictionary

__all__ = ["keep_in_forks"]

# By id, since not all can be hashed.
_kept: WeakValueDictionary[int, Any] = WeakValueDictionary()


def keep_in_forks(resource: object) -> None:
    """Never let processes that are forked from this one destroy an object, which would do harm there.

    To destroy a store of obstore takes a lock, which a thread of the parent may have held at the fork: measured, one
    forked process in 200 hung. A file system of s3fs closes its connections, in an event loop whose kernel side is
    still shared with the parent: measured, the next read of the parent took 15 s.
    """
    _kept[id(resource)] = resource


def _keep_inherited() -> None:
    for resource in _kept.values():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(resource))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_inherited)
