"""Pictures of a sample: its points, seen from one side and coloured by a field."""

from noether.data.zarr_store.plotting.drawn_points import Axis, Component
from noether.data.zarr_store.plotting.picture import draw_sample, plot_sample
from noether.data.zarr_store.plotting.views import VIEWS

__all__ = ["VIEWS", "Axis", "Component", "draw_sample", "plot_sample"]
