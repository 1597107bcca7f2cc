"""Executors for conversions: worker processes on this machine, or the workers of a Dask cluster.

Both have the interface of `concurrent.futures`, and survive workers that crash, hang or are killed. A callable that is
submitted many times is sent to each process once, so it may be large, such as a source with a million file names.
"""

from noether.data.zarr_store.convert.executors.dask_cluster import DaskExecutor
from noether.data.zarr_store.convert.executors.processes import ProcessExecutor

__all__ = ["DaskExecutor", "ProcessExecutor"]
