"""Exports of one sample: its content is selected, put onto the mesh, and written."""

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
    """What was written.

    Attributes
    ----------
    path : path
        The file. Beside an EnSight case lies the directory of its data, ``<name>.case.data``.
    arrays : tuple of str
        The fields and predictions that were exported.
    domain : str or None
        Their domain; None where there is no mesh, so that they may be of several.
    association : {"cell", "point"} or None
        Whether they are data of the cells or of the points of the mesh.
    parts : tuple of str
        The parts of the mesh that have them.
    left_out : tuple of str
        Arrays of the mesh itself that the format cannot hold, each with the reason.
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
    """Write fields of a sample, or predictions of them, onto the mesh that the sample was made from.

    Values come in the mesh's order, under their canonical names, beside the arrays that the mesh has. float32 and
    float64 keep every bit in VTU, VTP and npz, and float16 becomes float32; an EnSight case holds float32 alone.
    The origin of the store is added to positions, which are float64 then.

    Parameters
    ----------
    store_root : str or path
        Path or URL of the store.
    sample_id : str
        Which sample.
    target : str or path
        The file to write: ``.vtu``, ``.vtp``, ``.case`` (EnSight Gold), or ``.npz`` without a mesh. It appears once
        it is complete.
    onto : str or path, optional
        The mesh: ``.vtu``, ``.vtp``, ``.vtk``, ``.vtm`` or ``.case``.
    parts : iterable of str, optional
        Names, or patterns of names such as ``Body*``, of the parts of an EnSight case or blocks of a ``.vtm`` that
        the domain consists of, one after the other in the order of the mesh. Without it, the one part, or all parts
        together, that the domain fits.
    domain : str, optional
        Which domain; without it, the one that fits the mesh. A ``.npz`` takes all.
    association : {"cell", "point"}, optional
        Whether the domain's points are the cells or the points of the mesh; without it, whichever fits.
    fields : iterable of str, optional
        Canonical names of the fields to export; without it all of the domain, or none where there are predictions.
    predictions : mapping of str to array, optional
        Arrays or tensors by name, of shape ``(n_points,)`` or ``(n_points, width)``, in *stored* order: as a model
        gives them for a sample that was read whole. `PredictionWriter` takes them batch by batch.
    check_positions : bool
        Refuse a mesh whose cells or points lie elsewhere than the points of the domain. For stores whose positions
        are in another frame or unit than the mesh, switch it off.
    overwrite : bool
        Whether to replace what is at `target`.
    storage_options : mapping, optional
        Options of the store's file system; see `stores.open_storage`.

    Returns
    -------
    Export
        What was written, and onto what.

    Raises
    ------
    ArgumentError
        A parameter is out of its range, or `target` is there already.
    UnknownNameError
        The store has no such sample, domain or field.
    SourceError
        The mesh cannot be read.
    MeshError
        The mesh has other numbers of cells and points or has them elsewhere, has an array of the same name, or is not
        of a kind that the format of `target` can hold.
    OriginalOrderError
        The store was shuffled elsewhere, so the order of the source is not known.
    MissingDependencyError
        pyvista is not installed, and there is a mesh.
    StorageError
        The store cannot be reached, or `target` not written.
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
    """Read a mesh, and find the domain and the parts that belong together; parameters are those of `export_sample`.

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
    """Refuse what a file of the target's format cannot hold."""
    if path.suffix == ".case":
        return
    if len(fit.parts) > 1:
        raise MeshError(f"target {path}: it holds one part, and {fit} takes {len(fit.parts)}; write a .case")
    import pyvista

    grid = fit.parts[0].grid
    if path.suffix == ".vtp" and not isinstance(grid, pyvista.PolyData):
        raise MeshError(
            f"target {path}: a VTP holds PolyData alone, and {fit.parts[0].name} is {type(grid).__name__}; write a .vtu"
        )


def check_names(names: Iterable[str], taken: Mapping[str, str], association: Association) -> None:
    """Raise `MeshError` for an array that would take the place of one of the mesh; `taken` has the part of each."""
    for name in names:
        if name in taken:
            raise MeshError(
                f"part {taken[name]!r} of the mesh has {association} data {name!r} of its own; leave that field "
                "out, or call the prediction otherwise"
            )


def _write(path: Path, mesh: Sequence[Part], fit: Fit, arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    """Put arrays onto the mesh and write it; give what of the mesh's own arrays is left out."""
    for name, values in arrays.items():
        for part, rows in fit.split(values):
            part.data(fit.association).set_array(rows, name)
    if path.suffix != ".case":
        write_grid(path, fit.parts[0].grid)
        return []
    data = companion(path)
    with staged(data) as place:
        text, left_out = write_case(mesh, arrays.keys(), fit.association, place, data.name)
        # A case that is replaced goes first, and comes last: there is none while its data change.
        path.unlink(missing_ok=True)
    with staged(path) as place:
        place.write_text(text, encoding="ascii")
    return left_out
