"""The exception tree, and the hints that end messages."""

from __future__ import annotations

import builtins
import pickle
import re

import pytest

from noether.data.zarr_store import errors
from noether.data.zarr_store.errors import MissingDependencyError, StoreError, UnknownNameError, nearest_names

CLASSES: list[type[StoreError]] = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]
PLAIN = [kind for kind in CLASSES if kind is not MissingDependencyError]


def drawn_tree() -> dict[str, tuple[str, str | None]]:
    """Parent, and builtin in parentheses, of each error as the module's docstring draws them."""
    tree: dict[str, tuple[str, str | None]] = {}
    path: list[str] = []
    for prefix, name, builtin in re.findall(r"^    ([│├└─ ]*)(\w+Error)(?: +\((\w+)\))?", errors.__doc__ or "", re.M):
        del path[len(prefix) // 4 :]
        tree[name] = (path[-1] if path else "Exception", builtin or None)
        path.append(name)
    return tree


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    actual = {}
    for kind in CLASSES:
        parent, *others = kind.__bases__
        actual[kind.__name__] = (parent.__name__, others[0].__name__ if others else None)
    assert drawn_tree() == actual


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind is not StoreError])
def test_every_error_is_a_store_error_and_a_builtin(kind: type[StoreError]) -> None:
    assert issubclass(kind, StoreError)
    expected = {
        "UnknownNameError": KeyError,
        "StorageError": OSError,
        "TooLargeError": MemoryError,
        "MissingDependencyError": ImportError,
        "WorkerError": RuntimeError,
        "WorkerDiedError": RuntimeError,
    }
    assert issubclass(kind, expected.get(kind.__name__, ValueError))
    assert not hasattr(builtins, kind.__name__)


@pytest.mark.parametrize("kind", PLAIN)
def test_errors_can_be_pickled(kind: type[StoreError]) -> None:
    """The message is the same afterwards, and is printed without quotes."""
    error = kind("sample 'run_1': it has no points")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error) == "sample 'run_1': it has no points"


def test_too_many_names_are_not_compared() -> None:
    known = [f"{i:05}" + "x" * 900 for i in range(5_000)]
    hint = nearest_names(known[0] + "y", known)
    assert hint.startswith(f"there are: {known[0]}, {known[1]}, ")
    assert nearest_names(known[0] + "y", known[:100]).startswith("did you mean")


def test_an_unknown_name_is_printed_without_the_quotes_of_a_key_error() -> None:
    assert str(UnknownNameError("no 'a'")) == "no 'a'"


def test_missing_library_error_has_the_install_command() -> None:
    error = MissingDependencyError("h5py", "reading .h5 files", "hdf5")
    assert str(error) == (
        "reading .h5 files needs h5py, which is not installed; install it with: pip install 'noether-zarr-store[hdf5]'"
    )


def test_missing_library_error_can_be_pickled() -> None:
    error = MissingDependencyError("h5py", "reading .h5 files", "hdf5")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is MissingDependencyError
    assert str(again) == str(error)


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        pytest.param("run_10", ["run_2", "run_1", "other"], "did you mean 'run_1' or 'run_2'?", id="near"),
        pytest.param("x", ["beta", "alpha"], "there are: alpha, beta", id="none-is-near"),
        pytest.param("x", [], "there are none", id="nothing-known"),
        pytest.param(7, ["alpha"], "there are: alpha", id="no-text"),
        pytest.param(
            "x",
            [f"{i:04}" for i in range(9)],
            "there are: 0000, 0001, 0002, 0003, 0004, 0005, 0006, 0007, … (9 in all)",
            id="many",
        ),
        pytest.param(
            "x",
            [f"{i:04}" for i in range(8)],
            "there are: 0000, 0001, 0002, 0003, 0004, 0005, 0006, 0007",
            id="as-many-as-fit",
        ),
    ],
)
def test_unknown_name_gets_the_nearest_names(name: object, known: list[str], hint: str) -> None:
    """Or a list of known names if none is near."""
    assert nearest_names(name, iter(known)) == hint
