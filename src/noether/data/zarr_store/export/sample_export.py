"""Export of one sample: select its content, set it on the mesh, and write the file."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from noether.data.zarr_store.errors import MeshError, require_one_of
from noether.data.zarr_store.export.content import Content
from noether.data.zarr_store.export.ensight import write_case
from noether.data.zarr_store.export.files import check_target, companion, staged, write_grid, write_npz
from noether.data.zarr_store.export.fitting import Fit, choose_fit, find_fits
from noether.data.zarr_store.export.meshes import ASSOCIATIONS, Association, Part, pick_parts, read_parts
from noether.data.zarr_store.reader import ZarrChunkReader

__all__ = ["Export", "check_names", "export_sample", "fit_mesh"]


@dataclass(frozen=True, slots=True)
class Export:
    """The result of an export.

    Attributes
    ----------
    path : path
        The file. The data of an EnSight case are in the directory ``<name>.case.data`` beside it.
    arrays : tuple of str
        Names of the exported fields and predictions.
    domain : str or None
        Domain of the arrays; None without a mesh, because the arrays may then belong to several domains.
    association : {"cell", "point"} or None
        Whether the arrays are data of the cells or of the points of the mesh; None without a mesh.
    parts : tuple of str
        Names of the mesh parts that hold the arrays.
    left_out : tuple of str
        Arrays of the original mesh that the format cannot hold, each with the reason.
    """

    path: Path
    arrays: tuple[str, ...]
    domain: str | None = None
    association: Association | None = None
    parts: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def export_sample(
    store_root: str | os.PathLike[str],
    sample_id: str,
    target: str | os.PathLike[str],
    *,
    onto: str | os.PathLike[str] | None = None,
    parts: Iterable[str] | None = None,
    domain: str | None = None,
    association: Association | None = None,
    fields: Iterable[str] | None = None,
    predictions: Mapping[str, Any] | None = None,
    check_positions: bool = True,
    overwrite: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Export:
    """Write fields of a sample, or predictions, onto the mesh that the sample was made from.

    The file has the values in the order of the mesh, under their canonical names, in addition to the arrays of the
    mesh. VTU, VTP and npz keep every bit of float32 and float64, and float16 becomes float32; an EnSight case holds
    only float32. If the store has an origin, it is added to positions, which become float64.

    Parameters
    ----------
    store_root : str or path
        Path or URL of the store.
    sample_id : str
        Id of the sample.
    target : str or path
        The file to write: ``.vtu``, ``.vtp``, ``.case`` (EnSight Gold), or ``.npz`` without a mesh. It appears
        atomically.
    onto : str or path, optional
        The mesh: ``.vtu``, ``.vtp``, ``.vtk``, ``.vtm``, ``.case``, or another format of `meshes.MESH_SUFFIXES`.
    parts : iterable of str, optional
        Names, or patterns such as ``Body*``, of the EnSight parts or blocks that make up the domain, one after
        the other in the order of the mesh. By default, the single part that fits the domain, or all parts together.
    domain : str, optional
        Domain to export. The default is the domain that fits the mesh; a ``.npz`` takes all domains.
    association : {"cell", "point"}, optional
        Whether the domain's points are the cells or the points of the mesh. By default, the choice that fits.
    fields : iterable of str, optional
        Canonical names of the fields to export. The default is all fields of the domain, or none with `predictions`.
    predictions : mapping of str to array, optional
        Arrays or tensors by name, of shape ``(n_points,)`` or ``(n_points, width)``, in *stored* order: the order of a
        model's output for a sample that was read whole. `PredictionWriter` takes predictions batch by batch.
    check_positions : bool
        Whether to reject a mesh whose cells or points do not lie at the positions of the domain. Use False if the
        positions of the store are in another frame or unit than the mesh.
    overwrite : bool
        Whether to replace an existing `target`.
    storage_options : mapping, optional
        Options of the store's file system; see `stores.open_storage`.

    Returns
    -------
    Export
        The written file, its arrays, and the mesh parts that hold them.

    Raises
    ------
    ArgumentError
        A parameter is out of its range, or `target` exists already.
    UnknownNameError
        The store has no such sample, domain or field.
    SourceError
        The mesh cannot be read.
    MeshError
        The mesh has other numbers of cells and points, other positions, or an array of the same name; or the format of
        `target` cannot hold the mesh.
    OriginalOrderError
        The store was shuffled by another program, so the order of the source is unknown.
    MissingDependencyError
        There is a mesh, and pyvista is not installed.
    StorageError
        The store cannot be reached, or `target` cannot be written.
    """
    if association is not None:
        require_one_of("association", association, ASSOCIATIONS)
    path = check_target(target, onto, overwrite=overwrite)
    reader = ZarrChunkReader(store_root, storage_options=storage_options)
    content = Content.select(reader, sample_id, domain, fields, predictions)
    if onto is None:
        arrays = content.arrays_of_all_domains()
        write_npz(path, arrays)
        return Export(path, tuple(arrays))
    mesh, fit = fit_mesh(path, content, onto, parts, association, check_positions=check_positions)
    check_names([*content.fields_of(fit.domain), *content.predictions], fit.taken_names(), fit.association)
    arrays = content.arrays(fit.domain)
    left_out = _write(path, mesh, fit, arrays)
    names = tuple(part.name for part in fit.parts)
    return Export(path, tuple(arrays), fit.domain, fit.association, names, tuple(left_out))


def fit_mesh(
    path: Path,
    content: Content,
    onto: str | os.PathLike[str],
    parts: Iterable[str] | None,
    association: Association | None,
    *,
    check_positions: bool,
) -> tuple[tuple[Part, ...], Fit]:
    """Read a mesh, and return its parts and the match of a domain with them; for parameters see `export_sample`.

    Raises
    ------
    StoreError
        As in `export_sample`.
    """
    domains = content.domains_with_all()
    mesh = read_parts(Path(onto))
    picked = mesh if parts is None else pick_parts(mesh, parts)
    where = f"sample {content.sample_id!r} onto {onto}"
    fits = find_fits(domains, picked, association, picked=parts is not None, where=where)
    positions = functools.cache(content.positions)
    fit = choose_fit(fits, positions, check_positions=check_positions, where=where, origin=content.reader.origin)
    _check_format(path, fit)
    return mesh, fit


def _check_format(path: Path, fit: Fit) -> None:
    """Raise `MeshError` if the format of the target cannot hold the mesh."""
    if path.suffix == ".case":
        return
    if len(fit.parts) > 1:
        raise MeshError(
            f"target {path}: expected one mesh part, because a {path.suffix} holds only one, got {len(fit.parts)} "
            f"({fit}); write a .case"
        )
    import pyvista

    grid = fit.parts[0].grid
    if path.suffix == ".vtp" and not isinstance(grid, pyvista.PolyData):
        raise MeshError(
            f"target {path}: expected PolyData for a .vtp, got {type(grid).__name__} in {fit.parts[0].name}; write a "
            ".vtu"
        )


def check_names(names: Iterable[str], taken: Mapping[str, str], association: Association) -> None:
    """Raise `MeshError` if an array would replace an array of the mesh; `taken` maps these names to their parts."""
    for name in names:
        if name in taken:
            raise MeshError(
                f"part {taken[name]!r} of the mesh already has {association} data {name!r}; leave the field out, or "
                "use another name for the prediction"
            )


def _write(path: Path, mesh: Sequence[Part], fit: Fit, arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    """Set arrays on the mesh and write it; return the mesh's own arrays that the format cannot hold, with reasons."""
    for name, values in arrays.items():
        for part, rows in fit.split(values):
            part.data(fit.association).set_array(rows, name)
    if path.suffix != ".case":
        write_grid(path, fit.parts[0].grid)
        return []
    data = companion(path)
    with staged(data) as place:
        text, left_out = write_case(mesh, arrays.keys(), fit.association, place, data.name)
        # The case file is removed first and written last, so that no case file exists while its data change.
        path.unlink(missing_ok=True)
    with staged(path) as place:
        place.write_text(text, encoding="ascii")
    return left_out
