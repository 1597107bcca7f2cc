"""Who does the work: processes of this machine, which may crash, hang or be killed, or those of a Dask cluster.

Both are executors as in `concurrent.futures`. A callable that is submitted many times goes to each process once, so it
may be large: a source that knows a million files, say.
"""

from noether.data.zarr_store.convert.executors.dask_cluster import DaskExecutor
from noether.data.zarr_store.convert.executors.processes import ProcessExecutor

__all__ = ["DaskExecutor", "ProcessExecutor"]
