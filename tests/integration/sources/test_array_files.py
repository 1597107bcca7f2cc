"""``.npz``, ``.pt`` and HDF5 files as a source: a file per sample, or a group per sample in one file."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from noether.data.zarr_store import ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.errors import ArgumentError, SourceError, StorageError
from noether.data.zarr_store.sources import MappedSource
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from support.ahmed import Arrays
from support.counting_disk import CountingDisk, counted_root
from support.out_of_core import shrink
from support.places import make_place
from support.trees import call, expected_fields

MAPPING = """
name = "arrays"
id = "run_{n}"
[domains.surface]
FILE
[domains.surface.fields]
position = "surface/points"
pressure = { array = "surface/p", units = "m2/s2" }
[domains.volume]
FILE
[domains.volume.fields]
position = "volume/points"
velocity = "volume/U"
sdf = { derive = "distance", to = "surface", method = "positions" }
"""
NAMES = {
    "surface/points": "surface_position",
    "surface/p": "surface_pressure",
    "volume/points": "volume_position",
    "volume/U": "volume_velocity",
}
FILES = {
    "npz": 'file = "run_{n}.npz"',
    "pt": 'file = "run_{n}.pt"',
    "h5": 'file = "h5/run_{n}.h5"',
    "groups": 'file = "all.hdf5"\ngroup = "set/run_{n}"',
}


def arrays(run: str = "run_1") -> Arrays:
    fields = expected_fields(run)
    return {name: fields[field] for name, field in NAMES.items()}


def save(root: Path, kind: str, run: str, values: Arrays) -> Path:
    """Save one sample as a kind of file in `FILES`."""
    path = root / {"npz": f"{run}.npz", "pt": f"{run}.pt", "h5": f"h5/{run}.h5", "groups": "all.hdf5"}[kind]
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "npz":
        np.savez_compressed(path, **values)  # type: ignore[arg-type]  # its stub takes them for allow_pickle
    elif kind == "pt":
        nested: dict[str, dict[str, torch.Tensor]] = {}
        for name, array in values.items():
            nested.setdefault(name.partition("/")[0], {})[name.partition("/")[2]] = torch.tensor(array)
        torch.save(nested, path)
    else:
        with h5py.File(path, "a") as file:
            group = file.require_group(f"set/{run}") if kind == "groups" else file
            for name, array in values.items():
                group.create_dataset(name, data=array, chunks=True, compression="gzip")
    return path


def mapping(kind: str) -> str:
    return MAPPING.replace("FILE", FILES[kind])


def source(root: Path | str, kind: str) -> MappedSource:
    return MappedSource(root, parse_mapping(mapping(kind), "mapping"))


@pytest.mark.parametrize("kind", FILES)
def test_samples_convert_with_their_values(tmp_path: Path, kind: str) -> None:
    for run in ("run_1", "run_2"):
        save(tmp_path / "in", kind, run, arrays(run))
    (tmp_path / "mapping.toml").write_text(mapping(kind))
    ran = call(
        "convert", tmp_path / "in", tmp_path / "store", "--mapping", tmp_path / "mapping.toml", "--workers", 0,
        "--values-dtype", "float32",
    )  # fmt: skip
    assert ran.code == 0, ran.output
    reader = ZarrChunkReader(tmp_path / "store")
    assert list(reader.manifest.samples) == ["run_1", "run_2"]
    for run in reader.manifest.samples:
        stored = reader.read_arrays(run, order="original")
        for name, values in arrays(run).items():
            np.testing.assert_array_equal(stored[NAMES[name]], values)
        assert stored["volume_sdf"].min() >= 0
        assert reader.attributes(run) == {"units": {"surface_pressure": "m2/s2"}}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
def test_remote_samples_leave_no_temporary_files(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "in", kind, "run_1", arrays())
    place = make_place("s3-obstore", request)
    place.fs.pipe_file(f"{place.path}/{path.relative_to(tmp_path / 'in')}", path.read_bytes())
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    remote = MappedSource(place.root, parse_mapping(mapping(kind), "mapping"), place.options)
    fields = remote.load("run_1").fields
    assert list((tmp_path / "scratch").iterdir()) == []
    for name, values in arrays().items():
        np.testing.assert_array_equal(fields[NAMES[name]], values)


def test_only_the_requested_sample_of_a_remote_file_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "all.hdf5", "w") as file:
        for number in range(40):
            for name in NAMES:
                values = np.full((50_000, 1 if name.endswith("/p") else 3), number, "f4")
                file.create_dataset(f"set/run_{number}/{name}", data=values)
    text = re.sub("sdf = .*\n", "", mapping("groups"))
    remote = MappedSource(counted_root(tmp_path), parse_mapping(text, "mapping"))
    CountingDisk.read.clear()  # the samples are listed
    fields = {name: np.asarray(values) for name, values in remote.load("run_7").fields.items()}
    assert {values[-1, -1] for values in fields.values()} == {7}
    # A sample has 2 MB: the blocks of 4 MiB with its data are read, and the blocks with its address.
    assert sum(CountingDisk.read.values()) <= 4 * (4 << 20) < (tmp_path / "all.hdf5").stat().st_size / 4


@pytest.mark.parametrize("kind", FILES)
def test_a_remote_file_that_vanished_since_listing_is_named(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    path = save(tmp_path, kind, "run_1", arrays())
    place, key = make_place("memory", request), path.relative_to(tmp_path).as_posix()
    place.fs.pipe_file(f"{place.path}/{key}", path.read_bytes())
    opened = source(place.root, kind)
    place.remove(key)
    with pytest.raises(StorageError, match=rf"cannot read memory://.*/{key}"):
        opened.load("run_1")


def test_a_file_may_hold_a_group_for_each_domain_of_its_sample(tmp_path: Path) -> None:
    save(tmp_path, "h5", "run_1", arrays())
    text = mapping("h5").replace('"volume/', '"').replace('"surface/', '"')
    for domain in ("surface", "volume"):
        text = text.replace(f"[domains.{domain}]\n", f'[domains.{domain}]\ngroup = "{domain}"\n')
    fields = MappedSource(tmp_path, parse_mapping(text, "mapping")).load("run_1").fields
    np.testing.assert_array_equal(fields["volume_velocity"], arrays()["volume/U"])


def test_domains_can_be_separate_groups_and_one_can_be_missing(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for group in ("a/surface", "a/volume", "b/surface", "c/other"):
            file.create_dataset(f"{group}/x", data=np.full((4, 3), ord(group[0]), "f4"))
        file["a/array"] = np.zeros(3)
        file["elsewhere"] = h5py.ExternalLink("other.h5", "/")
    text = 'name = "n"\nid = "{case}"\n'
    for domain in ("surface", "volume"):
        text += f'[domains.{domain}]\nfile = "all.h5"\ngroup = "{{case}}/{domain}"\nfields.position = "x"\n'
    opened = MappedSource(tmp_path, parse_mapping(text, "mapping"))
    assert opened.sample_ids() == ["a", "b"]
    assert opened.notices == ["1 of 2 samples, such as 'b', lack the domain volume"]
    assert opened.load("a").fields.keys() == {"surface_position", "volume_position"}
    fields = opened.load("b").fields
    assert fields.keys() == {"surface_position"}
    np.testing.assert_array_equal(fields["surface_position"], np.full((4, 3), ord("b")))


def test_only_requested_arrays_of_a_npz_are_loaded(tmp_path: Path) -> None:
    save(tmp_path, "npz", "run_1", arrays() | {"unused": np.zeros((1 << 20, 16))})
    opened = source(tmp_path, "npz")
    tracemalloc.start()
    opened.load("run_1")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.slow
def test_a_hdf5_field_is_never_in_memory_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, 1 << 19, block_bytes=1 << 18, block_rows=1 << 14)
    n_points = 1_000_000
    for run, count in (("run_1", n_points), ("run_2", 100_000)):
        save(tmp_path, "h5", run, {name: np.ones((count, 1 if name.endswith("/p") else 3), "f4") for name in NAMES})
    opened = MappedSource(tmp_path, parse_mapping(re.sub("sdf = .*\n", "", mapping("h5")), "mapping"))
    writer = ZarrStoreWriter(tmp_path / "store", opened.filemap, "n", values_dtype="float32", threads=2)
    writer.write_group("run_2", opened.load("run_2").fields)  # warm up
    tracemalloc.start()
    writer.write_group("run_1", opened.load("run_1").fields)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A few blocks and buckets.
    assert peak < 5 << 20 < n_points * 3 * 4 / 2


def pickled(root: Path) -> None:
    save(root, "npz", "run_1", arrays() | {"volume/U": np.array([{}], dtype=object)})


def truncated(kind: str) -> Any:
    def make(root: Path) -> None:
        path = save(root, kind, "run_1", arrays())
        path.write_bytes(path.read_bytes()[:-300])

    return make


def other_format(kind: str) -> Any:
    return lambda root: save(root, kind, "run_1", arrays()).write_bytes(b"something else")


def without(kind: str) -> Any:
    return lambda root: save(root, kind, "run_1", {k: v for k, v in arrays().items() if k != "volume/U"})


def elsewhere(root: Path) -> None:
    save(root, "h5", "run_2", arrays())
    without("h5")(root)
    with h5py.File(root / "h5" / "run_1.h5", "a") as file:
        file["volume/U"] = h5py.ExternalLink("run_2.h5", "volume/U")


def in_circles(root: Path) -> None:
    without("h5")(root)
    with h5py.File(root / "h5" / "run_1.h5", "a") as file:
        file["volume/U"] = h5py.SoftLink("V")
        file["volume/V"] = h5py.SoftLink("/volume/U")


def unwritten(root: Path) -> None:
    without("h5")(root)
    with h5py.File(root / "h5" / "run_1.h5", "a") as file:
        file.create_dataset("volume/U", (150, 3), "f4")


U_OF_H5 = "sample 'run_1', field volume_velocity: h5/run_1.h5"


@pytest.mark.parametrize(
    ("kind", "make", "message"),
    [
        pytest.param("npz", pickled, "sample 'run_1': run_1.npz cannot be read (Object arrays", id="pickle"),
        pytest.param("npz", truncated("npz"), "sample 'run_1': run_1.npz cannot be read (it is damaged", id="cut npz"),
        pytest.param("h5", truncated("h5"), "sample 'run_1': h5/run_1.h5 cannot be read (", id="cut HDF5"),
        pytest.param("npz", other_format("npz"), "sample 'run_1': run_1.npz cannot be read (it is d", id="no npz"),
        pytest.param("h5", other_format("h5"), "sample 'run_1': h5/run_1.h5 cannot be read (", id="no HDF5"),
        pytest.param(
            "npz",
            without("npz"),
            "sample 'run_1', field volume_velocity: run_1.npz has no array 'volume/U'; did you mean 'volume/points'? "
            "(it has surface/points, surface/p, volume/points)",
            id="no array in npz",
        ),
        pytest.param(
            "h5",
            without("h5"),
            f"{U_OF_H5} has no array 'volume/U'; did you mean 'volume/points'? "
            "(it has surface/p, surface/points, volume/points)",
            id="no array in HDF5",
        ),
        pytest.param(
            "groups",
            without("groups"),
            "sample 'run_1', field volume_velocity: all.hdf5 has no array 'volume/U' in the group 'set/run_1'; "
            "did you mean 'volume/points'? (it has surface/p, surface/points, volume/points)",
            id="no array in group",
        ),
        pytest.param("h5", elsewhere, f"{U_OF_H5}: the values of 'volume/U' are in other files", id="external link"),
        pytest.param("h5", in_circles, f"{U_OF_H5}: the values of 'volume/U' are in other files", id="circle"),
        pytest.param(
            "h5", unwritten, f"{U_OF_H5}: 'volume/U' was created, but its values were not written", id="unwritten"
        ),
    ],
)
@pytest.mark.parametrize("place", ["local", "memory"])
def test_an_unreadable_sample_is_named_with_the_reason(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str, make: Any, message: str, place: str
) -> None:
    make(tmp_path / "in")
    root: Any = tmp_path / "in"
    if place == "memory":
        memory = make_place(place, request)
        memory.fs.put(f"{root}/", f"{memory.path}/", recursive=True)
        root = memory.root
    with pytest.raises(SourceError, match="^" + re.escape(message)):
        source(root, kind).load("run_1")


def test_a_damaged_file_of_several_samples_is_named(tmp_path: Path) -> None:
    truncated("groups")(tmp_path)
    with pytest.raises(SourceError, match=r"/all\.hdf5 cannot be read \(.*; make the file again$"):
        source(tmp_path, "groups")


def test_a_group_that_a_file_lacks_is_named(tmp_path: Path) -> None:
    save(tmp_path, "h5", "run_1", arrays())
    text = mapping("h5").replace(FILES["h5"], FILES["h5"] + '\ngroup = "volum"')
    expected = r"h5/run_1\.h5 has no group 'volum', for the domain 'surface'; did you mean 'volume'"
    with pytest.raises(SourceError, match=expected):
        MappedSource(tmp_path, parse_mapping(text, "mapping")).load("run_1")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('position = "surface/points"', "", r"'run_\{n\}\.npz' holds arrays and no mesh; name the array of the positi"),
        (
            'pressure = { array = "surface/p"',
            'area = { derive = "area"',
            r"holds arrays and no mesh; leave area out, or name an arr",
        ),
        ("[domains.surface.fields]", 'association = "cell"\n[domains.surface.fields]', "leave association out"),
        ("[domains.surface.fields]", 'group = "g"\n[domains.surface.fields]', r"only \.h5, \.hdf5, \.hdf have groups"),
    ],
    ids=["position", "area", "association", "group"],
)
def test_settings_of_meshes_are_refused_for_arrays(tmp_path: Path, old: str, new: str, message: str) -> None:
    save(tmp_path, "npz", "run_1", arrays())
    text = mapping("npz").replace(old, new, 1)
    with pytest.raises(ArgumentError, match=message):
        MappedSource(tmp_path, parse_mapping(text, "mapping"))


def test_a_link_within_a_file_is_followed(tmp_path: Path) -> None:
    path = save(tmp_path, "h5", "run_1", arrays())
    with h5py.File(path, "a") as file:
        file.move("volume", "of/fluid")
        file["volume"] = h5py.SoftLink("of/all")
        file["of/all"] = h5py.SoftLink("/of/fluid")
    fields = source(tmp_path, "h5").load("run_1").fields
    np.testing.assert_array_equal(fields["volume_velocity"], arrays()["volume/U"])


def test_a_group_in_another_file_is_refused(tmp_path: Path) -> None:
    save(tmp_path, "h5", "run_2", arrays())
    with h5py.File(tmp_path / "h5" / "run_1.h5", "w") as file:
        file["link"] = h5py.ExternalLink("run_2.h5", "/")
        file["all"] = h5py.SoftLink("/link")
    text = mapping("h5").replace(FILES["h5"], FILES["h5"] + '\ngroup = "all"')
    with pytest.raises(
        SourceError, match=r"h5/run_1\.h5: the group 'all' of the domain 'surface' lies in another file"
    ):
        MappedSource(tmp_path, parse_mapping(text, "mapping")).load("run_1")
