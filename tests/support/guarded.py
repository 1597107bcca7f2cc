"""Memory whose bounds are protected: access out of bounds kills the process; and processes that use such memory."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys

import numpy as np

__all__ = ["GuardedBytes", "run_fuzzer"]


class GuardedBytes:
    """Memory between two protected pages; `at_start` and `at_end` are its bytes next to these pages."""

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
    """Run a module that uses guarded memory in a new process; return the numbers of successes and refusals.

    A crash fails only the test that calls this.
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
