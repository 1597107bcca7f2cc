"""``.pt`` files of several tensors: dicts and `Data` of PyG. Reading them needs no PyG and runs no code."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from noether.data.zarr_store import ZarrChunkReader
from noether.data.zarr_store.errors import ArgumentError, SourceError
from noether.data.zarr_store.sources import MappedSource, mapped_files, torch_files
from noether.data.zarr_store.sources.inspection import inspect
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from support.bounds import bounded
from support.repository import ROOT
from support.trees import call

PYG = ROOT / "tests" / "data" / "pyg"
MAPPING = """
name = "tensors"
id = "{case}"
[domains.volume]
file = "{case}.pt"
[domains.volume.fields]
position = "pos"
pressure = "pressure"
x = { array = "x", width = 5 }
"""


def values(*shape: int) -> NDArray[np.float32]:
    """Return the values in the files of `PYG`."""
    return np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape) / np.float32(8)


def source(root: Path, text: str = MAPPING) -> MappedSource:
    return MappedSource(root, parse_mapping(text, "mapping"))


def load(root: Path, text: str = MAPPING) -> dict[str, Any]:
    return source(root, text).load(source(root, text).sample_ids()[0]).fields


def save(root: Path, content: Any, **settings: Any) -> Path:
    torch.save(content, root / "a.pt", **settings)
    return root


@pytest.mark.parametrize("version", ["1.7.2", "2.8.1"])
def test_a_data_of_pyg_is_read_without_pyg(tmp_path: Path, version: str) -> None:
    shutil.copy(PYG / f"data_{version}.pt", tmp_path / "run_1.pt")
    before = set(torch.serialization.get_safe_globals())
    fields = load(tmp_path)
    np.testing.assert_array_equal(fields["volume_position"], values(12, 3))
    np.testing.assert_array_equal(fields["volume_pressure"], values(12))
    np.testing.assert_array_equal(fields["volume_x"], values(12, 5))
    assert set(torch.serialization.get_safe_globals()) == before
    described = source(tmp_path).describe("run_1")
    assert described is not None
    assert {name: (one.shape, one.dtype) for name, one in described.items()} == {
        name: (one.shape, one.dtype) for name, one in fields.items()
    }


def test_a_hetero_data_has_its_nodes_as_paths(tmp_path: Path) -> None:
    shutil.copy(PYG / "hetero_2.8.1.pt", tmp_path / "run_1.pt")
    text = """
    name = "hetero"
    id = "{case}"
    [domains.surface]
    file = "{case}.pt"
    fields = { position = "surface/pos", pressure = "surface/p" }
    [domains.volume]
    file = "{case}.pt"
    fields = { position = "volume/pos" }
    """
    fields = load(tmp_path, text)
    np.testing.assert_array_equal(fields["surface_position"], values(12, 3))
    np.testing.assert_array_equal(fields["surface_pressure"], values(12))
    np.testing.assert_array_equal(fields["volume_position"], values(20, 3))


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_dict_of_tensors_is_read_by_its_keys(
    tmp_path: Path, zipped: bool, is_large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_large:
        monkeypatch.setattr(mapped_files, "_MAP_BYTES", 1)
    content = {
        "pos": torch.tensor(values(12, 3)).double(),
        "fields": {"pressure": torch.tensor(values(12)).bfloat16(), "deep": {"x": torch.tensor(values(12, 5))}},
        "note": "of no point",
        7: torch.ones(3, requires_grad=True),
    }
    save(tmp_path, content, _use_new_zipfile_serialization=zipped)
    text = MAPPING.replace('"pressure"', '"fields/pressure"').replace('"x"', '"fields/deep/x"')
    fields, described = load(tmp_path, text), source(tmp_path, text).describe("a")
    np.testing.assert_array_equal(fields["volume_position"], values(12, 3))
    np.testing.assert_array_equal(fields["volume_pressure"], values(12))
    np.testing.assert_array_equal(fields["volume_x"], values(12, 5))
    assert fields["volume_position"].dtype == np.float64
    assert described is not None
    in_memory = {name for name, one in described.items() if one.in_memory}
    mapped = {"volume_position", "volume_x"} if zipped and is_large else set()
    assert in_memory == described.keys() - mapped


def in_circles() -> dict[str, Any]:
    content: dict[str, Any] = {}
    content["self"] = content
    return content


def over_and_over() -> dict[str, Any]:
    content: dict[str, Any] = {"pos": torch.ones(4, 3)}
    for _ in range(60):
        content = {"a": content, "b": content}
    return content


class OwnData:
    """A class that must not be unpickled."""


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "one tensor": (lambda: torch.ones(4, 3), "it holds one tensor without a name; write the file as a field"),
    "a list": (lambda: [{"pos": torch.ones(4, 3)}], "expected a dict of tensors, got a list; save each"),
    "an array of NumPy": (
        lambda: {"pos": np.ones((4, 3))},
        r"it holds numpy\.[\w.]*_reconstruct, where only tensors are allowed; save its arrays as tensors \(torch",
    ),
    "another class": (
        lambda: {"pos": torch.ones(4, 3), "own": OwnData()},
        r"it holds [\w.]*OwnData, where only tensors are allowed; save a dict of its tensors",
    ),
    "one name twice": (
        lambda: {"a": {"b": torch.ones(4, 3)}, "a/b": torch.ones(4, 3)},
        "two of its values have the name 'a/b'; rename one",
    ),
    "a dict in itself": (in_circles, "expected the tensors of a sample, got endlessly nested dicts; save"),
    "dicts over and over": (over_and_over, "expected the tensors of a sample, got over 131,072 values; save"),
    "an expanded tensor": (
        lambda: {"pos": torch.ones(1, 3).expand(10**12, 3), "pressure": torch.ones(1), "x": torch.ones(1)},
        r"its tensor of shape \(1000000000000, 3\) claims",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_content_other_than_a_dict_of_tensors_is_refused(tmp_path: Path, name: str) -> None:
    make, message = REFUSED[name]
    save(tmp_path, make())
    with bounded(), pytest.raises(SourceError, match=rf"^sample 'a': a\.pt cannot be read \({message}"):
        load(tmp_path)


class RunsCode:
    """An object that makes a directory when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.path),))


def test_no_code_in_a_data_of_pyg_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [data_class] = [one for one in torch_files._STAND_INS if one.__name__ == "Data"]
    for name in ("torch_geometric", "torch_geometric.data", data_class.__module__):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(sys.modules[data_class.__module__], "Data", data_class, raising=False)
    data = data_class()
    data.__dict__ |= {"pos": torch.ones(4, 3), "trap": RunsCode(tmp_path / "ran")}
    save(tmp_path, data)
    with pytest.raises(
        SourceError, match=r"a\.pt cannot be read \(it holds \w+\.mkdir, where only tensors are allowed"
    ):
        load(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_batch_of_pyg_is_refused_with_a_remedy(tmp_path: Path) -> None:
    pickled = b"\x80\x02ctorch_geometric.data.batch\nDynamicInheritanceGetter\nq\x00."
    save(tmp_path, {"pos": torch.ones(4, 3)}, _use_new_zipfile_serialization=False)
    content = (tmp_path / "a.pt").read_bytes()
    magic = pickle.dumps(torch.serialization.MAGIC_NUMBER, 2)
    assert content.startswith(magic)
    before = magic + pickle.dumps(torch.serialization.PROTOCOL_VERSION, 2) + pickle.dumps({"little_endian": True}, 2)
    (tmp_path / "a.pt").write_bytes(before + pickled)
    message = (
        "it holds torch_geometric.data.batch.DynamicInheritanceGetter, where only tensors are allowed; save a dict of"
    )
    with pytest.raises(SourceError, match=re.escape(message) + r".*torch\.save\(data\.to_dict\(\), path\)"):
        load(tmp_path)


def test_many_threads_read_at_once(tmp_path: Path) -> None:
    for number in range(8):
        shutil.copy(PYG / "data_2.8.1.pt", tmp_path / f"run_{number}.pt")
    opened, failures = source(tmp_path), []

    def read(sample_id: str) -> None:
        try:
            opened.load(sample_id)
        except SourceError as error:
            failures.append(error)

    threads = [threading.Thread(target=read, args=[f"run_{number}"]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    shutil.copy(PYG / "data_2.8.1.pt", tmp_path / "run_1.pt")
    message = (
        "sample 'run_1', field volume_pressure: run_1.pt has no array 'presure'; did you mean 'pressure'? "
        "(it has x, edge_index, pos, pressure, drag)"
    )
    with pytest.raises(SourceError, match=f"^{re.escape(message)}"):
        load(tmp_path, MAPPING.replace('"pressure"', '"presure"'))


def test_a_file_of_several_tensors_is_refused_as_a_field(tmp_path: Path) -> None:
    save(tmp_path, {"pos": torch.ones(4, 3)})
    text = 'name = "n"\nid = "{case}"\n[domains.volume.fields]\nposition = { file = "{case}.pt" }'
    with pytest.raises(
        SourceError, match=r"a\.pt holds a dict, expected one tensor or array; name a file of several arrays as"
    ):
        load(tmp_path, text)


def test_a_domain_of_tensors_needs_a_position(tmp_path: Path) -> None:
    save(tmp_path, {"pos": torch.ones(4, 3)})
    with pytest.raises(ArgumentError, match=r"'{case}\.pt' holds arrays and no mesh; name the array of the positions"):
        load(tmp_path, MAPPING.replace('position = "pos"\n', ""))


def proposed(root: Path) -> str:
    """Return the mapping that `inspect` proposes."""
    return inspect(root).mapping


def test_inspect_proposes_a_mapping_that_converts(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("coupe", "estate"):
        shutil.copy(PYG / "data_2.8.1.pt", tmp_path / "in" / f"{name}.pt")
    (tmp_path / "m.toml").write_text(proposed(tmp_path / "in"))
    ran = call("convert", tmp_path / "in", tmp_path / "store", "--mapping", tmp_path / "m.toml", "--workers", 0)
    assert ran.code == 0, ran.output
    reader = ZarrChunkReader(tmp_path / "store")
    assert list(reader.manifest.samples) == ["coupe", "estate"]
    stored = reader.read_arrays("estate", order="original")
    np.testing.assert_array_equal(stored["volume_x"], values(12, 5))
    np.testing.assert_array_equal(stored["volume_position"], values(12, 3))
    assert stored.keys() == {"volume_position", "volume_pressure", "volume_x"}


def test_inspect_lists_arrays_that_are_no_fields(tmp_path: Path) -> None:
    shutil.copy(PYG / "data_2.8.1.pt", tmp_path / "run_1.pt")
    remarks = [line for line in proposed(tmp_path).splitlines() if line.startswith("#")]
    assert remarks == [
        '# left out: "edge_index" has the shape (2, 4)',
        '# left out: "mach" has the shape ()',
        '# left out: "drag" has the shape ()',
        '# left out: "car" has the shape ()',
    ]


def test_inspect_takes_pos_for_the_positions_and_x_for_features(tmp_path: Path) -> None:
    """Both have three columns, and x comes first."""
    save(tmp_path, {"x": torch.tensor(values(12, 3)), "pos": torch.tensor(values(12, 3)), "mask": torch.ones(12) > 0})
    text = proposed(tmp_path)
    assert 'position = "pos"' in text
    assert 'x = { array = "x", width = 3 }' in text
    assert '# left out: "mask" holds bool' in text
    load(tmp_path, text)


def test_inspect_sorts_the_keys_of_a_dict_into_domains(tmp_path: Path) -> None:
    shutil.copy(PYG / "hetero_2.8.1.pt", tmp_path / "run_1.pt")
    fields = load(tmp_path, proposed(tmp_path))
    assert fields.keys() == {"surface_position", "surface_pressure", "volume_position"}


def test_inspect_takes_a_dict_of_numbers_for_attributes(tmp_path: Path) -> None:
    save(tmp_path, {"length": 1.0, "angle": torch.tensor(25.0), "kind": "notchback"})
    assert 'a = { file = "a.pt" }' in proposed(tmp_path)


def test_inspect_reports_why_a_file_is_not_read(tmp_path: Path) -> None:
    save(tmp_path, [{"pos": torch.ones(4, 3)}])
    [found] = inspect(tmp_path).files
    assert found.problem is not None
    assert "a.pt holds a list, expected a tensor or a dict of tensors; save each sample" in found.problem
