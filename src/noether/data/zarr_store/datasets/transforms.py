"""Normalization of fields and its inverse, as transforms of a dataset's items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.errors import ArgumentError, MissingDependencyError, UnknownNameError, nearest_names
from noether.data.zarr_store.sampling import Draw
from noether.data.zarr_store.statistics import RunningStats, is_position, position_bounds

try:
    import torch
except ImportError as error:
    raise MissingDependencyError("torch", "normalizing tensors", "torch") from error

__all__ = ["Normalize"]


@dataclass(frozen=True, slots=True)
class _Scale:
    """The scale of one field: ``(x - offset) / size``, with ``sign(x) log(1 + |x|)`` in place of x if `is_log`."""

    offset: NDArray[np.float64]
    size: NDArray[np.float64]
    is_log: bool = False

    def apply(self, values: torch.Tensor) -> torch.Tensor:
        scaled = torch.sign(values) * torch.log1p(torch.abs(values)) if self.is_log else values
        return (scaled - _like(values, self.offset)) / _like(values, self.size)

    def undo(self, values: torch.Tensor) -> torch.Tensor:
        scaled = values * _like(values, self.size) + _like(values, self.offset)
        return torch.sign(scaled) * torch.expm1(torch.abs(scaled)) if self.is_log else scaled


class Normalize:
    """Normalizes the fields of an item; `inverse` restores them, or predictions of them, to their original scale.

    Values become ``(x - mean) / std``. Positions are scaled by their bounds over all domains together, so that points
    of different domains keep their relative places. A constant field becomes 0, or the lower end of `position_range`.

    Parameters
    ----------
    stats : mapping of str to RunningStats
        Statistics by canonical field name, from `calculate_store_statistics` or `load_statistics`.
    log_scale : iterable of str
        Fields that become ``(y - logmean) / logstd`` of ``y = sign(x) log(1 + |x|)``, for values of many magnitudes.
    position_range : (float, float) or None
        Target range of the bounds of the positions, for each axis. With None, positions are scaled like other values.
    draws : mapping of str to Draw or str
        The named draws of the dataset, or the domain of each. The draw ``query`` of ``volume`` has the fields of
        ``volume`` under other names, such as ``query_velocity``. The inverse probabilities of a `Draw` are kept.
    keep : iterable of str
        Names of floating-point tensors without statistics, which are passed on unchanged. Any other floating-point
        tensor without statistics is an error, so that no field stays unnormalized by mistake.

    Raises
    ------
    UnknownNameError
        The statistics lack a field of `log_scale`, or have no field of a domain in `draws`.
    ArgumentError
        `position_range` is not a range, the statistics are estimates and so have no bounds of positions, or a field has
        no finite value.
    MissingDependencyError
        PyTorch is not installed. The import of this module raises this error.

    Notes
    -----
    The inverse restores normalized values up to the rounding of their dtype. The error is relative to the value and to
    the mean or the bounds of its field. On the log scale, ``exp`` magnifies it: it is relative to ``log(1 + |x|)``
    times the value.
    """

    def __init__(
        self,
        stats: Mapping[str, RunningStats],
        *,
        log_scale: Iterable[str] = (),
        position_range: tuple[float, float] | None = (0.0, 1.0),
        draws: Mapping[str, Draw | str] | None = None,
        keep: Iterable[str] = (),
    ) -> None:
        on_log_scale = frozenset(log_scale)
        for field in sorted(on_log_scale - stats.keys()):
            raise UnknownNameError(f"log_scale: the statistics have no field {field!r}; {nearest_names(field, stats)}")
        by_bounds = None if position_range is None else _scale_of_positions(stats, position_range)
        self._scales: dict[str, _Scale] = {}
        for field, one in stats.items():
            if field in on_log_scale:
                self._scales[field] = _scale_of_values(field, one.logmean, one.logstd, is_log=True)
            elif by_bounds is not None and is_position(field):
                self._scales[field] = by_bounds
            else:
                self._scales[field] = _scale_of_values(field, one.mean, one.std)
        for name, draw in (draws or {}).items():
            self._add_draw(name, draw.domain if isinstance(draw, Draw) else draw)
        inverse_names = [f"{name}_weight" for name, draw in (draws or {}).items() if _has_inverse(draw)]
        self._keep = frozenset(keep).union(inverse_names)

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Return a normalized item or batch.

        Parameters
        ----------
        item : mapping
            Tensors by name, of shape ``(…, width)``, or ``(…)`` for scalars. All values except floating-point tensors
            are passed on unchanged.

        Returns
        -------
        dict
            A new dict. Tensors keep their device. float64 stays float64, and all other floating-point dtypes become
            float32.

        Raises
        ------
        UnknownNameError
            A floating-point tensor has no statistics, and is not in `keep`.
        ArgumentError
            A tensor has another width than its statistics.
        """
        return self._map(item, _Scale.apply)

    def inverse(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Return an item, a batch, or predictions under the names of their fields, without the normalization.

        Parameters, result and errors are those of `__call__`.
        """
        return self._map(item, _Scale.undo)

    def _map(self, item: Mapping[str, Any], change: Callable[[_Scale, torch.Tensor], torch.Tensor]) -> dict[str, Any]:
        return {
            name: change(self._scale(name, value), value)
            if isinstance(value, torch.Tensor) and value.is_floating_point() and name not in self._keep
            else value
            for name, value in item.items()
        }

    def _scale(self, name: str, values: torch.Tensor) -> _Scale:
        scale = self._scales.get(name)
        if scale is None:
            raise UnknownNameError(
                f"there are no statistics of {name!r} ({nearest_names(name, self._scales)}); if it is of a named draw, "
                f"pass the draw's domain, such as draws={{'geometry': 'surface'}}, or pass keep=[{name!r}] to leave it "
                "unchanged"
            )
        width = len(scale.offset)
        if width > 1 and values.shape[-1:] != (width,):
            raise ArgumentError(
                f"{name!r}: expected {width} components in the last dimension, got shape {tuple(values.shape)}"
            )
        return scale

    def _add_draw(self, name: str, domain: str) -> None:
        prefix = f"{domain}_"
        of_domain = {field.removeprefix(prefix): one for field, one in self._scales.items() if field.startswith(prefix)}
        if not of_domain:
            domains = {field.partition("_")[0] for field in self._scales}
            raise UnknownNameError(
                f"draws[{name!r}]: the statistics have no field of domain {domain!r}; {nearest_names(domain, domains)}"
            )
        self._scales |= {f"{name}_{rest}": scale for rest, scale in of_domain.items()}


def _has_inverse(draw: Draw | str) -> bool:
    return isinstance(draw, Draw) and draw.with_inverse


def _scale_of_values(field: str, mean: NDArray[np.float64], std: NDArray[np.float64], is_log: bool = False) -> _Scale:
    if not (np.isfinite(mean) & np.isfinite(std)).all():
        raise ArgumentError(
            f"field {field}: expected a finite mean and standard deviation, got {mean} and {std}; leave the field out"
        )
    return _Scale(mean, np.where(std == 0, 1.0, std), is_log)


def _scale_of_positions(stats: Mapping[str, RunningStats], position_range: tuple[float, float]) -> _Scale | None:
    low, high = position_range
    if not -np.inf < low < high < np.inf:
        raise ArgumentError(f"position_range: expected two numbers, the first below the second, got {position_range}")
    bounds = position_bounds(stats)
    if bounds is None:
        return None
    smallest, largest = bounds
    if not (np.isfinite(smallest) & np.isfinite(largest)).all():
        raise ArgumentError(
            "the statistics are estimates, which have no bounds of positions; compute the statistics of the positions "
            "without a tolerance, or pass position_range=None to scale positions like other values"
        )
    size = (largest - smallest) / (high - low)
    size = np.where(size == 0, 1.0, size)
    return _Scale(smallest - low * size, size)


def _like(values: torch.Tensor, constants: NDArray[np.float64]) -> torch.Tensor:
    dtype = torch.float64 if values.dtype == torch.float64 else torch.float32
    return torch.as_tensor(constants, dtype=dtype, device=values.device)
