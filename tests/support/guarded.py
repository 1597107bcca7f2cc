"""Memory that ends the process where it is touched out of bounds."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

__all__ = ["GuardedBytes"]


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
