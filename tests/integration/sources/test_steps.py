"""Time steps of a file: the last step, one step by its number, or each step as a sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import pyvista

from noether.data.zarr_store.errors import ArgumentError, SourceError
from noether.data.zarr_store.reader import ZarrChunkReader
from noether.data.zarr_store.sources import MappedSource, SourceMapping
from noether.data.zarr_store.sources.inspection import inspect
from noether.data.zarr_store.sources.mapping_files import parse_mapping
from support.ensight_files import EnSightPart, write_ensight
from support.places import make_place
from support.trees import call
from support.vtkhdf import box, own_values, read_with_vtk, write_steps, write_vtkhdf

TIMES = [0.0, 0.5, 1.5]
KINDS = ["vtkhdf", "h5", "blocks", "case"]
FILES = {"vtkhdf": "flow.vtkhdf", "h5": "flow.h5", "blocks": "blocks.vtkhdf", "case": "flow.case"}


def mapping(kind: str, step: object = None, sample_id: str = "run_{n}", more: str = "") -> SourceMapping:
    head = 'parts = { include = ["fluid"] }\n' if kind == "blocks" else ""
    head += "" if step is None else f"step = {json.dumps(step)}\n"
    text = f'name = "v"\nid = "{sample_id}"\n[domains.volume]\nfile = "run_{{n}}/{FILES[kind]}"\n{head}'
    fields = f'association = "cell"\n[domains.volume.fields]\npressure = "p"\n{more}'
    return parse_mapping(text + fields, "mapping test.toml")


def mesh_of(kind: str) -> Any:
    return (lambda step: pyvista.MultiBlock({"fluid": box(step)})) if kind == "blocks" else box


def save(root: Path, kind: str, run: str = "run_1", times: list[float] = TIMES) -> Path:
    path = root / run / FILES[kind]
    if kind != "case":
        return write_steps(path, times, mesh_of(kind))
    for step in range(len(times)):
        values = {"p": box(step).cell_data["p"][2:]}
        corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], dtype=np.float32)
        cells = np.tile([[0, 1, 3, 2, 4, 5, 7, 6]], (10, 1))
        write_ensight(path, [EnSightPart("fluid", corners, "hexa8", cells, values)])
        path.with_suffix(".p").rename(path.parent / f"p{step}")
    text = path.read_text().replace(": p flow.p", ": 1 p p*")
    steps = f"number of steps: {len(times)}\nfilename start number: 0\nfilename increment: 1\n"
    path.write_text(f"{text}TIME\ntime set: 1\n{steps}time values: {' '.join(map(str, times))}\n")
    return path


def pressure(root: Any, of: SourceMapping, sample: str = "run_1") -> list[float]:
    values: list[float] = MappedSource(root, of).load(sample).fields["volume_pressure"].tolist()
    return values


def expected(step: int) -> list[float]:
    return (np.arange(2.0, 12) + 100 * step).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_step_is_the_default(tmp_path: Path, kind: str) -> None:
    """A step is read by its number; without a step in the mapping the last one is read."""
    path = save(tmp_path, kind)
    for step in (0, 1, 2):
        assert pressure(tmp_path, mapping(kind, step)) == expected(step)
    for last in (None, "last"):
        assert pressure(tmp_path, mapping(kind, last)) == expected(2)
    found = inspect(path).files[0]
    assert (found.steps.count, list(found.steps.times), found.step) == (3, TIMES, 2)


@pytest.mark.parametrize("kind", ["vtkhdf", "blocks"])
def test_a_step_of_vtkhdf_matches_vtk(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path, kind)
    for step in (0, 1, 2):
        read = read_with_vtk(path, step)
        mesh = read.GetBlock(0) if kind == "blocks" else read
        np.testing.assert_array_equal(pressure(tmp_path, mapping(kind, step)), own_values(mesh, "p"))


def test_a_changing_mesh_has_the_points_of_its_step(tmp_path: Path) -> None:
    write_steps(tmp_path / "run_1" / "flow.vtkhdf", TIMES, lambda step: box(step, start=step))
    for step in (0, 1, 2):
        positions = MappedSource(tmp_path, mapping("vtkhdf", step)).load("run_1").fields["volume_position"]
        assert positions[:, 0].min() == step + 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_step_is_refused_with_the_existing_ones(tmp_path: Path, kind: str) -> None:
    save(tmp_path, kind)
    message = (
        rf"^sample 'run_1': run_1/{FILES[kind]} has no step 3; it has 3 time steps, "
        r"from step 0 \(time 0\) to step 2 \(time 1\.5\); choose one of these$"
    )
    with pytest.raises(SourceError, match=message):
        pressure(tmp_path, mapping(kind, 3))


@pytest.mark.parametrize("step", ["last", 0])
@pytest.mark.parametrize("kind", ["vtkhdf", "h5"])
def test_a_file_without_steps_refuses_a_step(tmp_path: Path, kind: str, step: object) -> None:
    write_vtkhdf(tmp_path / "run_1" / FILES[kind], box())
    with pytest.raises(SourceError, match=rf"run_1/{FILES[kind]} has no time steps; leave step out of the mapping$"):
        pressure(tmp_path, mapping(kind, step))
    with pytest.raises(SourceError, match=rf"run_1/{FILES[kind]} has no time steps; leave step = 'all' out"):
        MappedSource(tmp_path, mapping(kind, "all", "run_{n}_{step}"))


def test_a_single_step_counts_as_a_step(tmp_path: Path) -> None:
    path = save(tmp_path, "vtkhdf", times=[0.25])
    assert pressure(tmp_path, mapping("vtkhdf", 0)) == expected(0)
    assert MappedSource(tmp_path, mapping("vtkhdf", "all", "run_{n}/{step}")).sample_ids() == ["run_1/0"]
    assert inspect(path).files[0].steps.described() == "1 time step, step 0 (time 0.25)"


@pytest.mark.parametrize("place", ["local", "memory"])
@pytest.mark.parametrize("kind", KINDS)
def test_all_steps_are_samples(tmp_path: Path, request: pytest.FixtureRequest, kind: str, place: str) -> None:
    save(tmp_path, kind)
    save(tmp_path, kind, "run_2", [0.0, 1.0])
    root: Any = tmp_path
    if place == "memory":
        memory = make_place(place, request)
        memory.fs.put(f"{tmp_path}/", f"{memory.path}/", recursive=True)
        root = memory.root
    source = MappedSource(root, mapping(kind, "all", "run_{n}_{step}"))
    assert source.sample_ids() == ["run_1_0", "run_1_1", "run_1_2", "run_2_0", "run_2_1"]
    for sample in source.sample_ids():
        assert source.load(sample).fields["volume_pressure"].tolist() == expected(int(sample[-1]))


def test_files_without_steps_belong_to_every_step(tmp_path: Path) -> None:
    for run in ("run_1", "run_2"):
        save(tmp_path, "case", run)
        pyvista.Sphere(radius=int(run[-1])).save(tmp_path / run / "body.stl")
        (tmp_path / run / "parameters.json").write_text(json.dumps({"speed": int(run[-1])}))
    more = '[domains.surface]\nfile = "run_{n}/body.stl"\nassociation = "point"\n'
    more += '[attributes]\ndesign = { file = "run_{n}/parameters.json" }'
    source = MappedSource(tmp_path, mapping("case", "all", "run_{n}/{step}", more))
    assert len(source.sample_ids()) == 6
    for sample_id in source.sample_ids():
        sample = source.load(sample_id)
        radius = np.linalg.norm(sample.fields["surface_position"], axis=1).max()
        assert (round(float(radius), 3), sample.attributes["design"]) == (
            int(sample_id[4]),
            {"speed": int(sample_id[4])},
        )
    assert source.notices == []


def test_domains_can_have_different_steps(tmp_path: Path) -> None:
    save(tmp_path, "vtkhdf")
    other = (
        '[domains.initial]\nfile = "run_{n}/flow.vtkhdf"\nassociation = "cell"\nstep = 0\n[domains.initial.fields]\n'
    )
    fields = MappedSource(tmp_path, mapping("vtkhdf", "last", more=f'{other}p = "p"')).load("run_1").fields
    assert (fields["volume_pressure"].tolist(), fields["initial_p"].tolist()) == (expected(2), expected(0))


def test_a_domain_needs_a_step_if_samples_are_steps(tmp_path: Path) -> None:
    save(tmp_path, "vtkhdf")
    other = '[domains.other]\nfile = "run_{n}/flow.vtkhdf"\nassociation = "cell"\n[domains.other.fields]\np = "p"'
    source = MappedSource(tmp_path, mapping("vtkhdf", "all", "run_{n}_{step}", other))
    with pytest.raises(
        SourceError, match=r"flow\.vtkhdf has 3 time steps, .* write step = 'all' for domain 'other' too"
    ):
        source.load("run_1_0")
    last = mapping("vtkhdf", "all", "run_{n}_{step}", other.replace("association", 'step = "last"\nassociation'))
    assert MappedSource(tmp_path, last).load("run_1_0").fields["other_p"].tolist() == expected(2)


def test_step_in_a_file_name_is_an_ordinary_placeholder(tmp_path: Path) -> None:
    for step in ("01", "02"):
        save(tmp_path / step, "case", times=TIMES[: int(step)])
    text = mapping("case").model_dump(mode="json", exclude_defaults=True)
    text["id"], text["domains"]["volume"]["file"] = "run_{n}_{step}", "{step}/run_{n}/flow.case"
    of_files = SourceMapping.model_validate(text)
    assert pressure(tmp_path, of_files, "run_1_01") == expected(0)
    assert pressure(tmp_path, of_files, "run_1_02") == expected(1)


@pytest.mark.slow
def test_a_conversion_of_all_steps_has_a_sample_for_each(tmp_path: Path) -> None:
    save(tmp_path / "in", "case")
    (tmp_path / "m.toml").write_text(
        'name = "v"\nid = "run_{n}_{step}"\n[domains.volume]\nfile = "run_{n}/flow.case"\nstep = "all"\n'
        '[domains.volume.fields]\npressure = "p"\n'
    )
    ran = call("convert", tmp_path / "in", tmp_path / "store", "--mapping", tmp_path / "m.toml")
    assert ran.code == 0, ran.stderr
    reader = ZarrChunkReader(tmp_path / "store")
    for step in range(3):
        read = reader.read_arrays(f"run_1_{step}", order="original")["volume_pressure"]
        np.testing.assert_array_equal(read, expected(step))


def test_a_changed_step_changes_only_its_sample(tmp_path: Path) -> None:
    save(tmp_path, "case")
    of_steps = mapping("case", "all", "run_{n}_{step}")

    def fingerprints() -> list[str]:
        source = MappedSource(tmp_path, of_steps)
        return [source.fingerprint(sample) for sample in source.sample_ids()]

    before = fingerprints()
    (tmp_path / "run_1" / "p1").write_bytes((tmp_path / "run_1" / "p1").read_bytes() + b"more")
    assert [one == other for one, other in zip(before, fingerprints(), strict=True)] == [True, False, True]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vtkhdf", "case"])
def test_inspect_lists_steps_and_proposes_the_last(tmp_path: Path, kind: str) -> None:
    save(tmp_path / "in", kind)
    ran = call("inspect", tmp_path / "in", "--mapping", tmp_path / "m.toml")
    shown = "3 time steps, from step 0 (time 0) to step 2 (time 1.5)"
    assert f"{shown}; this is step 2 (time 1.5)" in ran.output
    assert f'step = "last"  # of {shown}; "all" makes each step a sample' in (tmp_path / "m.toml").read_text()
    ran = call("convert", tmp_path / "in", tmp_path / "store", "--mapping", tmp_path / "m.toml")
    assert ran.code == 0, ran.stderr
    assert json.loads(call("inspect", tmp_path / "in", "--json").stdout)["files"][0]["steps"]["times"] == TIMES


@pytest.mark.parametrize(
    ("step", "old", "new", "message"),
    [
        (1, "flow.vtkhdf", "flow.vtu", r"only \.case, \.vtkhdf, .* have time steps, got 'run_\{n\}/flow\.vtu'; leav"),
        (1, "flow.vtkhdf", "flow.npz", "have time steps, got 'run_{n}/flow.npz'"),
        (-1, "", "", "step: expected 'last', 'all', or the number of a step, counted from 0 .*, got -1"),
        (0.5, "", "", r"or the number of a step, .*, got 0\.5"),
        ("first", "", "", "expected 'last', 'all', or the number of a step, .*, got 'first'"),
        ("all", "", "", r"placeholder \{step\}, got 'run_\{n\}': .*; write, for example, id = 'run_\{n\}_\{step\}'"),
        ("all", 'id = "run_{n}"', 'id = "{step}"', r"'run_\{n\}/flow\.vtkhdf': expected the placeholders of the id"),
        ("last", 'id = "run_{n}"', 'id = "{n}_{step}"', r"expected .* \{n\}, \{step\}; write step = 'all' in"),
        ("all", "run_{n}", "run_{n}_{step}", r"allows neither \{step\} in the file nor a group; remove"),
        ("all", "step =", 'concatenate = "run_{n}_{step}.{part}"\nstep =', "the steps of a file in pieces cannot be r"),
    ],
)  # fmt: skip
def test_a_mapping_with_an_invalid_step_is_refused(
    tmp_path: Path, step: object, old: str, new: str, message: str
) -> None:
    text = (
        f'name = "v"\nid = "run_{{n}}"\n[domains.volume]\nfile = "run_{{n}}/flow.vtkhdf"\nstep = {json.dumps(step)}\n'
    )
    save(tmp_path, "vtkhdf")
    with pytest.raises(ArgumentError, match=message):
        MappedSource(tmp_path, parse_mapping(text.replace(old, new), "mapping"))


def two_counts(file: h5py.File) -> None:
    file["VTKHDF/Steps"].attrs["NSteps"] = 3
    file["VTKHDF"].create_group("other/Steps").attrs["NSteps"] = 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (two_counts, "different numbers of time steps .*/VTKHDF/Steps has 3, /VTKHDF/other/Steps has 2"),
        (lambda file: file["VTKHDF/Steps"].attrs.modify("NSteps", 1 << 40), "claims 1,099,511,627,776 time steps"),
        (lambda file: file["VTKHDF/Steps"].attrs.pop("NSteps"), "has time steps but no attribute NSteps"),
    ],
    ids=["counts", "many", "none"],
)  # fmt: skip
def test_contradictory_steps_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    path = save(tmp_path, "vtkhdf")
    with h5py.File(path, "a") as file:
        change(file)
    for use in (
        lambda: pressure(tmp_path, mapping("vtkhdf")),
        lambda: MappedSource(tmp_path, mapping("vtkhdf", "all", "run_{n}_{step}")),
    ):
        with pytest.raises(SourceError, match=message):
            use()
