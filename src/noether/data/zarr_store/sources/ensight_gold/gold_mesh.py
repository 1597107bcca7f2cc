"""An open binary EnSight Gold case, whose arrays are read lazily."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from noether.data.zarr_store.errors import SourceError
from noether.data.zarr_store.sources.byte_source import MAX_OPEN_FILES, local_ranges
from noether.data.zarr_store.sources.ensight_case import CaseEntry
from noether.data.zarr_store.sources.ensight_files import case_at_step, step_ranges
from noether.data.zarr_store.sources.ensight_gold.gold_piece import GoldPiece, Values
from noether.data.zarr_store.sources.ensight_gold.part_table import PartHead, read_geometry
from noether.data.zarr_store.sources.ensight_gold.records import GoldFile
from noether.data.zarr_store.sources.ensight_gold.variable_table import read_variable
from noether.data.zarr_store.sources.mapping import Association
from noether.data.zarr_store.sources.steps import Step
from noether.data.zarr_store.sources.streamed_errors import DamagedArrayError, NotStreamedError
from noether.data.zarr_store.sources.streamed_part import StreamedPart

__all__ = ["GoldMesh"]

_WIDTHS = {"scalar": 1, "vector": 3, "tensor symm": 6, "tensor asym": 9}
_ASSOCIATIONS: dict[str, Association] = {"node": "point", "element": "cell"}


class GoldMesh:
    """A case at one time step.

    Parameters
    ----------
    path : Path
        Local path of the case file.
    where : str
        Sample and file; errors begin with it.
    way_out : str
        Remedy for a file that cannot be read; errors end with it.
    step : int, "last" or None
        Time step to read. None reads the last step.

    Attributes
    ----------
    steps : Steps
        Time steps of the case.
    step : int or None
        Number of the step that is read. None if the case has no steps, or if they have no numbers.
    names : dict of {"cell", "point"} to list of str
        Names of arrays by association.

    Raises
    ------
    NotStreamedError
        Only VTK's reader supports the case.
    SourceError
        A file is damaged or missing, or the step does not exist.
    """

    def __init__(self, path: Path, where: str, way_out: str, step: Step = None) -> None:
        self._directory, self._where, self._way_out = path.parent, where, way_out
        case = case_at_step(path, step, where)
        if not any(line.split() == ["type:", "ensight", "gold"] for line in case.header):
            raise NotStreamedError("it is not EnSight Gold")
        self.steps, self.step = case.steps, case.steps.choose(step, where)
        geometry, self._variables = _sorted(case.entries)
        self.names: dict[Association, list[str]] = {of: list(there) for of, there in self._variables.items()}
        try:
            self._geometry = read_geometry(self._open(geometry))
        except DamagedArrayError as error:
            raise self._damaged(error) from error
        if not self._filled_parts():
            raise NotStreamedError("it has no parts with points")

    def read(self, wanted: Mapping[Association, Collection[str]]) -> list[StreamedPart]:
        """Open the `wanted` arrays, given by association, of each EnSight part that has points.

        Raises
        ------
        NotStreamedError
            Only VTK's reader supports one of the arrays.
        SourceError
            A file is damaged or missing.
        """
        chosen = [(of, name) for of, names in self.names.items() for name in names if name in wanted[of]]
        if len(chosen) >= MAX_OPEN_FILES:
            raise NotStreamedError(f"its {len(chosen):,} variable files reach the limit of {MAX_OPEN_FILES} open files")
        values: dict[int, dict[Association, dict[str, Values]]] = {
            number: {"cell": {}, "point": {}} for number in self._geometry.parts
        }
        try:
            for of, name in chosen:
                entry = self._variables[of][name]
                file = self._open(entry)
                width = _WIDTHS[entry.key.partition(" per ")[0]]
                for number, sections in read_variable(file, self._geometry, of, width).items():
                    values[number][of][name] = (file, sections)
        except DamagedArrayError as error:
            raise self._damaged(error) from error
        return [self._part(part, values[part.number]) for part in self._filled_parts()]

    def _part(self, part: PartHead, values: dict[Association, dict[str, Values]]) -> StreamedPart:
        piece = GoldPiece(self._geometry, part, values)
        wanted = {of: list(names) for of, names in values.items()}
        return StreamedPart(part.name, [piece], wanted, self._where, self._way_out)

    def _filled_parts(self) -> list[PartHead]:
        return [part for part in self._geometry.parts.values() if part.n_points]

    def _open(self, entry: CaseEntry) -> GoldFile:
        [(name, step_in_file)] = entry.step_files
        path = self._directory / name
        if not path.is_file():
            raise SourceError(f"{self._where} names {name}, which does not exist; add the file")
        ranges = [(0, path.stat().st_size)] if step_in_file is None else step_ranges(path, step_in_file, self._where)
        try:
            return GoldFile(name, local_ranges(path, ranges), ranges)
        except OSError as error:
            raise SourceError(
                f"{self._where}: {name} cannot be opened ({error.strerror}); check its permissions"
            ) from error

    def _damaged(self, error: Exception) -> SourceError:
        return SourceError(f"{self._where} cannot be read ({error}); {self._way_out}")


def _sorted(entries: Collection[CaseEntry]) -> tuple[CaseEntry, dict[Association, dict[str, CaseEntry]]]:
    """Return the geometry and the variables of a case. Raise `NotStreamedError` for kinds that only VTK reads."""
    geometries = [entry for entry in entries if entry.description is None]
    if [entry.key for entry in geometries] != ["model"]:
        raise NotStreamedError("its geometry is not exactly one model")
    variables: dict[Association, dict[str, CaseEntry]] = {"cell": {}, "point": {}}
    for entry in entries:
        if entry.description is None:
            continue
        kind, _, of = entry.key.partition(" per ")
        if kind not in _WIDTHS or of not in _ASSOCIATIONS:
            raise NotStreamedError(f"it has a variable {entry.key!r}")
        there = variables[_ASSOCIATIONS[of]]
        if entry.description in there or len(entry.description.split()) != 1:
            raise NotStreamedError(f"its variable name {entry.description!r} occurs twice or has blanks")
        there[entry.description] = entry
    return geometries[0], variables
