"""The functions that one write and one read run, for docs/design.md.

To bring the page up to date: ``cd tests && python -m support.call_tree``.
"""

from __future__ import annotations

import inspect
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import noether.data.zarr_store
from noether.data.zarr_store.convert import convert, open_writer
from noether.data.zarr_store.datasets import ZarrStoreDataset
from noether.data.zarr_store.demo import SIMULATIONS
from noether.data.zarr_store.sources import TreeSource
from noether.data.zarr_store.sources.presets import find_preset
from support.repository import ROOT

PAGE = ROOT / "docs" / "design.md"
PACKAGE = Path(noether.data.zarr_store.__file__).parent
# Checks of parameters and reports of errors are not steps.
_NOT_STEPS = ("core.", "errors:", "manifest.checks:")
_SPECIAL_STEPS = {"__call__", "__enter__", "__exit__", "__getitem__", "__getitems__"}


class Call(NamedTuple):
    """A call of a function: the thread, the number of steps around it, and the name as the pages have it."""

    thread: str
    depth: int
    name: str


@contextmanager
def recorded_calls() -> Iterator[list[Call]]:
    """Record each step that runs within the block, in this thread and in those that start in the block."""
    calls: list[Call] = []
    stacks: dict[int, list[str | None]] = {}

    def record(frame: FrameType, event: str, _: Any) -> None:
        stack = stacks.setdefault(threading.get_ident(), [])
        if event == "call":
            name = _step(frame.f_code.co_filename, frame.f_code.co_qualname)
            if name is not None:
                calls.append(Call(threading.current_thread().name, sum(one is not None for one in stack), name))
            stack.append(name)
        elif event == "return" and stack:
            stack.pop()

    threading.setprofile(record)
    sys.setprofile(record)
    try:
        yield calls
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


@cache
def _step(file: str, qualified: str) -> str | None:
    """Return the name of a function as the pages have it; None for one that is not a step."""
    path = Path(file)
    if not path.is_relative_to(PACKAGE) or "<" in qualified:
        return None
    module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    name = f"{module}:{qualified}"
    last = qualified.rpartition(".")[2]
    if name.startswith(_NOT_STEPS) or (last.startswith("__") and last not in _SPECIAL_STEPS):
        return None
    owner: Any = import_module(f"noether.data.zarr_store.{module}")
    for part in qualified.split(".")[:-1]:
        owner = getattr(owner, part)
    return None if isinstance(inspect.getattr_static(owner, last, None), property) else name


def calls_of_write(root: Path) -> list[Call]:
    """Convert two of the bundled simulations to a store in this process, and return the calls."""
    source = TreeSource(SIMULATIONS, find_preset("ahmedml").filemap)
    with recorded_calls() as calls:
        convert(source, open_writer(root, source.filemap, "ahmedml"), limit=2)
    return calls


def calls_of_read(root: Path) -> list[Call]:
    """Read an item of that store, in a process that has read another one before, and return the calls."""
    fields = ["surface_position", "volume_position", "volume_velocity"]
    dataset = ZarrStoreDataset(root, num_points={"surface": 256, "volume": 4096}, fields=fields)
    dataset[0]
    with recorded_calls() as calls:
        dataset[1]
    return calls


def tree_of(calls: Iterable[Call]) -> str:
    """Return each step once for each kind of thread, indented by the steps around its first call."""
    lines: dict[str, dict[str, str]] = {"MainThread": {}}
    for call in calls:
        thread = call.thread.partition("_")[0]
        lines.setdefault(thread, {}).setdefault(call.name, "  " * call.depth + call.name)
    blocks = []
    for thread, of_thread in lines.items():
        head = [] if thread == "MainThread" else [f"# in threads {thread}"]
        blocks.append("\n".join([*head, *of_thread.values()]))
    return "\n\n".join(blocks)


def main() -> None:
    """Replace the call trees in the page."""
    text = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "store"
        for title, calls in (("write", calls_of_write(root)), ("read", calls_of_read(root))):
            before, found, rest = text.partition(f"<!-- calls of a {title} -->\n```text\n")
            if not found:
                raise SystemExit(f"{PAGE}: no block for the calls of a {title}")
            text = before + found + tree_of(calls) + "\n```" + rest.partition("\n```")[2]
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
