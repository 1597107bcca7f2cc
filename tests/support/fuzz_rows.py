"""Calls functions on rows with correct and wrong sizes; the memory on both sides of all buffers is protected.

Run it as a module with a seed and a number of calls, because it can crash its process. It prints the numbers of calls
that succeeded and that were refused.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from noether.data.zarr_store.codec import native
from support.guarded import GuardedBytes

MAX_BYTES = 1 << 17
SIZES = [1, 2, 3, 4, 8, 255, 1_024, 1_025, 4_096]


class Memory:
    """Buffers of any size at the edges of guarded memory."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._largest = [GuardedBytes(MAX_BYTES) for _ in range(7)]

    def take(self, number: int, n_bytes: int) -> NDArray[np.uint8]:
        """Return `n_bytes` random bytes that end or begin at protected memory."""
        n_bytes = min(n_bytes, MAX_BYTES)
        whole = self._largest[number]
        part = whole.at_end[MAX_BYTES - n_bytes :] if self._rng.integers(4) else whole.at_start[:n_bytes]
        part[:] = self._rng.integers(256, size=n_bytes)
        return part


def size_of(rng: np.random.Generator) -> int:
    return int(rng.choice(SIZES)) + int(rng.integers(-1, 2))


def nearly(rng: np.random.Generator, right: int) -> int:
    """Return the right number, or another number with a probability of 20 %."""
    return right if rng.integers(5) else int(rng.choice([0, 1, right - 1, right + 1, 2 * right, 2**31, 2**63 - 1, -1]))


def scatter(memory: Memory, rng: np.random.Generator) -> None:
    n_rows, width, itemsize = size_of(rng), int(rng.integers(1, 5)), int(rng.choice([2, 4, 8]))
    narrow, n_buckets = bool(rng.integers(2)), size_of(rng)
    values = memory.take(0, max(nearly(rng, n_rows * width * itemsize * (2 if narrow else 1)) % MAX_BYTES, 0))
    buckets = memory.take(1, 2 * n_rows)
    if rng.integers(5):
        buckets.view("<u2")[:] = rng.integers(max(n_buckets, 1), size=n_rows)
    out, counts = memory.take(2, nearly(rng, n_rows * width * itemsize) % MAX_BYTES), memory.take(3, 8 * n_buckets)
    assert native.scatter is not None
    native.scatter(values, buckets, out, counts, itemsize=nearly(rng, itemsize), narrow=narrow)


def hash_order(memory: Memory, rng: np.random.Generator) -> None:
    n_rows, has_rows = size_of(rng), bool(rng.integers(2))
    out, rows = memory.take(0, 8 * n_rows), memory.take(1, nearly(rng, 4 * n_rows) % MAX_BYTES)
    keys = {"first_key": int(rng.integers(2**63)), "second_key": int(rng.integers(2**63))}
    assert native.hash_order is not None
    same_bits = nearly(rng, int(rng.integers(17)))
    native.hash_order(out, rows=rows if has_rows else None, same_bits=same_bits, threads=nearly(rng, 3), **keys)


def hash_buckets(memory: Memory, rng: np.random.Generator) -> None:
    keys = {"first_key": int(rng.integers(2**63)), "second_key": int(rng.integers(2**63))}
    out, bits = memory.take(0, nearly(rng, 2 * size_of(rng)) % MAX_BYTES), nearly(rng, int(rng.integers(17)))
    assert native.hash_buckets is not None
    native.hash_buckets(out, first_row=int(rng.integers(2**62)), bits=bits, **keys)


def measure_loss(memory: Memory, rng: np.random.Generator) -> None:
    itemsize = int(rng.choice([4, 8]))
    values = memory.take(0, nearly(rng, itemsize * size_of(rng)) % MAX_BYTES)
    values.view(np.uint8)[3::4] = 0x3F  # most of them finite
    assert native.measure_loss is not None
    native.measure_loss(values, itemsize=nearly(rng, itemsize), stored_itemsize=nearly(rng, itemsize // 2))


def encode(memory: Memory, rng: np.random.Generator) -> None:
    n_rows, width, itemsize, narrow = (
        size_of(rng),
        int(rng.integers(1, 5)),
        int(rng.choice([2, 4, 8])),
        bool(rng.integers(2)),
    )
    chunk_rows = max(int(rng.integers(1, 600)), -(-128 // width))
    values = memory.take(0, n_rows * width * itemsize * (2 if narrow else 1))
    order = memory.take(1, 8 * chunk_rows * int(rng.integers(1, 4)))
    if rng.integers(5) and len(order) % 8 == 0:
        order.view("<i8")[:] = rng.integers(max(n_rows, 1), size=len(order) // 8)
    n_bytes = chunk_rows * width * itemsize
    assert native.encode is not None
    native.encode(
        values,
        order if rng.integers(3) else None,
        chunk_rows=nearly(rng, chunk_rows),
        width=nearly(rng, width),
        itemsize=itemsize,
        narrow=narrow,
        block_bytes=nearly(rng, min(n_bytes, 1 << 13)),
        level=int(rng.integers(3)),
        checksum=bool(rng.integers(2)),
        stored_header=bytes(nearly(rng, 16) % 32),
    )


def mesh_of(memory: Memory, rng: np.random.Generator) -> tuple[list[NDArray[np.uint8]], int, int]:
    """Return the buffers of a mesh, mostly valid; its number of cells; and the bytes of a coordinate.

    The buffers are points, types, offsets and connectivity.
    """
    n_points, n_cells, itemsize = size_of(rng) % 600 + 8, size_of(rng) % 600, int(rng.choice([4, 8]))
    points = memory.take(0, nearly(rng, 3 * n_points * itemsize) % MAX_BYTES)
    types = memory.take(1, n_cells)
    types[:] = rng.choice([3, 5, 7, 8, 9, 10, 11, 12, 13, 14, 42], size=n_cells)
    sizes = np.array([{10: 4, 11: 8, 12: 8, 13: 6, 14: 5}.get(int(kind), 4) for kind in types], np.int64)
    if n_cells and rng.integers(3) == 0:
        sizes[rng.integers(n_cells)] += int(rng.integers(-3, 4))
    ends = np.concatenate([[0], np.cumsum(sizes)])
    offsets = memory.take(2, nearly(rng, 8 * (n_cells + 1)) % MAX_BYTES // 8 * 8)
    offsets.view(np.int64)[:] = np.resize(ends, len(offsets) // 8)
    connectivity = memory.take(3, nearly(rng, 8 * int(ends[-1])) % MAX_BYTES // 8 * 8)
    connectivity.view(np.int64)[:] = rng.integers(n_points, size=len(connectivity) // 8)
    if len(connectivity) and rng.integers(3) == 0:
        connectivity.view(np.int64)[rng.integers(len(connectivity) // 8)] = rng.choice([-1, n_points, 2**62, -(2**62)])
    return [points, types, offsets, connectivity], n_cells, itemsize


def require_sound(unsound: int | None) -> None:
    if unsound is not None:
        raise ValueError(f"cell {unsound} is not sound")


def cell_centers(memory: Memory, rng: np.random.Generator) -> None:
    mesh, n_cells, itemsize = mesh_of(memory, rng)
    polyhedra = None
    if rng.integers(2):  # each cell has four faces, whose corners are the points of cells
        ids, ends = memory.take(4, 32 * n_cells), memory.take(5, 8 * (n_cells + 1))
        ids.view(np.int64)[:] = rng.integers(-1 if rng.integers(4) == 0 else 0, n_cells + 1, size=4 * n_cells)
        ends.view(np.int64)[:] = 4 * np.arange(n_cells + 1)
        polyhedra = (ends, ids, mesh[2], mesh[3])
    start = int(rng.integers(n_cells + 1))
    out = memory.take(6, nearly(rng, 3 * itemsize * (n_cells - start)) % MAX_BYTES)
    sizes = {"start": nearly(rng, start), "stop": nearly(rng, n_cells), "itemsize": nearly(rng, itemsize)}
    assert native.cell_centers is not None
    require_sound(native.cell_centers(mesh[0], mesh[1], mesh[2], mesh[3], polyhedra, out, **sizes))


def face_vectors(memory: Memory, rng: np.random.Generator) -> None:
    mesh, n_cells, itemsize = mesh_of(memory, rng)
    centers, vectors = (memory.take(number, nearly(rng, 24 * n_cells) % MAX_BYTES) for number in (4, 5))
    sizes = {"start": 0, "stop": nearly(rng, n_cells), "itemsize": itemsize}
    assert native.face_vectors is not None
    require_sound(native.face_vectors(mesh[0], mesh[1], mesh[2], mesh[3], centers, vectors, **sizes))


def main(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    memory = Memory(rng)
    calls: list[Callable[[Memory, np.random.Generator], None]] = [
        scatter,
        hash_order,
        hash_buckets,
        measure_loss,
        encode,
        cell_centers,
        face_vectors,
    ]
    done = 0
    for number in range(count):
        try:
            calls[number % len(calls)](memory, rng)
            done += 1
        except (ValueError, IndexError, OverflowError, MemoryError):
            pass
    print(done, count - done)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
