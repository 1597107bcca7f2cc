"""Decodes damaged chunks, with protected memory on both sides of every buffer and a limit on other memory.

Run it as a module with a seed and a number of chunks, because it can crash its process. It prints the numbers of
decoded and of refused chunks.
"""

from __future__ import annotations

import mmap
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from noether.data.zarr_store.codec.blosc_encoding import encode_frame
from noether.data.zarr_store.codec.shard import ChunkCodec
from noether.data.zarr_store.errors import CorruptDataError
from support.guarded import GuardedBytes

SLACK_BYTES = 64 << 20

Encoder = Callable[[NDArray[Any], np.random.Generator], bytes]


def damage(chunk: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Overwrite some bytes of a chunk: flags or a size in its header, the offset of a block, some bytes, or all."""
    body = len(chunk) - 16
    kind = rng.integers(5)
    if kind == 0:
        chunk[:4] = rng.integers(256, size=4)
    elif kind == 1:
        sizes = [0, 1, 15, 16, 2**31 - 1, 2**31, 2**32 - 1, int(rng.integers(2**32)), int(rng.integers(1, 9000))]
        at = int(rng.choice([4, 8, 8, 8, 12]))
        chunk[at : at + 4] = np.array([rng.choice(sizes)], "<u4").view(np.uint8)
    elif kind == 2:
        at = 16 + 4 * int(rng.integers(min(body // 4, 8)))
        chunk[at : at + 4] = rng.integers(256, size=4)
    elif kind == 3:
        at = 16 + int(rng.integers(body))
        chunk[at : at + int(rng.integers(1, 9))] ^= np.uint8(1 << rng.integers(8))
    else:
        chunk[16:] = rng.integers(256, size=body)


def decode_both_ways(codec: ChunkCodec, data: GuardedBytes, out: GuardedBytes, widened: GuardedBytes) -> bool:
    """Decode a chunk as a run and alone, to the end of guarded memory; return whether it is intact.

    They may disagree: releases of zstd make different things of the same damage.
    """
    shape = (codec.rows, codec.width)
    rows: NDArray[Any] = out.at_end.view(codec.dtype).reshape(shape)
    wide: NDArray[Any] = widened.at_end.view(np.float32).reshape(shape)
    if codec.can_decode_to(wide.dtype):
        codec.decode_run(data.at_end.data, [0, len(data.at_end)], wide)
        taken = ((0, 1), (codec.rows // 3, codec.rows // 2), (codec.rows - 7, codec.rows))
        few = wide[-sum(stop - first for first, stop in taken) :]
        codec.decode_run(data.at_end.data, [0, len(data.at_end)], few, rows=[taken])
    try:
        codec.decode_into(data.at_end.data, rows)
    except CorruptDataError:
        return False
    return True


def encoder_of_blosc(cname: str) -> Encoder:
    def encode(rows: NDArray[Any], rng: np.random.Generator) -> bytes:
        shuffle, block = int(rng.integers(3)), int(rng.choice([0, 4096]))
        return bytes(blosc.compress(rows, cname.encode(), 3, shuffle, block, rows.itemsize))

    return encode


def encode_in_streams(rows: NDArray[Any], _: np.random.Generator) -> bytes:
    return encode_frame(rows, 3)


def main(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    codecs = [ChunkCodec(np.dtype(dtype), 20_001, 3, checksum=False) for dtype in ("<f4", "<f2")]
    values = np.round(rng.normal(size=(20_001, 3)), 2)
    outs = [GuardedBytes(codec.n_bytes) for codec in codecs]
    widened = GuardedBytes(values.size * 4)
    decoded = 0
    limit = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE + SLACK_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    encoders = [*map(encoder_of_blosc, blosc.list_compressors()), encode_in_streams] * 2
    for encode in encoders:
        for codec, out in zip(codecs, outs, strict=True):
            valid = np.frombuffer(encode(values.astype(codec.dtype), rng), np.uint8)
            data = GuardedBytes(len(valid))
            for _ in range(count // (2 * len(encoders))):
                data.at_end[:] = valid
                damage(data.at_end, rng)
                decoded += decode_both_ways(codec, data, out, widened)
    print(decoded, count - decoded)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
