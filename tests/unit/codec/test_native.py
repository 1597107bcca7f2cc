"""The compiled module: what it is made of and how it is called."""

from __future__ import annotations

import ast
import inspect
import tomllib

import numpy as np
import pytest

from noether.data.zarr_store.codec import ChunkCodec, native
from support.repository import ROOT

WING = ROOT / "src/noether/data/zarr_store/codec"
ROWS = np.arange(300, dtype="<f4").reshape(100, 3)
ORDER = np.arange(100)
CODEC = ChunkCodec(ROWS.dtype, 100, 3)
CHUNK = CODEC.encode(ROWS)


def test_only_the_module_itself_knows_python() -> None:
    assert [path.name for path in (WING / "csrc").iterdir() if "Python.h" in path.read_text()] == ["module.c"]


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
    assert written.keys() == {"decode", "gather"}
    for name, (positional, keywords) in written.items():
        parameters = inspect.signature(getattr(native, name)).parameters.values()
        assert [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD] == positional
        assert [one.name for one in parameters if one.kind is one.KEYWORD_ONLY] == keywords


@pytest.mark.usefixtures("compiled")
def test_sizes_and_flags_are_given_by_their_names_alone() -> None:
    assert native.decode is not None
    assert native.gather is not None
    out = np.empty_like(ROWS)
    with pytest.raises(TypeError, match="positional"):
        native.decode(CHUNK, [0, len(CHUNK)], out, 4, False, True, True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        native.gather(ROWS, ORDER, out, 12, False)  # type: ignore[call-arg]
