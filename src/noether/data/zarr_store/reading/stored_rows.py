"""The stored rows of one field, batch by batch, for a caller that has its own manifest."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from numpy.typing import NDArray

from noether.data.zarr_store.layout import ArrayLayout
from noether.data.zarr_store.manifest import StoreManifest
from noether.data.zarr_store.reading.fetch import Fetcher
from noether.data.zarr_store.reading.iteration import iter_batches, plan_batches
from noether.data.zarr_store.reading.result_dtypes import ResultDtypes

__all__ = ["iter_stored_rows"]

_BATCH_POINTS = 1 << 16


def iter_stored_rows(
    root: str,
    manifest: StoreManifest,
    sample_id: str,
    domain: str,
    layout: ArrayLayout,
    *,
    concurrency: int,
    storage_options: Mapping[str, Any],
) -> Generator[tuple[range, NDArray[Any]]]:
    """Yield the row numbers and the values of one field, batch by batch, in stored order.

    The values have the stored dtype, and shape ``(n, width)``.

    Parameters
    ----------
    root : str
        Path or URL of the store.
    manifest : StoreManifest
        A manifest that has the sample and the field.
    sample_id, domain : str
        Id of the sample, and name of the domain.
    layout : ArrayLayout
        The field.
    concurrency : int
        Maximum number of requests in flight.
    storage_options : mapping
        Options of the file system; see `stores.open_storage`.

    Raises
    ------
    CorruptDataError
        The bytes in the store are damaged.
    StorageError
        The store cannot be reached.
    """
    fetcher = Fetcher(root, manifest, storage_options, None, concurrency, verify=True)
    grids = {domain: manifest.sample(sample_id).domains[domain].grid}
    batches = plan_batches(sample_id, grids, {domain: [layout]}, _BATCH_POINTS, manifest.domains)
    for batch in iter_batches(fetcher, batches, ResultDtypes.of(None, manifest.domains)):
        yield batch.rows, batch.fields[layout.field].reshape(len(batch.rows), layout.dim)
