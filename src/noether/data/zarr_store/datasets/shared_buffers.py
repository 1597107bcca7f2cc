"""Shared memory for batches, which workers reuse.

PyTorch allocates new shared memory for every batch. The system must then find and zero its pages, and map them in the
worker and in the main process. For a batch of a few megabytes, this takes longer than the read. Here, a block of memory
is free for the next batch once its last tensor is deleted in the worker and in the main process.
"""

from __future__ import annotations

import mmap
import os
import secrets
import weakref
from collections.abc import Sequence
from multiprocessing import parent_process
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

from noether.data.zarr_store.datasets.ragged_batch import RaggedBatch

__all__ = ["ALIGNMENT", "MIN_SHARED_BYTES", "WorkerBatch", "allocate", "as_batch", "is_plain", "recycled"]

# A block begins with a header page: the token of the block, and a flag that is set while the main process uses it.
_HEADER_BYTES = mmap.PAGESIZE
_TOKEN_BYTES = 16
_AT_MAIN_PROCESS = _TOKEN_BYTES
# The alignment of PyTorch's own allocations.
ALIGNMENT = 64
# Smaller tensors are sent as bytes.
MIN_SHARED_BYTES = 1 << 16
# Maximum number of free blocks to keep, in addition to the block of the next batch. Without a limit, many would stay
# after the main process fell behind and caught up, as would blocks that are too small for most batches.
_MAX_SPARE = 2
# Larger free blocks are not kept: a block of whole samples may take gigabytes.
_MAX_SPARE_BYTES = 256 << 20

Bytes = NDArray[np.uint8]


class _Block:
    """A block of anonymous memory. The system frees it when no process has it mapped or open."""

    def __init__(self, n_bytes: int) -> None:
        self.fd = os.memfd_create("noether-batch", os.MFD_CLOEXEC)
        weakref.finalize(self, os.close, self.fd)
        os.ftruncate(self.fd, _HEADER_BYTES + n_bytes)
        self._memory = mmap.mmap(self.fd, _HEADER_BYTES + n_bytes)
        self.n_bytes = n_bytes
        self.token = secrets.token_bytes(_TOKEN_BYTES)
        self._memory[:_TOKEN_BYTES] = self.token
        self.start = np.frombuffer(self._memory, np.uint8, offset=_HEADER_BYTES).ctypes.data
        self._lease: weakref.ref[Bytes] | None = None

    def is_free(self) -> bool:
        return self.leased() is None and not self._memory[_AT_MAIN_PROCESS]

    def lease(self, n_bytes: int) -> Bytes:
        """Return an array of the memory for a batch. The block is in use until the array and all its views are gone."""
        array = np.frombuffer(self._memory, np.uint8, n_bytes, _HEADER_BYTES)
        self._lease = weakref.ref(array)
        return array

    def leased(self) -> Bytes | None:
        """Return the array of the batch that uses this memory; None if no batch uses it."""
        return None if self._lease is None else self._lease()

    def hand_over(self) -> bool:
        """Mark the memory as used until the main process releases it; return False if that process uses it now."""
        if self._memory[_AT_MAIN_PROCESS]:
            return False
        self._memory[_AT_MAIN_PROCESS] = 1
        return True


class _Blocks:
    """The blocks of a worker."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.can_be_sent = _can_be_opened_by_main_process()
        self._blocks: list[_Block] = []
        self._lock = Lock()

    def lease(self, n_bytes: int) -> Bytes:
        """Return memory that no batch uses."""
        with self._lock:
            free = [block for block in self._blocks if block.is_free()]
            fitting = [block for block in free if block.n_bytes >= n_bytes]
            block = min(fitting, key=lambda one: one.n_bytes) if fitting else _Block(n_bytes)
            spare = [one for one in free if one is not block and one.n_bytes <= _MAX_SPARE_BYTES]
            spare = sorted(spare, key=lambda one: one.n_bytes)[-_MAX_SPARE:]
            self._blocks = [one for one in self._blocks if one not in free] + spare + [block]
            return block.lease(n_bytes)

    def around(self, start: int, stop: int) -> tuple[_Block, Bytes] | None:
        """Return the block that contains these addresses, and the array of its batch; None if there is no block."""
        for block in self._blocks:
            array = block.leased()
            if array is not None and block.start <= start and stop <= block.start + len(array):
                return block, array
        return None


def _can_be_opened_by_main_process() -> bool:
    """Return whether the main process can open memory of this process, as on Linux unless a sandbox forbids it.

    The function tries two operations that need the same rights: to list the open files of the main process, and to open
    memory of this process by its path. See proc_pid_fd(5).
    """
    main = parent_process()
    if main is None or not hasattr(os, "memfd_create"):
        return False
    try:
        fd = os.memfd_create("noether-test", os.MFD_CLOEXEC)
        try:
            os.close(os.open(_path_of(os.getpid(), fd), os.O_RDWR | os.O_CLOEXEC))
        finally:
            os.close(fd)
        return any(Path(f"/proc/{main.pid}/fd").iterdir())
    except OSError:
        return False


def _path_of(pid: int, fd: int) -> str:
    """Return a path of an open file of a process."""
    return f"/proc/{pid}/fd/{fd}"


# The blocks of this process. A process that is forked from it makes its own.
_own: _Blocks | None = None


def _blocks() -> _Blocks:
    global _own
    if _own is None or _own.pid != os.getpid():
        _own = _Blocks()
    return _own


def allocate(sizes: Sequence[int]) -> list[Bytes]:
    """Return buffers for the arrays of a batch; in a worker of a loader, contiguous in recycled memory.

    Parameters
    ----------
    sizes : sequence of int
        Size of each buffer in bytes.

    Raises
    ------
    MemoryError
        The buffers do not fit in memory.
    """
    starts = np.cumsum([0, *(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)]).tolist()
    try:
        if starts[-1] < MIN_SHARED_BYTES or get_worker_info() is None or not _blocks().can_be_sent:
            return [np.empty(size, np.uint8) for size in sizes]
        memory = _blocks().lease(starts[-1])
    except (OSError, OverflowError, ValueError) as error:  # errors of the system, Python and NumPy for very large sizes
        raise MemoryError(str(error)) from error
    return [memory[start : start + size] for start, size in zip(starts[:-1], sizes, strict=True)]


def recycled(start: int, stop: int) -> torch.Tensor | None:
    """Return a range of addresses as a tensor of uint8; None if it is not within one block of `allocate`."""
    found = _blocks().around(start, stop)
    if found is None:
        return None
    block, memory = found
    return torch.from_numpy(memory[start - block.start : stop - block.start])


class WorkerBatch(dict[str, Any]):
    """A batch pickled as a dict whose shared buffers are passed by reference."""


class _Sent(NamedTuple):
    """A reference to a block that is sent to the main process."""

    pid: int
    fd: int
    token: bytes
    n_bytes: int


class _Placed(NamedTuple):
    """A reference to a tensor in a block that is sent."""

    block: int
    start: int
    shape: torch.Size
    dtype: torch.dtype


class _Copied(NamedTuple):
    """A tensor that is sent as bytes."""

    content: bytearray
    shape: torch.Size
    dtype: torch.dtype


def _reduce(batch: WorkerBatch) -> tuple[Any, ...]:
    sent: dict[int, _Sent] = {}  # by the address of its memory
    content = _pack(dict(batch), sent)
    return _receive, (content, list(sent.values()))


ForkingPickler.register(WorkerBatch, _reduce)


# These two functions are not inner functions: a recursive inner function is a reference cycle, which would keep a batch
# in memory until the garbage collector runs.
def _pack(value: Any, sent: dict[int, _Sent]) -> Any:
    """Replace the tensors of a batch by references or bytes."""
    if type(value) is dict:
        return {key: _pack(item, sent) for key, item in value.items()}
    if type(value) is torch.Tensor:  # PyTorch 2.13 would send the bytes without the conj and neg flags
        value = value.resolve_conj().resolve_neg()
    if not is_plain(value):
        return value
    start, n_bytes = value.data_ptr(), value.numel() * value.element_size()
    found = _blocks().around(start, start + n_bytes)
    if found is not None:
        block, memory = found
        if block.start not in sent and block.hand_over():
            sent[block.start] = _Sent(os.getpid(), block.fd, block.token, len(memory))
        if block.start in sent:
            return _Placed(list(sent).index(block.start), start - block.start, value.shape, value.dtype)
    if n_bytes < MIN_SHARED_BYTES and not value.is_shared():
        return _Copied(bytearray(value.reshape(-1).view(torch.uint8).numpy()), value.shape, value.dtype)
    return value


def _unpack(value: Any, blocks: Sequence[torch.Tensor]) -> Any:
    """Undo `_pack`, with the memory of the blocks that were sent."""
    if type(value) is dict:
        return {key: _unpack(item, blocks) for key, item in value.items()}
    if isinstance(value, _Copied):
        flat = torch.frombuffer(value.content, dtype=torch.uint8) if value.content else torch.empty(0)
        return flat.view(value.dtype).view(value.shape)
    if isinstance(value, _Placed):
        n_bytes = value.shape.numel() * value.dtype.itemsize
        return blocks[value.block][value.start : value.start + n_bytes].view(value.dtype).view(value.shape)
    return value


def is_plain(value: Any) -> bool:
    """Return whether a value is a tensor that its bytes, shape and dtype describe completely."""
    return (
        type(value) is torch.Tensor
        and value.device.type == "cpu"
        and value.layout == torch.strided
        and value.is_contiguous()
        and not (value.requires_grad or value.is_quantized or value.is_conj() or value.is_neg())
    )


def _receive(content: dict[str, Any], sent: Sequence[_Sent]) -> dict[str, Any]:
    """Rebuild the batch in the main process."""
    received: dict[str, Any] = _unpack(content, [torch.from_numpy(_map(one)) for one in sent])
    return as_batch(received)


def as_batch(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a batch as a `RaggedBatch` if it has offsets, else as a dict."""
    return RaggedBatch(content) if "offsets" in content else dict(content)


def _map(sent: _Sent) -> Bytes:
    """Map a block of a worker. The block returns to the worker when the array and all its views are gone."""
    fd = os.open(_path_of(sent.pid, sent.fd), os.O_RDWR | os.O_CLOEXEC)
    try:
        # Map all pages at once: it is slower to map each page on its first access.
        memory = mmap.mmap(fd, _HEADER_BYTES + sent.n_bytes, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
    finally:
        os.close(fd)
    if memory[:_TOKEN_BYTES] != sent.token:
        raise RuntimeError(
            f"worker process {sent.pid} ended before the main process took its batch; restart the loader"
        )
    array = np.frombuffer(memory, np.uint8, sent.n_bytes, _HEADER_BYTES)
    weakref.finalize(array, _release, memory, os.getpid()).atexit = False
    return array


def _release(memory: mmap.mmap, pid: int) -> None:
    # A forked process deletes its copies of the tensors when it ends, but this process may still use them.
    if pid == os.getpid():
        memory[_AT_MAIN_PROCESS] = 0
