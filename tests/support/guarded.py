"""Memory that ends the process where it is touched out of bounds, and processes that use it."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys

import numpy as np

__all__ = ["GuardedBytes", "run_fuzzer"]


class GuardedBytes:
    """Bytes up to the first that may not be touched."""

    def __init__(self, n_bytes: int) -> None:
        page = mmap.PAGESIZE
        n_pages = -(-n_bytes // page)
        self._mapped = mmap.mmap(-1, (n_pages + 2) * page)
        whole = np.frombuffer(self._mapped, np.uint8)
        for guard in (0, (n_pages + 1) * page):
            if ctypes.CDLL(None).mprotect(ctypes.c_void_p(whole.ctypes.data + guard), page, 0):
                raise OSError("mprotect failed")
        self.at_start = whole[page : page + n_bytes]
        self.at_end = whole[(n_pages + 1) * page - n_bytes : (n_pages + 1) * page]


def run_fuzzer(module: str, seed: int, count: int) -> tuple[int, int]:
    """Run a module that touches guarded memory in a process of its own; return how many it did and refused.

    A crash fails the test that asks for it, and no other.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, str(seed), str(count)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    n_done, n_refused = map(int, done.stdout.split())
    return n_done, n_refused
