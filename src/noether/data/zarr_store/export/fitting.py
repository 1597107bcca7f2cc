"""Which domain of a sample lies on which parts of a mesh: by the number of points, and by where they are."""

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

_MAX_SHOWN = 8  # parts in a message


@dataclass(frozen=True, slots=True)
class Fit:
    """A domain with as many points as parts of a mesh have cells or points.

    Attributes
    ----------
    domain : str
        The domain of the sample.
    association : {"cell", "point"}
        Whether its points are the cells or the points of the parts.
    parts : tuple of Part
        The parts, whose cells or points follow one another.
    """

    domain: str
    association: Association
    parts: tuple[Part, ...]

    def __str__(self) -> str:
        return f"{self.domain} as {self.association} data of {_names(self.parts)}"

    def taken_names(self) -> dict[str, str]:
        """Return the names of the data that the parts have, each with the name of its part."""
        return {name: part.name for part in reversed(self.parts) for name in part.data(self.association)}

    def split(self, values: NDArray[Any]) -> list[tuple[Part, NDArray[Any]]]:
        """Deal the rows of a field out to the parts."""
        ends = np.cumsum([part.count(self.association) for part in self.parts])
        return list(zip(self.parts, np.split(values, ends[:-1]), strict=True))

    def misplaced(self, positions: NDArray[Any], origin: Origin | None = None) -> tuple[int, float]:
        """Count the positions that are not those of the parts, and say how far off the worst of them is.

        Positions may differ by what rounding them explains: by the dtype they are stored in, or to the single
        precision in which meshes are mostly written. With an origin, both positions and single precision are relative
        to it, and the mesh has the precision of its own dtype.
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
    """Find the domains that have as many points as a mesh has cells or points.

    Parameters
    ----------
    n_points : mapping of str to int
        Points of each domain that comes into question.
    parts : sequence of Part
        The mesh.
    association : {"cell", "point"} or None
        Which of the two to look at; None is both.
    picked : bool
        Whether the parts were picked by the caller, and belong together. Else each may be meant, or all of them.
    where : str
        Names sample and mesh, to begin an error with.

    Raises
    ------
    MeshError
        There is none.
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
            f"{_names(choice)}: {' and '.join(f'{sum(part.count(one) for part in choice)} {one}s' for one in kinds)}"
            for choice in choices[:_MAX_SHOWN]
        ]
        more = f"; … ({len(parts)} parts, or all of them)" if len(choices) > _MAX_SHOWN else ""
        raise MeshError(
            f"{where}: the mesh has other numbers of points: the sample has "
            f"{', '.join(f'{count} of {domain}' for domain, count in n_points.items())}, the mesh "
            f"{'; '.join(sizes)}{more}; expected the mesh that the sample was made from"
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
    """Choose the one fit in which the points of the domain lie where the mesh has them.

    Parameters
    ----------
    fits : sequence of Fit
        At least one.
    positions : callable of str to ndarray
        Gives the positions of a domain in the order of the source, shape ``(n_points, 3)``, in their stored dtype.
    check_positions : bool
        If false nothing is compared, and there has to be one fit alone.
    where : str
        Names sample and mesh, to begin an error with.
    origin : tuple of three floats, optional
        What the positions are relative to.

    Raises
    ------
    MeshError
        The points lie elsewhere in all fits.
    ArgumentError
        It is not clear which fit is meant.
    """
    if check_positions:
        misplaced = {number: fit.misplaced(positions(fit.domain), origin) for number, fit in enumerate(fits)}
        agreeing = [fit for number, fit in enumerate(fits) if not misplaced[number][0]]
        if not agreeing:
            found = [
                f"{fit}: {misplaced[number][0]} of {len(positions(fit.domain))} points lie elsewhere, "
                f"by up to {misplaced[number][1]:.3g}"
                for number, fit in enumerate(fits)
            ]
            raise MeshError(
                f"{where}: the numbers of points agree, but their positions do not ({'; '.join(found)}): this is "
                "another mesh, or one with its cells in another order, as each file format has its own; expected the "
                "mesh that the sample was made from (check_positions=False, --no-check-positions: export all the same)"
            )
        # A point of the mesh may well lie in the box of the cell of its number, but no centre on all its points.
        on_points = {(fit.domain, fit.parts) for fit in agreeing if fit.association == "point"}
        fits = [fit for fit in agreeing if fit.association == "point" or (fit.domain, fit.parts) not in on_points]
    if len(fits) > 1:
        raise ArgumentError(
            f"{where}: it is not clear what to export: {'; or '.join(map(str, fits))}; "
            "say which with domain, association or parts"
        )
    return fits[0]


def _names(parts: Sequence[Part]) -> str:
    shown = ", ".join(part.name for part in parts[:_MAX_SHOWN])
    return f"{shown}, … ({len(parts)} parts)" if len(parts) > _MAX_SHOWN else shown
