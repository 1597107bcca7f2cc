"""Every error of the library, in one tree.

::

    StoreError
    ├── ArgumentError              (ValueError)   a parameter is out of its range
    │   └── SampleIdError                         a sample id is no safe relative name
    ├── SampleDataError            (ValueError)   the arrays of a sample do not fit the store
    │   ├── ValueOverflowError                    values do not fit the dtype they are stored in
    │   └── NonFiniteError                        NaN or infinity where none is allowed
    ├── ManifestError              (ValueError)   manifest.json is missing, malformed or too new
    │   └── ManifestConflictError                 the store was written with other settings
    ├── OriginalOrderError         (ValueError)   the source's order cannot be given back
    ├── UnknownNameError           (KeyError)     no such sample, domain or field in the store
    ├── CorruptDataError           (ValueError)   bytes in the store are not what they should be
    ├── TooLargeError              (MemoryError)  what is asked for does not fit in memory, as far as one is told
    ├── StorageError               (OSError)      where the bytes live cannot be reached or written
    ├── SourceError                (ValueError)   a source's files cannot be read as a sample
    ├── MeshError                  (ValueError)   a mesh does not fit a sample, or a file format
    ├── WorkerError                (RuntimeError) processes that were to do the work cannot be started or reached
    │   └── WorkerDiedError                       a process ended before its work was done
    └── MissingDependencyError     (ImportError)  an optional library is not installed

Each is also the builtin that a caller would expect, in parentheses. `MixedSamplesWarning`, `PrecisionWarning` and
`WholeFileWarning` are no errors.
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

# Characters of known names: comparing so many takes a second.
_MAX_COMPARED = 1 << 21


class StoreError(Exception):
    """Base of all errors that the library raises."""


class ArgumentError(StoreError, ValueError):
    """A parameter is out of its range."""


class SampleIdError(ArgumentError):
    """A sample id is no safe relative name."""


class SampleDataError(StoreError, ValueError):
    """The arrays of a sample do not fit the store."""


class ValueOverflowError(SampleDataError):
    """Values do not fit the dtype they are stored in."""


class NonFiniteError(SampleDataError):
    """NaN or infinity where none is allowed."""


class ManifestError(StoreError, ValueError):
    """manifest.json is missing, malformed or too new."""


class ManifestConflictError(ManifestError):
    """The store was written with other settings."""


class OriginalOrderError(StoreError, ValueError):
    """The source's order cannot be given back."""


class UnknownNameError(StoreError, KeyError):
    """No such sample, domain or field in the store."""

    # KeyError prints its message quoted, as it would a key.
    __str__ = Exception.__str__


class CorruptDataError(StoreError, ValueError):
    """Bytes in the store are not what they should be."""


class TooLargeError(StoreError, MemoryError):
    """What is asked for does not fit in memory, as far as a store or a file tells how large it is."""

    # That of MemoryError refuses a class with other bases first; tblib, which Dask brings along, calls it to unpickle.
    def __new__(cls, *args: object) -> Self:
        return Exception.__new__(cls, *args)


class StorageError(StoreError, OSError):
    """The place where the bytes live cannot be reached or written."""


class SourceError(StoreError, ValueError):
    """A source's files cannot be read as a sample."""


class MeshError(StoreError, ValueError):
    """A mesh does not fit a sample, or a file format."""


class WorkerError(StoreError, RuntimeError):
    """Processes that were to do the work cannot be started or reached."""


class WorkerDiedError(WorkerError):
    """A process ended before its work was done.

    Parameters
    ----------
    reason : str
        Why: the signal that killed it, or the time that it was given.
    pid : int, optional
        Its id, where it was a process of this machine.
    seconds : float
        Time that it had spent on the work.
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
        What is missing, as one imports it.
    purpose : str
        What it is needed for, as the subject of a sentence: ``"reading .pt files"``.
    extra : str
        The extra of this distribution that installs it.
    """

    def __init__(self, library: str, purpose: str, extra: str) -> None:
        super().__init__(
            f"{purpose} needs {library}, which is not installed: pip install 'noether-zarr-store[{extra}]'"
        )

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions rebuild from `args`, which hold the finished message: worker processes send errors home.
        return (_rebuild, (type(self), str(self)))


class MixedSamplesWarning(UserWarning):
    """The samples of a store do not belong together: points of a domain are cells of a mesh in some of them only."""


class PrecisionWarning(UserWarning):
    """Positions are stored, or read, with fewer digits than they need to stay apart."""


class WholeFileWarning(UserWarning):
    """A large file of a source is read whole into memory, because it cannot be read in parts."""


def _rebuild(kind: type[ImportError], message: str) -> ImportError:
    error = kind.__new__(kind)
    ImportError.__init__(error, message)
    return error


def reason_of(error: Exception) -> str:
    """Say why something failed: errors of this library explain themselves, others need their name."""
    return str(error) if isinstance(error, StoreError) else f"{type(error).__name__}: {error}"


def require_one_of(parameter: str, value: object, known: Collection[object]) -> None:
    """Raise `ArgumentError` unless the value of a parameter is one of those that are known."""
    if value not in known:
        raise ArgumentError(f"{parameter}: expected one of {', '.join(map(str, known))}, got {value!r}")


def nearest_names(name: object, known: Iterable[str], *, limit: int = 8) -> str:
    """Say which known names come nearest to an unknown one, to end an error message with.

    Parameters
    ----------
    name : object
        The unknown name.
    known : iterable of str
        The names there are.
    limit : int
        How many known names to list where none is near.

    Returns
    -------
    str
        ``"did you mean 'a' or 'b'?"``, or else the list of what there is.
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
