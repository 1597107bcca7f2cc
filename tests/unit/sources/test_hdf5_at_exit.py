"""A process exits cleanly while HDF5 holds a stream. Without care, HDF5 would call Python after Python has ended."""

from __future__ import annotations

import subprocess
import sys

import pytest

# A reference that is never dropped, as in a cycle that Python does not collect before it ends.
STILL_OPEN = """
import ctypes, io, h5py
from noether.data.zarr_store.sources.hdf5 import open_hdf5
data = io.BytesIO()
with h5py.File(data, "w") as file:
    file["values"] = [1.0, 2.0]
array = open_hdf5(data, "here")["values"]
ctypes.pythonapi.Py_IncRef(ctypes.py_object(array))
"""
VANISHED = """
from noether.data.zarr_store.errors import StorageError
from noether.data.zarr_store.sources.hdf5 import open_hdf5
from noether.data.zarr_store.sources.range_reader import streamed
from noether.data.zarr_store.stores import open_storage
storage = open_storage("memory://bucket")
storage.write("a.h5", bytes(5_000))
[item] = storage.objects()
storage.delete(["a.h5"])
try:
    with streamed(storage, item) as stream:
        open_hdf5(stream, "here")
except StorageError:
    pass
else:
    raise SystemExit("expected an error")
"""


@pytest.mark.parametrize("program", [STILL_OPEN, VANISHED], ids=["still open", "vanished"])
def test_an_open_stream_does_not_crash_the_exit(program: str) -> None:
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
