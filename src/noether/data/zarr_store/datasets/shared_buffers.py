"""Shared memory for batches that workers use again.

PyTorch takes new shared memory for every batch. The system then has to find and zero its pages, and to map them in the
worker and in the main process: of a batch of a few megabytes that takes longer than to read it. Here a block of memory
is free for the next batch once the last tensor in it is gone, in the worker and in the main process.
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

# A block begins with a page that says whose it is and whether the main process has it.
_HEADER_BYTES = mmap.PAGESIZE
_TOKEN_BYTES = 16
_AT_MAIN_PROCESS = _TOKEN_BYTES
# As PyTorch aligns what it allocates itself.
ALIGNMENT = 64
# Tensors of fewer bytes are sent as they are.
MIN_SHARED_BYTES = 1 << 16
# Blocks that wait for a batch, besides the one that gets the next. Where the main process falls behind and catches up
# there may be many; and where batches differ in size, blocks that are too small for most.
_MAX_SPARE = 2
# Those of whole samples may be of gigabytes, which others need more.
_MAX_SPARE_BYTES = 256 << 20

Bytes = NDArray[np.uint8]


class _Block:
    """A piece of memory that has no name: it is gone when all who have mapped it are."""

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
        """Return the memory to a batch, until nothing refers to this array and what is made of it."""
        array = np.frombuffer(self._memory, np.uint8, n_bytes, _HEADER_BYTES)
        self._lease = weakref.ref(array)
        return array

    def leased(self) -> Bytes | None:
        """Return the array of the batch that has this memory now."""
        return None if self._lease is None else self._lease()

    def hand_over(self) -> bool:
        """Keep the memory until the main process gives it back; False where it has it already."""
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
        """Return memory that nobody uses."""
        with self._lock:
            free = [block for block in self._blocks if block.is_free()]
            fitting = [block for block in free if block.n_bytes >= n_bytes]
            block = min(fitting, key=lambda one: one.n_bytes) if fitting else _Block(n_bytes)
            spare = [one for one in free if one is not block and one.n_bytes <= _MAX_SPARE_BYTES]
            spare = sorted(spare, key=lambda one: one.n_bytes)[-_MAX_SPARE:]
            self._blocks = [one for one in self._blocks if one not in free] + spare + [block]
            return block.lease(n_bytes)

    def around(self, start: int, stop: int) -> tuple[_Block, Bytes] | None:
        """Find the block that holds these addresses, and the array of its batch."""
        for block in self._blocks:
            array = block.leased()
            if array is not None and block.start <= start and stop <= block.start + len(array):
                return block, array
        return None


def _can_be_opened_by_main_process() -> bool:
    """Say whether the main process can open memory of this one, as it can on Linux unless a sandbox forbids it.

    That takes the same rights as what is tried here: to look at what the main process has open, and to open memory of
    this process in the way that it does. See proc_pid_fd(5).
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
    """Return a path of what a process has open."""
    return f"/proc/{pid}/fd/{fd}"


# Of this process; one that is forked from it makes its own.
_own: _Blocks | None = None


def _blocks() -> _Blocks:
    global _own
    if _own is None or _own.pid != os.getpid():
        _own = _Blocks()
    return _own


def allocate(sizes: Sequence[int]) -> list[Bytes]:
    """Return memory for arrays that go into a batch: in a worker of a loader one behind the other, in recycled memory.

    Parameters
    ----------
    sizes : sequence of int
        The bytes of each.

    Raises
    ------
    MemoryError
        There is no memory for them.
    """
    starts = np.cumsum([0, *(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)]).tolist()
    try:
        if starts[-1] < MIN_SHARED_BYTES or get_worker_info() is None or not _blocks().can_be_sent:
            return [np.empty(size, np.uint8) for size in sizes]
        memory = _blocks().lease(starts[-1])
    except (OSError, OverflowError, ValueError) as error:  # what the system, Python and NumPy say of very large sizes
        raise MemoryError(str(error)) from error
    return [memory[start : start + size] for start, size in zip(starts[:-1], sizes, strict=True)]


def recycled(start: int, stop: int) -> torch.Tensor | None:
    """Return the tensor of uint8 that is this range of addresses; None where that is not in one piece of `allocate`."""
    found = _blocks().around(start, stop)
    if found is None:
        return None
    block, memory = found
    return torch.from_numpy(memory[start - block.start : stop - block.start])


class WorkerBatch(dict[str, Any]):
    """A batch that is sent to the main process as what it is, a dict, and its recycled memory as where that lies."""


class _Sent(NamedTuple):
    """A block that is sent."""

    pid: int
    fd: int
    token: bytes
    n_bytes: int


class _Placed(NamedTuple):
    """A tensor in a block that is sent."""

    block: int
    start: int
    shape: torch.Size
    dtype: torch.dtype


class _Copied(NamedTuple):
    """A tensor that is sent as its bytes."""

    content: bytearray
    shape: torch.Size
    dtype: torch.dtype


def _reduce(batch: WorkerBatch) -> tuple[Any, ...]:
    sent: dict[int, _Sent] = {}  # by the address of its memory
    content = _pack(dict(batch), sent)
    return _receive, (content, list(sent.values()))


ForkingPickler.register(WorkerBatch, _reduce)


# These two are no inner functions: one that calls itself is a cycle of references, which would keep a batch until
# Python looks for cycles.
def _pack(value: Any, sent: dict[int, _Sent]) -> Any:
    """Replace the tensors of a batch by what is sent of them."""
    if type(value) is dict:
        return {key: _pack(item, sent) for key, item in value.items()}
    if type(value) is torch.Tensor:  # PyTorch 2.13 sends the bytes, and forgets that others are meant
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
    """Undo `_pack`, with the memory of what was sent."""
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
    """Say whether a value is a tensor that is its bytes, shape and dtype, and no more."""
    return (
        type(value) is torch.Tensor
        and value.device.type == "cpu"
        and value.layout == torch.strided
        and value.is_contiguous()
        and not (value.requires_grad or value.is_quantized or value.is_conj() or value.is_neg())
    )


def _receive(content: dict[str, Any], sent: Sequence[_Sent]) -> dict[str, Any]:
    """Make the batch again, in the main process."""
    received: dict[str, Any] = _unpack(content, [torch.from_numpy(_map(one)) for one in sent])
    return as_batch(received)


def as_batch(content: dict[str, Any]) -> dict[str, Any]:
    """Return what a batch holds as what the main process gets of it: a dict, or a `RaggedBatch`."""
    return RaggedBatch(content) if "offsets" in content else dict(content)


def _map(sent: _Sent) -> Bytes:
    """Map a block of a worker; it goes back to it with the array and what is made of it."""
    fd = os.open(_path_of(sent.pid, sent.fd), os.O_RDWR | os.O_CLOEXEC)
    try:
        # All at once, since to map each page as it is touched takes longer.
        memory = mmap.mmap(fd, _HEADER_BYTES + sent.n_bytes, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
    finally:
        os.close(fd)
    if memory[:_TOKEN_BYTES] != sent.token:
        raise RuntimeError(f"worker process {sent.pid} has ended before its batch was taken")
    array = np.frombuffer(memory, np.uint8, sent.n_bytes, _HEADER_BYTES)
    weakref.finalize(array, _give_back, memory, os.getpid()).atexit = False
    return array


def _give_back(memory: mmap.mmap, pid: int) -> None:
    # A process that is forked from this one loses its copies of tensors when it ends, and this one has them still.
    if pid == os.getpid():
        memory[_AT_MAIN_PROCESS] = 0
