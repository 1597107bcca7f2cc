"""The compiled module: its source files, its signatures, and the warning if it is missing."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
import threading
import tomllib
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from noether.data.zarr_store import codec as codec_wing
from noether.data.zarr_store.codec import ChunkCodec, native
from support.native_functions import FUNCTIONS, take_away
from support.repository import ROOT
from support.shards import encode_chunk

WING = ROOT / "src/noether/data/zarr_store/codec"
ROWS = np.arange(300, dtype="<f4").reshape(100, 3)
ORDER = np.arange(100)
CODEC = ChunkCodec(ROWS.dtype, 100, 3)
CHUNK = encode_chunk(CODEC, ROWS)


def test_only_the_module_files_include_python() -> None:
    assert [path.name for path in (WING / "csrc").iterdir() if "Python.h" in path.read_text()] == ["module_rows.h"]


@pytest.mark.parametrize(("key", "suffix"), [("sources", ".c"), ("depends", ".h")])
def test_every_c_file_is_listed_for_the_build(key: str, suffix: str) -> None:
    [extension] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["ext-modules"]
    files = [path.relative_to(ROOT).as_posix() for path in (WING / "csrc").glob(f"*{suffix}")]
    assert extension[key] == sorted(files)


@pytest.mark.usefixtures("compiled")
def test_the_stub_has_the_signatures_of_the_compiled_module() -> None:
    stub = ast.parse((WING / "_native.pyi").read_text())
    written = {
        node.name: ([arg.arg for arg in node.args.args], [arg.arg for arg in node.args.kwonlyargs])
        for node in stub.body
        if isinstance(node, ast.FunctionDef)
    }
    assert tuple(sorted(written)) == FUNCTIONS
    for name, (positional, keywords) in written.items():
        parameters = inspect.signature(getattr(native, name)).parameters.values()
        assert [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD] == positional
        assert [one.name for one in parameters if one.kind is one.KEYWORD_ONLY] == keywords


@pytest.mark.usefixtures("compiled")
def test_sizes_and_flags_are_keyword_only() -> None:
    assert native.decode is not None
    assert native.encode is not None
    out = np.empty_like(ROWS)
    with pytest.raises(TypeError, match="positional"):
        native.decode(CHUNK, [0, len(CHUNK)], None, out, 0, 100, 3, 4, False, True, True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        native.encode(ROWS, ORDER, 100, 3)  # type: ignore[call-arg]


def test_implementation_is_native_only_with_the_module() -> None:
    assert codec_wing.implementation == ("python" if native.decode is None else "native")


@pytest.fixture
def missing_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[warnings.WarningMessage]]:
    """Yield the warnings of a test that runs without the module, and before the first use of the slow path."""
    take_away(monkeypatch)
    monkeypatch.setattr(native, "_first_use", threading.Lock())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def decode() -> None:
    out = np.empty_like(ROWS)
    CODEC.decode_into(CHUNK, out)
    np.testing.assert_array_equal(out, ROWS)


def encode() -> None:
    assert encode_chunk(CODEC, ROWS) == CHUNK


@pytest.mark.parametrize("uses", [[decode, encode], [encode, decode]], ids=["decode first", "encode first"])
def test_slow_path_warns_once(missing_module: list[warnings.WarningMessage], uses: list[Callable[[], None]]) -> None:
    counts = []
    for use in uses * 2:
        use()
        counts.append(len(missing_module))
    assert counts == [1, 1, 1, 1]
    assert missing_module[0].category is RuntimeWarning
    text = str(missing_module[0].message)
    assert text.startswith("noether-zarr-store runs without its compiled module")
    assert "apt-get install gcc libc6-dev libzstd-dev" in text
    assert "pip install" in text


def test_many_threads_warn_once(missing_module: list[warnings.WarningMessage]) -> None:
    barrier = threading.Barrier(8)

    def use() -> None:
        barrier.wait()
        decode()

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(missing_module) == 1


WITHOUT_MODULE = """
import os, sys
sys.modules["noether.data.zarr_store.codec._native"] = None  # what an import finds where it was not built
import numpy as np
from noether.data.zarr_store.codec import ChunkCodec, implementation

print(implementation, flush=True)
print("used", file=sys.stderr, flush=True)
rows = np.ones((100, 3), "<f4")
codec = ChunkCodec(rows.dtype, 100, 3)
codec.decode_into(codec.encode_run(rows)[0], np.empty_like(rows))
if os.fork() == 0:
    codec.decode_into(codec.encode_run(rows)[0], np.empty_like(rows))
else:
    os.wait()
"""


@pytest.mark.parametrize(
    ("filters", "n_warnings"),
    [pytest.param("", 1, id="no filter"), pytest.param("ignore:noether-zarr-store:RuntimeWarning", 0, id="ignored")],
)
def test_process_and_forks_warn_unless_filtered(filters: str, n_warnings: int) -> None:
    """The import does not warn. A filter in the environment reaches worker processes as well."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MODULE],
        env=os.environ | {"PYTHONWARNINGS": filters},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = done.stderr.split("used\n")
    assert (done.stdout, before) == ("python\n", "")
    assert after.count("RuntimeWarning: noether-zarr-store") == n_warnings
