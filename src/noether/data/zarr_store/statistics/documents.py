"""Statistics as plain dictionaries, and as JSON and YAML files."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.statistics.moments import RunningStats, position_bounds
from noether.data.zarr_store.statistics.store_statistics import StoreStatistics
from noether.data.zarr_store.stores import open_storage

__all__ = [
    "FLAT_BOUNDS",
    "flat_names",
    "load_statistics",
    "output_path",
    "save_statistics",
    "statistics_from_dict",
    "statistics_to_dict",
]

Figures = dict[str, int | list[float | None]]
FlatFigures = dict[str, list[float]]

# This is never the name of a field: every canonical field name has an underscore.
_POSITIONS = "positions"

_EXACT = ("mean", "std", "min", "max", "logmean", "logstd")
_MARGINS = ("mean_margin", "logmean_margin")
# Names of figures in the flat form, and the attributes of `RunningStats` that they contain.
_FLAT = {"mean": "mean", "std": "std", "logscale_mean": "logmean", "logscale_std": "logstd"}
FLAT_BOUNDS = ("raw_pos_min", "raw_pos_max")
"""Names of the bounds of all positions in the flat form."""
_JSON, _YAML = (".json",), (".yaml", ".yml")
DOCUMENT_SUFFIXES = _JSON + _YAML

_Component = Annotated[float, Field(allow_inf_nan=False)] | None
_Components = Annotated[list[_Component], Field(min_length=1)]


class _FieldFigures(BaseModel):
    """The statistics of one field in a document of `statistics_to_dict`."""

    model_config = ConfigDict(extra="forbid")

    count: Annotated[int, Field(gt=0)]
    mean: _Components
    std: _Components
    min: _Components
    max: _Components
    logmean: _Components
    logstd: _Components
    non_finite: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    points_read: Annotated[int, Field(gt=0)] | None = None
    mean_margin: _Components | None = None
    logmean_margin: _Components | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        lengths = {name: len(value) for name, value in self if isinstance(value, list)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"expected the same number of components in each figure, got {lengths}")
        if self.points_read is not None and self.points_read > self.count:
            raise ValueError(f"points_read: expected at most the count {self.count}, got {self.points_read}")
        return self


_DOCUMENT = TypeAdapter(dict[str, _FieldFigures])


@overload
def statistics_to_dict(stats: Mapping[str, RunningStats], *, flat: Literal[False] = False) -> dict[str, Figures]: ...
@overload
def statistics_to_dict(stats: Mapping[str, RunningStats], *, flat: Literal[True]) -> FlatFigures: ...
def statistics_to_dict(stats: Mapping[str, RunningStats], *, flat: bool = False) -> dict[str, Figures] | FlatFigures:
    """Return statistics as dictionaries and lists, for JSON and similar formats.

    Parameters
    ----------
    stats : mapping of str to RunningStats
        Statistics by canonical field name.
    flat : bool
        Whether to return one list per figure, as normalizers read it, instead of one dictionary per field.

    Returns
    -------
    dict of str to dict
        By canonical field name, the attributes of `RunningStats` by name. Arrays are lists with one number for each
        component, and a number that is not finite is None. Only estimates have `points_read` and margins.
    dict of str to list of float
        The flat form: ``{field}_mean``, ``{field}_std``, ``{field}_logscale_mean`` and ``{field}_logscale_std`` of
        every field, positions included; and the bounds of the positions of all domains, ``raw_pos_min`` and
        ``raw_pos_max``. Each is a list with one number for each component, also for a scalar. A figure with a
        component that is not finite is left out, such as the bounds if only some points were read.
    """
    if not flat:
        return {field: _figures(one) for field, one in stats.items()}
    return {name: figures.tolist() for name, figures in _flat_figures(stats) if np.isfinite(figures).all()}


def flat_names(stats: Mapping[str, RunningStats]) -> list[str]:
    """Return the names that the flat form has if all figures are finite."""
    return [name for name, _ in _flat_figures(stats)]


def _flat_figures(stats: Mapping[str, RunningStats]) -> Iterator[tuple[str, NDArray[np.float64]]]:
    for field, one in stats.items():
        for name, attribute in _FLAT.items():
            yield f"{field}_{name}", getattr(one, attribute)
    yield from zip(FLAT_BOUNDS, position_bounds(stats) or (), strict=False)


def _figures(stats: RunningStats) -> Figures:
    figures: Figures = {"count": stats.count}
    figures |= {name: _finite_or_none(getattr(stats, name)) for name in _EXACT}
    figures["non_finite"] = stats.non_finite.tolist()
    if stats.is_estimate:
        figures["points_read"] = stats.points_read
        figures |= {name: _finite_or_none(getattr(stats, name)) for name in _MARGINS}
    return figures


def statistics_from_dict(document: Mapping[str, Any]) -> StoreStatistics:
    """Return the statistics in a document of `statistics_to_dict`, or in the content of a file of `save_statistics`.

    Raises
    ------
    ArgumentError
        The document has another form.
    """
    try:
        if document.values() and all(isinstance(value, list) for value in document.values()):
            raise ArgumentError(
                "expected the statistics of fields by name, got the flat form, which lacks counts; "
                "use the file of --output"
            )
        fields = _DOCUMENT.validate_python({key: value for key, value in document.items() if key != _POSITIONS})
    except AttributeError as error:
        raise ArgumentError(
            f"expected the statistics of fields by name, got {type(document).__name__}; "
            "use a file that noether-zarr stats wrote"
        ) from error
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ArgumentError(
            f"expected statistics as noether-zarr stats writes them, but {where}: "
            f"{problem['msg'].removeprefix('Value error, ')}; use a file that noether-zarr stats wrote"
        ) from error
    return StoreStatistics({field: _running_stats(figures) for field, figures in fields.items()})


def _running_stats(figures: _FieldFigures) -> RunningStats:
    nothing = np.zeros(len(figures.mean))
    margins = {
        name: nothing if margin is None else _array(margin)
        for name, margin in ((name, getattr(figures, name)) for name in _MARGINS)
    }
    return RunningStats(
        count=figures.count,
        non_finite=np.array(figures.non_finite, np.int64),
        points_read=figures.count if figures.points_read is None else figures.points_read,
        **{name: _array(getattr(figures, name)) for name in _EXACT},
        **margins,
    )


def output_path(path: str | os.PathLike[str], suffixes: Sequence[str] = DOCUMENT_SUFFIXES) -> Path:
    """Return the path of an output file, after checking it. Call this before the work that makes the file.

    Raises
    ------
    ArgumentError
        The path has none of the suffixes, or its directory does not exist.
    """
    file = Path(path)
    if file.suffix.lower() not in suffixes:
        raise ArgumentError(f"{file}: expected a file name that ends in {' or '.join(suffixes)}")
    if not file.absolute().parent.is_dir():
        raise ArgumentError(f"{file}: there is no directory {file.absolute().parent}; create it first")
    return file


def save_statistics(stats: Mapping[str, RunningStats], path: str | os.PathLike[str], *, flat: bool = False) -> None:
    """Write statistics to a ``.json`` or ``.yaml`` file, atomically.

    The file has the result of `statistics_to_dict`. Unless it is flat, it also has the bounds of all positions, over
    all domains, as `min` and `max` of `positions`.

    Raises
    ------
    ArgumentError
        The path has another suffix, or its directory does not exist.
    StorageError
        The file cannot be written.
    """
    file = output_path(path)
    document: Mapping[str, Figures | list[float]]
    if flat:
        document = statistics_to_dict(stats, flat=True)
    else:
        document = _with_bounds(statistics_to_dict(stats), position_bounds(stats))
    is_json = file.suffix.lower() in _JSON
    text = json.dumps(document, indent=2, allow_nan=False) + "\n" if is_json else _yaml(document)
    target = file.resolve()  # a symbolic link stays, and its target is replaced
    open_storage(target.parent).write(target.name, text.encode())


def _with_bounds(
    document: dict[str, Figures], bounds: tuple[NDArray[np.float64], NDArray[np.float64]] | None
) -> dict[str, Figures]:
    if bounds is None:
        return document
    return document | {_POSITIONS: {"min": _finite_or_none(bounds[0]), "max": _finite_or_none(bounds[1])}}


def load_statistics(path: str | os.PathLike[str]) -> StoreStatistics:
    """Read statistics from a ``.json`` file that `save_statistics` wrote.

    Raises
    ------
    ArgumentError
        The file cannot be read, or `save_statistics` did not write it.
    """
    file = Path(path)
    if file.suffix.lower() in _YAML:
        raise ArgumentError(f"{file}: expected a .json file, got YAML; use the .json file of the same statistics")
    try:
        return statistics_from_dict(json.loads(file.read_bytes()))
    except OSError as error:
        raise ArgumentError(f"{file}: cannot be read ({error.strerror}); check the path") from error
    except ArgumentError as error:
        raise ArgumentError(f"{file}: {error}") from error
    except ValueError as error:
        raise ArgumentError(f"{file}: not valid JSON ({error}); use a file that noether-zarr stats wrote") from error


def _array(figures: list[float | None]) -> NDArray[np.float64]:
    return np.array(figures, np.float64)  # None becomes NaN


def _finite_or_none(figures: NDArray[np.float64]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in figures.tolist()]


def _yaml(document: Mapping[str, Figures | list[float]]) -> str:
    """Return a document of one or two levels as YAML. A form this simple needs no library."""
    lines = []
    for name, figures in document.items():
        if isinstance(figures, list):
            lines.append(f"{_yaml_key(name)}: {_yaml_value(figures)}")
        else:
            lines.append(f"{_yaml_key(name)}:")
            lines += [f"  {key}: {_yaml_value(value)}" for key, value in figures.items()]
    return "\n".join(lines) + "\n"


def _yaml_value(value: int | Sequence[float | None]) -> str:
    return str(value) if isinstance(value, int) else f"[{', '.join(map(_yaml_number, value))}]"


def _yaml_key(name: str) -> str:
    return name if name.isidentifier() and name.isascii() else json.dumps(name)


def _yaml_number(value: float | None) -> str:
    if value is None:
        return "null"
    # In YAML 1.1, which PyYAML reads, 1e-05 is text and 1.0e-05 is a number.
    mantissa, exponent, power = repr(value).partition("e")
    return mantissa + (".0" if exponent and "." not in mantissa else "") + exponent + power
