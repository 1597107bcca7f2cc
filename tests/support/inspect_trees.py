"""Trees of files like those of datasets, with their samples and the files that VTK reads for them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyvista
from numpy.typing import NDArray

from support.ensight_files import EnSightPart, write_ensight
from support.meshes import MESHES

__all__ = ["TREES", "Held", "Tree", "read_held"]

SURFACE = {"pressure": "p", "friction": "wallShearStress"}
VOLUME = {"pressure": "p", "velocity": "U"}


@dataclass(frozen=True)
class Held:
    """Location of a domain of a sample: a file, a block of it, and the arrays of its fields."""

    path: str
    fields: Mapping[str, str | tuple[str, ...]]
    association: Literal["cell", "point"] = "cell"
    block: str | None = None


@dataclass(frozen=True)
class Tree:
    """A tree of files.

    Attributes
    ----------
    write : callable
        Writes the tree below a root.
    samples : mapping of str to mapping of str to Held
        Domains of each sample, by sample id.
    remarks : tuple of str
        Texts that the comments of the proposal contain.
    failing : tuple of str
        Samples that are found but cannot be converted.
    tolerance : float
        Allowed difference of positions: VTK computes other centres of polyhedra.
    """

    write: Callable[[Path], None]
    samples: Mapping[str, Mapping[str, Held]]
    remarks: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()
    tolerance: float = 1e-5


def read_held(root: Path, held: Held, domain: str) -> dict[str, NDArray[Any]]:
    """Return the fields of a domain as VTK reads them."""
    if held.path.endswith(".npy"):
        return {f"{domain}_{name}": np.load(root / str(array)) for name, array in held.fields.items()}
    mesh = pyvista.read(root / held.path, force_ext=".case" if held.path.endswith(".encas") else None)
    if held.block is not None:
        blocks = mesh.recursive_iterator("items", skip_none=True, prepend_names=True, separator="/")
        mesh = {name.strip(): block for name, block in blocks}[held.block]
    data = mesh.cell_data if held.association == "cell" else mesh.point_data
    points = mesh.cell_centers().points if held.association == "cell" else mesh.points
    fields = {f"{domain}_position": np.asarray(points)}
    for name, arrays in held.fields.items():
        fields[f"{domain}_{name}"] = (
            np.asarray(data[arrays]) if isinstance(arrays, str) else np.stack([data[one] for one in arrays], axis=1)
        )
    return fields


def _volume(seed: int, size: int = 2, association: Literal["cell", "point"] = "cell") -> Any:
    mesh = pyvista.ImageData(dimensions=(size + 1,) * 3).cast_to_unstructured_grid()
    mesh.points = mesh.points.astype(np.float32) + np.float32(seed)
    return _with_arrays(mesh, seed, VOLUME.values(), association)


def _surface(seed: int, size: int = 6, association: Literal["cell", "point"] = "cell") -> Any:
    mesh = pyvista.Sphere(theta_resolution=size, phi_resolution=size)
    return _with_arrays(mesh, seed, SURFACE.values(), association)


def _with_arrays(mesh: Any, seed: int, names: Iterable[str], association: str) -> Any:
    rng = np.random.default_rng(seed)
    data, rows = (mesh.cell_data, mesh.n_cells) if association == "cell" else (mesh.point_data, mesh.n_points)
    for name in names:
        data[name] = rng.normal(size=rows if name == "p" else (rows, 3)).astype(np.float32)
    return mesh


def _files(meshes: Mapping[str, Any]) -> Callable[[Path], None]:
    """Return a function that saves meshes by file name. Legacy files can hold volumes and surfaces."""

    def write(root: Path) -> None:
        for name, mesh in meshes.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix in {".case", ".encas"}:
                write_ensight(path, mesh)
            elif path.suffix == ".npy":
                np.save(path, mesh)
            elif path.suffix == ".csv":
                path.write_text(mesh)
            else:
                mesh.save(path)

    return write


def _one_file_each(
    patterns: Mapping[str, str], domains: Mapping[str, tuple[str, Mapping[str, str]]], remarks: tuple[str, ...] = ()
) -> Tree:
    """Return a tree in which each sample has a file per domain; `patterns` are directories by sample id."""
    meshes: dict[str, Any] = {}
    samples: dict[str, dict[str, Held]] = {}
    for seed, (sample_id, directory) in enumerate(patterns.items()):
        samples[sample_id] = {}
        for number, (domain, (name, fields)) in enumerate(domains.items()):
            path = f"{directory}{name}"
            meshes[path] = (
                _surface(10 * seed + number) if fields is SURFACE else _volume(10 * seed + number, 2 + number)
            )
            samples[sample_id][domain] = Held(path, fields)
    return Tree(_files(meshes), samples, remarks)


def _parts(seed: int, names: Mapping[str, bool], n_faces: int = 2) -> list[EnSightPart]:
    """Return EnSight parts; the values of `names` say which of them have friction."""
    rng = np.random.default_rng(seed)
    parts = [
        EnSightPart(
            "internalMesh",
            _HEXAHEDRON,
            "hexa8",
            np.arange(8)[None],
            {"p": rng.normal(size=1), "U": rng.normal(size=(1, 3))},
        )
    ]
    for name, has_friction in names.items():
        values = {"p": rng.normal(size=n_faces)} | (
            {"wallShearStress": rng.normal(size=(n_faces, 3))} if has_friction else {}
        )
        parts.append(
            EnSightPart(name, _HEXAHEDRON[:4], "tria3", np.tile([[0, 1, 2], [0, 2, 3]], (n_faces // 2, 1)), values)
        )
    return parts


_HEXAHEDRON = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], float)


def _blocks(names: Mapping[str, Any]) -> Any:
    return pyvista.MultiBlock({"internal": _volume(1), "boundary": pyvista.MultiBlock(dict(names))})


def _drivaernet(root: Path) -> None:
    for number, (name, associations) in enumerate(
        {"E_S_001": ["cell"], "E_S_002": ["point"], "E_S_003": ["point", "cell"], "N_W_229": ["cell"]}.items()
    ):
        mesh = _surface(number, association=associations[0])  # type: ignore[arg-type]  # inferred as str
        for other in associations[1:]:
            _with_arrays(mesh, number, SURFACE.values(), other)
        mesh.save(root / f"{name}.vtp")


def _components(seed: int) -> Any:
    mesh, rng = _volume(seed), np.random.default_rng(seed)
    mesh.clear_data()
    for name in _COMPONENTS:
        mesh.cell_data[name] = rng.normal(size=mesh.n_cells).astype(np.float32)
    return mesh


def _bare(mesh: Any) -> Any:
    mesh.clear_data()
    return mesh


def _copy(source: Path, root: Path) -> None:
    shutil.copytree(source, root, dirs_exist_ok=True)


def _drivaerstar(kind: str, number: int) -> str:
    return f"case_{kind}/{number:05}/case/{kind}_{number:05}.case"


_BRACKETS = {'wall[car] "1"': _surface(2), "wheel*front": _surface(3), "wheelXfront": _volume(4), "inlet": _surface(5)}
_STEPS = ("0", "0.1", "0.15", "1e-05")
_BOUNDARY = {
    "body": "run_{}/boundary/body.vtp",
    "inlet": "run_{}/boundary/inlet.vtp",
    "wing": "run_{}/boundary/wing.vtp",
}
_COMPONENTS = ("x_velocity", "y_velocity", "z_velocity")
_TWO = ("run_1", "run_2")

TREES = {
    "split directories": _one_file_each(
        {"a0b1": "train/a0b1/", "c2d3": "train/c2d3/", "e4f5": "val/e4f5/", "0a1b": "test/0a1b/"},
        {"surface": ("mesh.vtk", SURFACE)},
        ("test, train, val are not part of the ids",),
    ),
    "an id in two splits": _one_file_each(
        {f"{split}/run_{n}": f"{split}/run_{n}/" for split in ("train", "test") for n in (1, 2)},
        {"volume": ("v.vtu", VOLUME)},
        ("a sample id occurs in several of test, train",),
    ),
    "splits in the names of files": _one_file_each(
        {f"{split}_{n}": f"{split}_{n}" for split in ("train", "test") for n in (1, 2)}, {"volume": (".vtu", VOLUME)}
    ),
    "files beside each other in splits": _one_file_each(
        {"run_1": "train/run_1", "run_2": "train/run_2", "run_3": "test/run_3"}, {"volume": (".vtu", VOLUME)}
    ),
    "time steps": _one_file_each(
        {f"case_{n}_{t}": f"case_{n}/VTK/case_{n}_{t}/" for n in (1, 2) for t in _STEPS},
        {"volume": ("internal.vtu", VOLUME)},
        ("each combination of {n} and {t} is a sample",),
    ),
    "time steps of one case": _one_file_each(
        {f"flow_{t}": f"VTK/flow_{t}" for t in _STEPS}, {"volume": (".vtu", VOLUME)}
    ),
    "time steps beside a geometry": Tree(
        _files(
            {f"run_{n}/{t}/volume.vtu": _volume(n, 3) for n in (1, 2) for t in ("100", "200")}
            | {f"run_{n}/geo.stl": _surface(n) for n in (1, 2)}
        ),
        {f"run_{n}/{t}": {"volume": Held(f"run_{n}/{t}/volume.vtu", VOLUME)} for n in (1, 2) for t in ("100", "200")},
        ("left out, not one file per sample: 2 files such as 'run_1/geo.stl'",),
    ),
    "angles": _one_file_each({f"aoa_{a}": f"aoa_{a}/" for a in ("-5", "0", "2.5")}, {"volume": ("v.vtu", VOLUME)}),
    "two volumes": _one_file_each(
        {run: f"{run}/" for run in _TWO}, {"volume": ("fluid.vtu", VOLUME), "heater": ("heater.vtu", VOLUME)}
    ),
    "regions": _one_file_each(
        {run: f"{run}/VTK/" for run in _TWO},
        {"volume": ("air/internal.vtu", VOLUME), "heater": ("heater/internal.vtu", VOLUME)},
    ),
    "surfaces in files": Tree(
        _files({path.format(n): _surface(n, 5 + i) for n in (1, 2) for i, path in enumerate(_BOUNDARY.values())}),
        {
            f"run_{n}": {
                "surface": Held(_BOUNDARY["body"].format(n), SURFACE),
                "wing": Held(_BOUNDARY["wing"].format(n), SURFACE),
            }
            for n in (1, 2)
        },
        ('left out, a boundary of the flow by its name: "run_{n}/boundary/inlet.vtp"',),
    ),
    "parts of a case": Tree(
        _files(
            {
                f"{run}/{run}.case": _parts(n, {"body [1]": True, "lid": False, "ground": True})
                for n, run in enumerate(_TWO)
            }
        ),
        {
            run: {
                "surface": Held(f"{run}/{run}.case", SURFACE, block="body [1]"),
                "volume": Held(f"{run}/{run}.case", VOLUME, block="internalMesh"),
            }
            for run in _TWO
        },
        ('boundaries of the flow by their names: "ground"', 'without friction: "lid"'),
    ),
    "suffixes written in two ways": Tree(
        _files(
            {"run_1/run_1.encas": _parts(1, {}), "run_2/run_2.case": _parts(2, {}), "run_3/run_3.case": _parts(3, {})}
        ),
        {
            "run_1": {"volume": Held("run_1/run_1.encas", VOLUME, block="internalMesh")},
            "run_2": {"volume": Held("run_2/run_2.case", VOLUME, block="internalMesh")},
            "run_3": {"volume": Held("run_3/run_3.case", VOLUME, block="internalMesh")},
        },
    ),
    "parts of other names": Tree(
        _files({f"run_{n}/run_{n}.case": _parts(n, {f"car [{n}]": True, "ground": True}) for n in (1, 2, 3)}),
        {
            f"run_{n}": {
                "surface": Held(f"run_{n}/run_{n}.case", SURFACE, block=f"car [{n}]"),
                "volume": Held(f"run_{n}/run_{n}.case", VOLUME, block="internalMesh"),
            }
            for n in (1, 2, 3)
        },
        ('other parts in "run_2/run_2.case": "car [2]"',),
    ),
    "signs in the names of blocks": Tree(
        _files({"run_1/flow.vtm": _blocks({name: _BRACKETS[name] for name in ('wall[car] "1"', "inlet")})}),
        {
            "run_1": {
                "surface": Held("run_1/flow.vtm", SURFACE, block='boundary/wall[car] "1"'),
                "volume": Held("run_1/flow.vtm", VOLUME, block="internal"),
            }
        },
        ('boundaries of the flow by their names: "boundary/inlet"',),
    ),
    "a block whose name fits another": Tree(
        _files(
            {"run_1/flow.vtm": pyvista.MultiBlock({name: _BRACKETS[name] for name in ("wheel*front", "wheelXfront")})}
        ),
        {
            "run_1": {
                "surface": Held("run_1/flow.vtm", SURFACE, block="wheel*front"),
                "volume": Held("run_1/flow.vtm", VOLUME, block="wheelXfront"),
            }
        },
    ),
    "several formats": Tree(
        _files(
            {f"{run}/volume.{suffix}": _volume(n, 3) for n, run in enumerate(_TWO) for suffix in ("vtu", "vtk")}
            | {f"{run}/body.{suffix}": _surface(n) for n, run in enumerate(_TWO) for suffix in ("vtp", "stl")}
            | {
                f"{run}/volume_{name}.npy": np.ones(shape)
                for run in _TWO
                for name, shape in (("points", (27, 3)), ("p", 27))
            }
        ),
        {
            run: {"surface": Held(f"{run}/body.vtp", SURFACE), "volume": Held(f"{run}/volume.vtu", VOLUME)}
            for run in _TWO
        },
        (
            'used: the volume of "run_{n}/volume.vtu" (2 samples); left out: "run_{n}/volume.vtk" (2 samples), the ',
            'left out: "run_{n}/volume_p.npy"',
            'left out: "run_{n}/body.stl"',
        ),
    ),
    "formats in directories": Tree(
        _files(
            {f"vtk/{run}/surface.vtp": _surface(n) for n, run in enumerate(_TWO)}
            | {f"stl/run_{n}.stl": _surface(n) for n in (1, 2, 3)}
        ),
        {run: {"surface": Held(f"vtk/{run}/surface.vtp", SURFACE)} for run in _TWO},
        ('left out: "stl/run_{n}.stl" (3 samples)',),
    ),
    "domains in directories": Tree(
        _files(
            {
                f"{'volume' if v else 'surface'}/{run}.vt{'u' if v else 'p'}": (_volume if v else _surface)(n)
                for n, run in enumerate(_TWO)
                for v in (0, 1)
            }
        ),
        {
            run: {"surface": Held(f"surface/{run}.vtp", SURFACE), "volume": Held(f"volume/{run}.vtu", VOLUME)}
            for run in _TWO
        },
    ),
    "designs beside each other": Tree(
        _drivaernet,
        {name: {"surface": Held(f"{name}.vtp", SURFACE)} for name in ("E_S_001", "E_S_003", "N_W_229")},
        (
            '"p" is not cell data in 1 of 4 files, such as "E_S_002.vtp"',
            'into another store, with association = "point")',
        ),
        failing=("E_S_002",),
    ),
    "names that begin as others": Tree(
        _files(
            {f"run_{n}.vtu": _volume(n) for n in (1, 2)}
            | {f"run_{n}_hot.vtu": _volume(n, 3) for n in (1, 2)}
            | {f"run_{n}_ground.vtu": _surface(n).cast_to_unstructured_grid() for n in (1, 2)}
        ),
        {
            f"run_{n}": {
                "volume": Held(f"run_{n}.vtu", VOLUME),
                "runhot": Held(f"run_{n}_hot.vtu", VOLUME),
                "surface": Held(f"run_{n}_ground.vtu", SURFACE),
            }
            for n in (1, 2)
        },
    ),
    "a case beside slices": Tree(
        _files(
            {f"run_{n}/run_{n}.case": _parts(n, {"body": True}, 2000) for n in (1, 2)}
            | {f"run_{n}/slices/x_{x}.vtp": _surface(n, 3) for n in (1, 2) for x in (0.1, 0.2)}
        ),
        {
            f"run_{n}": {
                "surface": Held(f"run_{n}/run_{n}.case", SURFACE, block="body"),
                "volume": Held(f"run_{n}/run_{n}.case", VOLUME, block="internalMesh"),
            }
            for n in (1, 2)
        },
        ("left out, not one file per sample: 4 files such as 'run_1/slices/x_0.1.vtp'",),
    ),
    "two levels": _one_file_each(
        {f"param{n}/{name}{n}": f"param{n}/{name}{n}/" for n in (0, 1) for name in ("6f0a", "bc2e")},
        {"surface": ("quadpress_smpl.vtk", SURFACE), "volume": ("hexvelo_smpl.vtk", VOLUME)},
    ),
    "letters and numbers": Tree(
        _files({_drivaerstar(kind, n): _parts(n, {"body": True}) for kind in "EF" for n in (1, 2)}),
        {
            f"{kind}_{n:05}": {
                "volume": Held(_drivaerstar(kind, n), VOLUME, block="internalMesh"),
                "surface": Held(_drivaerstar(kind, n), SURFACE, block="body"),
            }
            for kind in "EF"
            for n in (1, 2)
        },
    ),
    "quotes, blanks and braces": _one_file_each(
        {f"a {name}": f"a {name}/" for name in ('"b"', "'c'", 'd\'e "f" g')}, {"volume": ('v [1] {x}".vtu', VOLUME)}
    ),
    "components, beside tables": Tree(
        _files(
            {f"{run}/v.vtu": _components(n) for n, run in enumerate(_TWO)}
            | {f"{run}/forces.csv": "Cd,Cl\n0.3,0.1\n" for run in _TWO}
        ),
        {run: {"volume": Held(f"{run}/v.vtu", {"velocity": _COMPONENTS})} for run in _TWO},
    ),
    "arrays beside meshes": Tree(
        _files(
            {f"{run}/quad.vtk": _bare(_surface(n)) for n, run in enumerate(_TWO)}
            | {f"{run}/pressure.npy": np.arange(_surface(0).n_points, dtype="f4") + n for n, run in enumerate(_TWO)}
            | {f"{run}/parameters.npy": np.arange(3.0) for run in _TWO}
        ),
        {run: {"surface": Held(f"{run}/quad.vtk", {}, "point")} for run in _TWO},
        ('pressure = { file = "run_{n}/pressure.npy" }', "parameters = { file ="),
    ),
    "arrays of other lengths": Tree(
        _files(
            {
                f"{run}/surface_{name}.npy": np.full(shape, 1 + n, "f4")
                for n, run in enumerate(_TWO)
                for name, shape in (("position", (9, 3)), ("p", 9), ("position_stl_resampled", (20, 3)))
            }
        ),
        {
            run: {
                "surface": Held(
                    f"{run}/surface_p.npy",
                    {"position": f"{run}/surface_position.npy", "pressure": f"{run}/surface_p.npy"},
                )
            }
            for run in _TWO
        },
        ('# left out: "surface_position_stl_resampled" has the shape (20, 3)',),
    ),
    "points without cells": Tree(
        _files(
            {
                f"{run}/cloud.vtp": _with_arrays(
                    pyvista.PolyData(np.random.default_rng(n).normal(size=(9, 3)).astype("f4")),
                    n,
                    VOLUME.values(),
                    "point",
                )
                for n, run in enumerate(_TWO)
            }
        ),
        {run: {"volume": Held(f"{run}/cloud.vtp", VOLUME, "point")} for run in _TWO},
    ),
    "bundled VTK": Tree(
        lambda root: _copy(MESHES / "vtk", root),
        {"run_1": {"surface": Held("run_1/surface.vtp", SURFACE), "volume": Held("run_1/volume.vtu", VOLUME)}},
        tolerance=6e-3,
    ),
    "bundled EnSight": Tree(
        lambda root: _copy(MESHES / "ensight", root),
        {
            "run_1": {
                "surface": Held("run_1/run_1.case", SURFACE, block="body"),
                "volume": Held("run_1/run_1.case", VOLUME, block="internalMesh"),
            }
        },
        ('boundaries of the flow by their names: "ground"',),
        tolerance=6e-3,
    ),
}
