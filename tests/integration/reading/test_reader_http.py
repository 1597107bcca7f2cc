"""A store on a plain web server is read by byte ranges, as in other storages."""

from __future__ import annotations

import numpy as np
import pytest

from noether.data.zarr_store import ZarrChunkReader, ZarrStoreWriter
from noether.data.zarr_store.reading import write_chunk_index
from support.ahmed import AHMED_FILEMAP, load_run
from support.s3_server import S3Server

pytestmark = pytest.mark.s3


@pytest.mark.parametrize("indexed", [False, True], ids=["without a chunk index", "with a chunk index"])
def test_a_store_on_the_web_has_the_draws_of_object_storage(s3_server: S3Server, indexed: bool) -> None:
    place = f"{s3_server.bucket}/on-the-web-{indexed}"
    root, options = f"s3://{place}", s3_server.obstore_options
    writer = ZarrStoreWriter(root, AHMED_FILEMAP, "ahmed", chunk_points=512, storage_options=options)
    writer.write_sample("run_1", load_run("run_1"))
    writer.save_manifest()
    if indexed:
        write_chunk_index(root, storage_options=options)
    # SeaweedFS answers unsigned requests, as a web server does.
    web = ZarrChunkReader(f"{s3_server.endpoint}/{place}", storage_options={"client_options": {"allow_http": True}})
    stored = ZarrChunkReader(root, storage_options=options)
    for seed in range(3):
        drawn = web.read_arrays("run_1", {"volume": 1000}, seed)
        for field, values in stored.read_arrays("run_1", {"volume": 1000}, seed).items():
            np.testing.assert_array_equal(drawn[field], values, strict=True)
