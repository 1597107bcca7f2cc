"""Samples that a mapping finds: their ids, files, pieces and attributes, and errors about missing files."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from noether.data.zarr_store.errors import ArgumentError, SourceError
from noether.data.zarr_store.sources import FingerprintedSource, MappedSource, SourceMapping
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from support.ahmed import AHMED
from support.meshes import VTK, copy_case, cut_mapping, load_cut, surface_mapping

ARRAYS = """
name = "arrays"
id = "{part_of}/{n}"
[domains.volume.fields]
position = { file = "{part_of}/{n}/x.npy" }
pressure = { file = "{part_of}/{n}/p.npy", units = "Pa" }
[domains.surface.fields]
position = { file = "{part_of}/{n}/s.npy" }
sdf = { derive = "distance", to = "volume", method = "positions" }
"""


def save(root: Path, *names: str, values: Any = None) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(root / name, np.zeros((4, 3)) if values is None else values)


def arrays_source(root: Path, *changes: tuple[str, str]) -> MappedSource:
    text = ARRAYS
    for old, new in changes:
        text = text.replace(old, new)
    return MappedSource(root, parse_mapping(text, "mapping"))


def test_a_sample_is_named_by_the_placeholders_of_its_files(tmp_path: Path) -> None:
    save(tmp_path, "b/2/x.npy", "a/2/x.npy", "a/10/s.npy", "a/x.npy", "a/2/more/x.npy", "a/3/other.npy")
    assert arrays_source(tmp_path).sample_ids() == ["a/10", "a/2", "b/2"]


def test_files_need_not_lie_in_a_directory_of_their_sample(tmp_path: Path) -> None:
    for name in ("car_1", "car_2"):
        (tmp_path / f"{name}.vtp").write_bytes((VTK / "run_1" / "surface.vtp").read_bytes())
    mapping = surface_mapping('friction = "wallShearStress"', file="{case}.vtp")
    source = MappedSource(tmp_path, mapping)
    assert source.sample_ids() == ["car_1", "car_2"]
    assert source.load("car_2").fields["surface_friction"].shape == (2041, 3)


def test_a_mapping_without_placeholders_has_one_sample() -> None:
    text = 'name = "n"\nid = "only"\n[domains.surface]\nfile = "run_1/surface.vtp"\nassociation = "point"'
    assert MappedSource(VTK, parse_mapping(text, "mapping")).sample_ids() == ["only"]


def test_a_mapped_source_can_be_sent_to_another_process() -> None:
    source = MappedSource(VTK, cut_mapping("vtk"))
    again = pickle.loads(pickle.dumps(source))
    assert again.sample_ids() == source.sample_ids()
    assert again.filemap == source.filemap
    np.testing.assert_array_equal(again.load("run_1").fields["volume_velocity"], load_cut("vtk")["volume_velocity"])


def test_arrays_can_have_their_own_files(tmp_path: Path) -> None:
    save(tmp_path, "a/1/x.npy", values=np.eye(3))
    save(tmp_path, "a/1/p.npy", values=np.arange(3.0))
    save(tmp_path, "a/1/s.npy", values=[[1.0, 0.0, 5.0]])
    sample = arrays_source(tmp_path).load("a/1")
    assert {field: values.tolist() for field, values in sample.fields.items()} == {
        "volume_position": np.eye(3).tolist(),
        "volume_pressure": [0, 1, 2],
        "surface_position": [[1, 0, 5]],
        "surface_sdf": [pytest.approx(np.sqrt(17))],
    }
    assert sample.attributes == {"units": {"volume_pressure": "Pa"}}


def test_a_sample_can_lack_a_domain_with_a_notice(tmp_path: Path) -> None:
    save(tmp_path, "a/1/x.npy", "a/1/s.npy", "a/2/x.npy", "a/3/x.npy")
    for number in (1, 2, 3):
        save(tmp_path, f"a/{number}/p.npy", values=np.zeros(4))
    source = arrays_source(tmp_path)
    assert source.notices == ["2 of 3 samples, such as 'a/2', lack the domain surface"]
    sample = source.load("a/2")
    assert sample.fields.keys() == {"volume_position", "volume_pressure"}


def test_missing_files_of_a_domain_are_named(tmp_path: Path) -> None:
    save(tmp_path, "a/1/x.npy")
    message = "sample 'a/1': domain 'volume' lacks the file a/1/p.npy; add the missing files, or remove the"
    with pytest.raises(SourceError, match=f"^{re.escape(message)}"):
        arrays_source(tmp_path).load("a/1")


def test_a_distance_to_a_missing_domain_is_named(tmp_path: Path) -> None:
    save(tmp_path, "a/1/s.npy")
    message = "sample 'a/1', field surface_sdf: it is the distance to domain 'volume', which the sample lacks; add"
    with pytest.raises(SourceError, match=f"^{re.escape(message)} a/1/x.npy, a/1/p.npy$"):
        arrays_source(tmp_path).load("a/1")


def test_a_distance_to_faces_needs_faces(tmp_path: Path) -> None:
    save(tmp_path, "a/1/s.npy", "a/1/x.npy")
    save(tmp_path, "a/1/p.npy", values=np.zeros(4))
    source = arrays_source(tmp_path, (', method = "positions"', ""))
    with pytest.raises(SourceError, match=r"surface_sdf: domain 'volume' has no faces, .* write method = 'positions'"):
        source.load("a/1")


def test_a_distance_to_positions_that_are_not_finite_is_refused(tmp_path: Path) -> None:
    save(tmp_path, "a/1/s.npy")
    save(tmp_path, "a/1/x.npy", values=np.full((4, 3), np.nan))
    save(tmp_path, "a/1/p.npy", values=np.zeros(4))
    with pytest.raises(SourceError, match="surface_sdf: a position of domain 'volume' is NaN or infinite"):
        arrays_source(tmp_path).load("a/1")


def test_the_distance_of_a_volume_to_the_faces_of_its_surface() -> None:
    sdf = load_cut("vtk", ('vorticity = "vorticity"', 'sdf = { derive = "distance", to = "surface" }'))
    rows = sdf["volume_row"].astype(int)
    expected = np.load(AHMED / "run_1" / "volume_cell_sdf.npy")[rows]
    # The dataset measures distances to the geometry, which differs from the faces of the mesh by up to 1.9 mm.
    np.testing.assert_allclose(sdf["volume_sdf"], expected, atol=1.7e-3)


def split_volume(case: Path, first: int = 0, count: int = 3) -> None:
    data = (case / "volume.vtu").read_bytes()
    (case / "volume.vtu").unlink()
    for number in range(count):
        piece = data[number * len(data) // count : (number + 1) * len(data) // count]
        (case / f"volume.vtu.{first + number}.part").write_bytes(piece)


PIECES = ('file = "{case}/volume.vtu"', 'file = "{case}/volume.vtu"\nconcatenate = "{case}/volume.vtu.{part}.part"')


@pytest.mark.parametrize(("first", "count"), [(0, 2), (1, 3), (0, 12)])
def test_a_file_in_pieces_is_joined_and_removed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int, count: int
) -> None:
    split_volume(copy_case("vtk", tmp_path / "source"), first, count)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    given = load_cut("vtk", PIECES, root=tmp_path / "source")
    np.testing.assert_array_equal(given["volume_velocity"], load_cut("vtk")["volume_velocity"])
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_whole_file_comes_before_its_pieces(tmp_path: Path) -> None:
    case = copy_case("vtk", tmp_path)
    (case / "volume.vtu.00.part").write_bytes(b"-")
    assert load_cut("vtk", PIECES, root=tmp_path)["volume_velocity"].shape == (1976, 3)


@pytest.mark.parametrize(
    ("missing", "numbers"),
    [((1,), "0, 2, 3"), ((1, 2), "0, 3"), ((0, 1), "2, 3")],
    ids=["inside", "two", "the first two"],
)
def test_a_missing_piece_is_noticed(tmp_path: Path, missing: tuple[int, ...], numbers: str) -> None:
    case = copy_case("vtk", tmp_path)
    split_volume(case, count=4)
    for number in missing:
        (case / f"volume.vtu.{number}.part").unlink()
    message = f"expected pieces numbered without a gap from 0 or 1, got {numbers}; fetch the missing ones"
    with pytest.raises(SourceError, match=re.escape(message)):
        load_cut("vtk", PIECES, root=tmp_path)


@pytest.mark.parametrize("missing", [0, 3], ids=["first", "last"])
def test_a_file_without_its_first_or_last_piece_is_damaged(tmp_path: Path, missing: int) -> None:
    case = copy_case("vtk", tmp_path)
    split_volume(case, count=4)
    (case / f"volume.vtu.{missing}.part").unlink()
    with pytest.raises(
        SourceError, match=r"^sample 'run_1': run_1/volume\.vtu \(joined from 3 pieces\) cannot be read"
    ):
        load_cut("vtk", PIECES, root=tmp_path)


ATTRIBUTES = """
name = "n"
id = "{case}"
[attributes]
solver = "OpenFOAM"
nested = { speed = 40.0, file_of = ["a", "b"] }
design_parameters = { file = "{case}/parameters.npy" }
forces = { file = "{case}/forces.csv" }
setup = { file = "{case}/setup.json" }
[domains.surface]
file = "{case}/surface.vtp"
association = "cell"
"""


@pytest.fixture
def with_attributes(tmp_path: Path) -> tuple[Path, SourceMapping]:
    case = copy_case("vtk", tmp_path)
    np.save(case / "parameters.npy", [25.0, 1.044])
    (case / "forces.csv").write_text("Cd, Cl, wheels\n0.285, 2e-1, none\n")
    (case / "setup.json").write_text(json.dumps({"turbulence": {"model": "kOmegaSST"}}))
    return tmp_path, parse_mapping(ATTRIBUTES, "mapping")


def test_attributes_are_constants_or_files(with_attributes: tuple[Path, SourceMapping]) -> None:
    attributes = MappedSource(*with_attributes).load("run_1").attributes
    assert attributes.pop("design_parameters").tolist() == [25.0, 1.044]
    assert attributes == {
        "solver": "OpenFOAM",
        "nested": {"speed": 40.0, "file_of": ["a", "b"]},
        "forces": {"Cd": 0.285, "Cl": 0.2, "wheels": "none"},
        "setup": {"turbulence": {"model": "kOmegaSST"}},
    }


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("forces.csv", None, "forces: the file run_1/forces.csv is missing; add it"),
        ("forces.csv", "Cd\n1\n2\n", "forces: run_1/forces.csv cannot be read (expected a line of names and a line"),
        ("setup.json", "{", "setup: run_1/setup.json cannot be read (Invalid JSON"),
    ],
)
def test_a_broken_attribute_is_named(
    with_attributes: tuple[Path, SourceMapping], file: str, text: str | None, message: str
) -> None:
    root, mapping = with_attributes
    (root / "run_1" / file).unlink()
    if text is not None:
        (root / "run_1" / file).write_text(text)
    with pytest.raises(SourceError, match=f"^sample 'run_1', {re.escape(message)}"):
        MappedSource(root, mapping).load("run_1")


def test_attribute_files_alone_make_no_sample(with_attributes: tuple[Path, SourceMapping]) -> None:
    root, mapping = with_attributes
    (root / "run_2").mkdir()
    (root / "run_2" / "forces.csv").write_text("Cd\n1\n")
    assert MappedSource(root, mapping).sample_ids() == ["run_1"]


def test_two_samples_of_one_id_are_refused(tmp_path: Path) -> None:
    save(tmp_path, "1_2/3/x.npy", "1/2_3/x.npy", "9/9/x.npy")
    source = arrays_source(tmp_path, ('id = "{part_of}/{n}"', 'id = "{part_of}_{n}"'))
    assert source.sample_ids() == ["1_2_3", "9_9"]
    message = "sample '1_2_3': two samples have this id (part_of = '1', n = '2_3' and part_of = '1_2', n = '3')"
    with pytest.raises(SourceError, match=re.escape(message)):
        source.load("1_2_3")


def test_two_files_for_one_pattern_are_refused(tmp_path: Path) -> None:
    case = copy_case("vtk", tmp_path)
    (case / "surface_2.vtp").write_bytes((case / "surface.vtp").read_bytes())
    source = MappedSource(tmp_path, surface_mapping(file="{case}/surf*.vtp", domain='association = "cell"'))
    with pytest.raises(
        SourceError, match=r"expected one file, got 2, such as run_1/surface\.vtp and run_1/surface_2\.vtp; make"
    ):
        source.load("run_1")


def test_an_unknown_sample_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(SourceError, match=r"sample 'run_11' is not in .*; did you mean 'run_1'"):
        MappedSource(VTK, cut_mapping("vtk")).load("run_11")


@pytest.mark.parametrize(
    ("directory", "message"),
    [
        (".", "no sample found among 1 files, expected files such as {case}/surface.vtp, {case}/volume.vtu; check the"),
        ("nowhere", "nowhere does not exist; check the path"),
    ],
)
def test_a_root_without_samples_is_refused_with_expected_files(tmp_path: Path, directory: str, message: str) -> None:
    save(tmp_path, "other.npy")
    with pytest.raises(SourceError, match=re.escape(message)):
        MappedSource(tmp_path / directory, cut_mapping("vtk"))


@pytest.mark.parametrize(("named", "right"), [("", "raw/vtk"), ("raw", "raw/vtk"), ("raw/vtk/run_1", "raw/vtk")])
def test_a_root_above_or_below_the_samples_is_refused_with_the_right_one(
    tmp_path: Path, named: str, right: str
) -> None:
    shutil.copytree(VTK, tmp_path / "raw" / "vtk")
    save(tmp_path, "raw/other.npy")
    (tmp_path / "arrays" / "run_1").mkdir(parents=True)
    shutil.copy(VTK / "run_1" / "surface.vtp", tmp_path / "arrays" / "run_1")  # one of the two files of a sample
    message = rf"no sample found among .*; name {tmp_path / right}, which has such files, as the source$"
    with pytest.raises(SourceError, match=message):
        MappedSource(tmp_path / named, cut_mapping("vtk"))
    MappedSource(tmp_path / right, cut_mapping("vtk"))


def test_nothing_is_named_above_a_bucket(tmp_path: Path) -> None:
    bucket = f"memory://{tmp_path.name}"
    fsspec.filesystem("memory").pipe(f"/{tmp_path.name}/surface.vtp", b"")
    with pytest.raises(SourceError, match=r"no sample found among 1 files, .*; check the path and the mapping$"):
        MappedSource(bucket, cut_mapping("vtk"))
    fsspec.filesystem("memory").pipe(f"/{tmp_path.name}/a/surface.vtp", b"")
    with pytest.raises(SourceError, match=rf"; name {bucket}, which has such files, as the source$"):
        MappedSource(f"{bucket}/a", cut_mapping("vtk"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "surface.vtp",
            "surface.msh",
            "domain 'surface': '{case}/surface.msh' has an unknown format; use one of .vtu",
        ),
        (
            '"p"',
            '{ file = "{case}/p.vtp" }',
            "field surface_pressure: '{case}/p.vtp' has an unknown format; use one of",
        ),
    ],
)
def test_an_unknown_format_is_refused_at_once(old: str, new: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(message)):
        MappedSource(VTK, cut_mapping("vtk", (old, new)))


def touch(path: Path) -> None:
    os.utime(path, (1, 1))


def test_a_fingerprint_changes_only_with_files_and_mapping(tmp_path: Path) -> None:
    copy_case("ensight", tmp_path)

    def fingerprint(*changes: tuple[str, str]) -> str:
        source = MappedSource(tmp_path, cut_mapping("ensight", *changes))
        assert isinstance(source, FingerprintedSource)
        return source.fingerprint("run_1")

    first = fingerprint()
    for name in ("log.txt", "data/T.500"):  # files of no array in the case
        (tmp_path / "run_1" / name).write_text("-")
    assert fingerprint() == fingerprint(('name = "cut"', 'name = "other"')) == first
    seen = {first, fingerprint(('pressure = "p"', 'pressure = { array = "p", units = "Pa" }'))}
    for name in ("run_1.case", "geometry", "data/U.500"):
        touch(tmp_path / "run_1" / name)
        seen.add(fingerprint())
    assert len(seen) == 5
