"""The match between a domain of a sample and parts of a mesh, by number of points and by positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.errors import ArgumentError, MeshError
from noether.data.zarr_store.export.meshes import ASSOCIATIONS, Association, Part
from noether.data.zarr_store.manifest import Origin

__all__ = ["Fit", "choose_fit", "find_fits"]

_MAX_SHOWN = 8  # mesh parts in a message


@dataclass(frozen=True, slots=True)
class Fit:
    """A domain, and mesh parts whose number of cells or points is the domain's number of points.

    Attributes
    ----------
    domain : str
        Domain of the sample.
    association : {"cell", "point"}
        Whether the domain's points are the cells or the points of the mesh parts.
    parts : tuple of Part
        The mesh parts; their cells or points follow each other in this order.
    """

    domain: str
    association: Association
    parts: tuple[Part, ...]

    def __str__(self) -> str:
        return f"{self.domain} as {self.association} data of {_names(self.parts)}"

    def taken_names(self) -> dict[str, str]:
        """Return the names of the data arrays of the mesh parts, each with the name of its part."""
        return {name: part.name for part in reversed(self.parts) for name in part.data(self.association)}

    def split(self, values: NDArray[Any]) -> list[tuple[Part, NDArray[Any]]]:
        """Split the rows of a field by mesh part."""
        ends = np.cumsum([part.count(self.association) for part in self.parts])
        return list(zip(self.parts, np.split(values, ends[:-1]), strict=True))

    def misplaced(self, positions: NDArray[Any], origin: Origin | None = None) -> tuple[int, float]:
        """Return the number of positions that differ from the mesh parts, and the largest such difference.

        Differences that rounding explains do not count: rounding to the stored dtype, or to the single precision of
        most mesh files. With an origin, both kinds of rounding are those of positions relative to it; rounding of the
        absolute mesh points to their own dtype does not count either.
        """
        count, worst = 0, 0.0
        eps = max(np.finfo(positions.dtype).eps, np.finfo(np.float32).eps)
        for part, rows in self.split(positions):
            distances = part.distances(self.association, rows, origin)
            tolerance = 4 * eps * np.abs(part.points_from(origin)).max()
            if origin is not None:
                points = part.grid.points
                tolerance = max(tolerance, 4 * np.finfo(points.dtype).eps * np.abs(points).max())
            wrong = distances[~(distances <= tolerance)]
            count += len(wrong)
            worst = max(float(wrong.max()), worst) if len(wrong) else worst
        return count, worst


def find_fits(
    n_points: Mapping[str, int],
    parts: Sequence[Part],
    association: Association | None,
    *,
    picked: bool,
    where: str,
) -> list[Fit]:
    """Return all matches of a domain's number of points with the number of cells or points of mesh parts.

    Parameters
    ----------
    n_points : mapping of str to int
        Number of points of each candidate domain.
    parts : sequence of Part
        The mesh.
    association : {"cell", "point"} or None
        Whether to compare cells or points; None compares both.
    picked : bool
        Whether the caller picked these parts, so that only all of them together are a candidate. Otherwise each single
        part is a candidate, too.
    where : str
        Description of sample and mesh, for the beginning of an error.

    Raises
    ------
    MeshError
        There is no match.
    """
    choices = [tuple(parts)] if picked or len(parts) == 1 else [*((part,) for part in parts), tuple(parts)]
    fits = [
        Fit(domain, one, choice)
        for domain, count in n_points.items()
        for choice in choices
        for one in ASSOCIATIONS
        if association in (None, one) and sum(part.count(one) for part in choice) == count
    ]
    if not fits:
        kinds = ASSOCIATIONS if association is None else (association,)
        sizes = [
            f"{_names(choice)}: {' and '.join(f'{sum(part.count(one) for part in choice):,} {one}s' for one in kinds)}"
            for choice in choices[:_MAX_SHOWN]
        ]
        more = f"; … ({len(parts)} parts, or all of them)" if len(choices) > _MAX_SHOWN else ""
        counts = ", ".join(f"{count:,} points of {domain}" for domain, count in n_points.items())
        raise MeshError(
            f"{where}: expected a mesh with the number of points of the sample ({counts}), got another mesh "
            f"({'; '.join(sizes)}{more}); use the mesh that the sample was made from"
        )
    return fits


def choose_fit(
    fits: Sequence[Fit],
    positions: Callable[[str], NDArray[Any]],
    *,
    check_positions: bool,
    where: str,
    origin: Origin | None = None,
) -> Fit:
    """Return the only match in which the positions of the domain agree with the mesh.

    Parameters
    ----------
    fits : sequence of Fit
        At least one match.
    positions : callable of str to ndarray
        Function that returns the positions of a domain in the order of the source, shape ``(n_points, 3)``, in their
        stored dtype.
    check_positions : bool
        Whether to compare positions; without the comparison, there must be only one match.
    where : str
        Description of sample and mesh, for the beginning of an error.
    origin : tuple of three floats, optional
        Origin of the positions.

    Raises
    ------
    MeshError
        The positions disagree with the mesh in all matches.
    ArgumentError
        Several matches are possible.
    """
    if check_positions:
        misplaced = {number: fit.misplaced(positions(fit.domain), origin) for number, fit in enumerate(fits)}
        agreeing = [fit for number, fit in enumerate(fits) if not misplaced[number][0]]
        if not agreeing:
            found = [
                f"{fit}: {misplaced[number][0]:,} of {len(positions(fit.domain)):,} points differ by up to "
                f"{misplaced[number][1]:.3g}"
                for number, fit in enumerate(fits)
            ]
            raise MeshError(
                f"{where}: expected the positions of the sample in the mesh, got others ({', '.join(found)}), although "
                "the numbers of points agree: the mesh is another one, or a file format has changed the order of its "
                "cells; use the mesh that the sample was made from, or check_positions=False (--no-check-positions) to "
                "export without this check"
            )
        # Each mesh point may lie in the bounding box of the cell with the same index, but cell centres cannot lie on
        # all mesh points. So a match of points beats a match of cells.
        on_points = {(fit.domain, fit.parts) for fit in agreeing if fit.association == "point"}
        fits = [fit for fit in agreeing if fit.association == "point" or (fit.domain, fit.parts) not in on_points]
    if len(fits) > 1:
        raise ArgumentError(
            f"{where}: several exports are possible: {', or '.join(map(str, fits))}; set domain, association or parts "
            "to choose one"
        )
    return fits[0]


def _names(parts: Sequence[Part]) -> str:
    shown = ", ".join(part.name for part in parts[:_MAX_SHOWN])
    return f"{shown}, … ({len(parts)} parts)" if len(parts) > _MAX_SHOWN else shown
