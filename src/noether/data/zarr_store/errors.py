"""All errors and warnings of the library.

::

    StoreError
    ├── ArgumentError              (ValueError)   a parameter is out of its range
    │   └── SampleIdError                         a sample id is not a safe relative name
    ├── SampleDataError            (ValueError)   the arrays of a sample do not fit the store
    │   ├── ValueOverflowError                    a value is out of the range of its stored dtype
    │   └── NonFiniteError                        a value is NaN or infinite, which is not allowed
    ├── ManifestError              (ValueError)   manifest.json is missing, malformed or too new
    │   └── ManifestConflictError                 the store was written with other settings
    ├── OriginalOrderError         (ValueError)   the order of the source cannot be restored
    ├── UnknownNameError           (KeyError)     a sample, domain or field is not in the store
    ├── CorruptDataError           (ValueError)   bytes in the store are damaged or missing
    ├── TooLargeError              (MemoryError)  the requested data does not fit in memory
    ├── StorageError               (OSError)      the storage cannot be reached or written
    ├── SourceError                (ValueError)   the files of a source cannot be read as a sample
    ├── MeshError                  (ValueError)   a mesh does not fit a sample, or a file format
    ├── WorkerError                (RuntimeError) worker processes cannot be started or reached
    │   └── WorkerDiedError                       a worker process ended before its work was done
    └── MissingDependencyError     (ImportError)  an optional library is not installed

Each class also derives from the builtin exception in parentheses, so that callers can catch either. The warnings are
`MixedSamplesWarning`, `PrecisionWarning` and `WholeFileWarning`, and `StorageWarning` in `stores`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from typing import Self

__all__ = [
    "ArgumentError",
    "CorruptDataError",
    "ManifestConflictError",
    "ManifestError",
    "MeshError",
    "MissingDependencyError",
    "MixedSamplesWarning",
    "NonFiniteError",
    "OriginalOrderError",
    "PrecisionWarning",
    "SampleDataError",
    "SampleIdError",
    "SourceError",
    "StorageError",
    "StoreError",
    "TooLargeError",
    "UnknownNameError",
    "ValueOverflowError",
    "WholeFileWarning",
    "WorkerDiedError",
    "WorkerError",
    "nearest_names",
    "reason_of",
    "require_one_of",
]

# Maximum number of characters in all known names; comparing this many takes a second.
_MAX_COMPARED = 1 << 21


class StoreError(Exception):
    """Base of all errors that the library raises."""


class ArgumentError(StoreError, ValueError):
    """A parameter is out of its range."""


class SampleIdError(ArgumentError):
    """A sample id is not a safe relative name."""


class SampleDataError(StoreError, ValueError):
    """The arrays of a sample do not fit the store."""


class ValueOverflowError(SampleDataError):
    """A value is out of the range of its stored dtype."""


class NonFiniteError(SampleDataError):
    """A value is NaN or infinite, which is not allowed."""


class ManifestError(StoreError, ValueError):
    """manifest.json is missing, malformed or too new."""


class ManifestConflictError(ManifestError):
    """The store was written with other settings."""


class OriginalOrderError(StoreError, ValueError):
    """The order of the source cannot be restored."""


class UnknownNameError(StoreError, KeyError):
    """A sample, domain or field is not in the store."""

    # KeyError would print the message in quotes.
    __str__ = Exception.__str__


class CorruptDataError(StoreError, ValueError):
    """Bytes in the store are damaged or missing."""


class TooLargeError(StoreError, MemoryError):
    """The requested data does not fit in memory, according to the size that a store or a file claims."""

    # tblib, which Dask uses, calls `__new__` to unpickle. `MemoryError.__new__` refuses a class whose first base is
    # another class.
    def __new__(cls, *args: object) -> Self:
        return Exception.__new__(cls, *args)


class StorageError(StoreError, OSError):
    """The storage cannot be reached or written."""


class SourceError(StoreError, ValueError):
    """The files of a source cannot be read as a sample."""


class MeshError(StoreError, ValueError):
    """A mesh does not fit a sample, or a file format."""


class WorkerError(StoreError, RuntimeError):
    """Worker processes cannot be started or reached."""


class WorkerDiedError(WorkerError):
    """A worker process ended before its work was done.

    Parameters
    ----------
    reason : str
        Reason of the end: the signal that killed the process, or its timeout.
    pid : int, optional
        Id of the process, if it ran on this machine.
    seconds : float
        Time that the process had spent on the work.
    """

    def __init__(self, reason: str, pid: int | None = None, seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.pid = pid
        self.seconds = seconds


class MissingDependencyError(StoreError, ImportError):
    """An optional library is not installed.

    Parameters
    ----------
    library : str
        Import name of the missing library.
    purpose : str
        Purpose of the library, as the subject of a sentence: ``"reading .pt files"``.
    extra : str
        Extra of this distribution that installs the library.
    """

    def __init__(self, library: str, purpose: str, extra: str) -> None:
        super().__init__(
            f"{purpose} needs {library}, which is not installed; install it with: "
            f"pip install 'noether-zarr-store[{extra}]'"
        )

    def __reduce__(self) -> tuple[object, ...]:
        # Worker processes send errors to their parent. By default, an exception is rebuilt from `args`, which here is
        # the finished message.
        return (_rebuild, (type(self), str(self)))


class MixedSamplesWarning(UserWarning):
    """The points of a domain are cells of a mesh in some samples of a store, and points in others."""


class PrecisionWarning(UserWarning):
    """Positions are stored or read with too few digits."""


class WholeFileWarning(UserWarning):
    """A large file of a source cannot be read in blocks, and is read whole into memory."""


def _rebuild(kind: type[ImportError], message: str) -> ImportError:
    error = kind.__new__(kind)
    ImportError.__init__(error, message)
    return error


def reason_of(error: Exception) -> str:
    """Return the message of an error. If it is not an error of this library, its class name comes first."""
    return str(error) if isinstance(error, StoreError) else f"{type(error).__name__}: {error}"


def require_one_of(parameter: str, value: object, known: Collection[object]) -> None:
    """Raise `ArgumentError` unless the value of a parameter is in `known`."""
    if value not in known:
        raise ArgumentError(f"{parameter}: expected one of {', '.join(map(str, known))}, got {value!r}")


def nearest_names(name: object, known: Iterable[str], *, limit: int = 8) -> str:
    """Return a hint with the known names that are most similar to an unknown name, for the end of an error message.

    Parameters
    ----------
    name : object
        The unknown name.
    known : iterable of str
        All known names.
    limit : int
        Maximum number of known names that are listed if none is similar.

    Returns
    -------
    str
        ``"did you mean 'a' or 'b'?"``, or a list of known names.
    """
    names = sorted(known)
    by_lower_case = {known_name.lower(): known_name for known_name in names}
    comparable = by_lower_case if sum(map(len, names)) <= _MAX_COMPARED else {}
    near = [by_lower_case[match] for match in difflib.get_close_matches(str(name).lower(), comparable, n=3)]
    if near:
        return f"did you mean {' or '.join(repr(match) for match in near)}?"
    if not names:
        return "there are none"
    more = f", … ({len(names)} in all)" if len(names) > limit else ""
    return f"there are: {', '.join(names[:limit])}{more}"
