"""Gathering, casting and encoding of rows: the compiled module makes the same bits as NumPy."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numcodecs import blosc
from numpy.typing import NDArray

from noether.data.zarr_store.codec import native
from noether.data.zarr_store.codec.shard import ChunkCodec

EVERY_FLOAT16 = np.arange(1 << 16, dtype=np.uint16).view(np.float16)


def stored(values: NDArray[Any], order: NDArray[np.int64], dtype: str, level: int = 1) -> NDArray[Any]:
    """Encode rows as chunks, and decode them with blosc."""
    rows = max(len(order) // 2, 1)
    codec = ChunkCodec(np.dtype(dtype).newbyteorder("<"), rows, values.shape[1], checksum=False, level=level)
    decoded = b"".join(map(blosc.decompress, chunks_of(*codec.encode_run(values, order))))
    return np.frombuffer(decoded, codec.dtype).reshape(-1, values.shape[1])[: len(order)]


def around_every_float16() -> NDArray[np.float32]:
    """Each finite float16, the number halfway to the next one, and the neighbouring float32 of these."""
    ordered = np.sort(EVERY_FLOAT16[np.isfinite(EVERY_FLOAT16)].astype(np.float32))
    halfway = (ordered[1:] + ordered[:-1]) / 2
    extremes = np.array([65_520, -65_520, 1e-30, -1e-30, 3e38, np.inf, -np.inf], np.float32)
    exact = np.concatenate([ordered, halfway, extremes])
    return np.concatenate([exact, np.nextafter(exact, np.float32(np.inf)), np.nextafter(exact, np.float32(-np.inf))])


@pytest.mark.usefixtures("compiled_or_not")
@pytest.mark.parametrize("width", [1, 3, 7, 2048, 2049])
def test_float32_is_rounded_to_float16_as_in_numpy(width: int) -> None:
    source = around_every_float16()
    values = np.resize(source, (-(-len(source) // width), width))
    order = np.random.default_rng(0).permutation(len(values))
    with np.errstate(over="ignore"):
        expected = values[order].astype(np.float16)
    found = stored(values, order, "float16")
    assert found.tobytes() == expected.tobytes()


@pytest.mark.usefixtures("compiled_or_not")
@pytest.mark.parametrize("bits", [0x7FC00000, 0xFFC00000, 0x7F800001, 0x7FA00000, 0xFFFFFFFF], ids=hex)
def test_nan_is_cast_as_in_numpy(bits: int) -> None:
    values = np.array([0x3F800000, bits, 0x40000000] * 100, np.uint32).view(np.float32).reshape(-1, 1)
    with np.errstate(invalid="ignore"):
        expected = values.astype(np.float16)
    assert stored(values, np.arange(len(values)), "float16").tobytes() == expected.tobytes()


LAYOUTS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "contiguous": lambda values: values,
    "columns": np.asfortranarray,
    "every second row": lambda values: np.repeat(values, 2, axis=0)[::2],
    "backwards": lambda values: values[::-1].copy()[::-1],
    "big endian": lambda values: values.astype(values.dtype.newbyteorder(">")),
}


@pytest.mark.usefixtures("compiled_or_not")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("source", ["float16", "float32", "float64", "int64"])
def test_values_can_have_any_memory_layout(source: str, dtype: str, layout: str) -> None:
    values = (np.random.default_rng(1).normal(size=(500, 3)) * 100).astype(source)
    order = np.random.default_rng(2).integers(0, 500, 321)
    found = stored(LAYOUTS[layout](values), order, dtype)
    assert found.tobytes() == values[order].astype(dtype).tobytes()


@pytest.mark.usefixtures("compiled_or_not")
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_values_and_order_can_be_unaligned(dtype: str) -> None:
    memory = np.zeros(1 + 300 * 12 + 1 + 299 * 8, np.uint8)
    values = memory[1 : 1 + 300 * 12].view("f4").reshape(300, 3)
    order = memory[-299 * 8 :].view("i8")
    assert not values.flags.aligned
    assert not order.flags.aligned
    values[:] = np.random.default_rng(1).normal(size=(300, 3))
    order[:] = np.random.default_rng(2).integers(0, 300, 299)
    assert stored(values, order, dtype).tobytes() == values[order].astype(dtype).tobytes()


@pytest.mark.usefixtures("compiled")
@given(
    kind=st.sampled_from(["noise", "constant", "normal", "steps"]),
    cast=st.sampled_from([("f4", "<f4"), ("f4", "<f2"), ("f8", "<f8"), ("f2", "<f2"), ("f8", "<f4")]),
    rows=st.integers(1, 200) | st.integers(20_000, 50_000),
    width=st.integers(1, 4),
    n_chunks=st.integers(1, 3),
    level=st.integers(0, 9),
    checksum=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_compiled_module_encodes_like_the_slow_path(
    kind: str, cast: tuple[str, str], rows: int, width: int, n_chunks: int, level: int, checksum: bool, seed: int
) -> None:
    """Streams of two versions of zstd can differ by some percent of their bytes; all other bytes are the same."""
    rng = np.random.default_rng(seed)
    values = made_values(kind, (rows + 5, width), rng).astype(cast[0])
    order = rng.integers(0, len(values), n_chunks * rows - rng.integers(0, rows))
    codec = ChunkCodec(np.dtype(cast[1]), rows, width, checksum, level=level)
    data, lengths = codec.encode_run(values, order)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(native, "encode", None)
        expected, expected_lengths = codec.encode_run(values, order)
    assert len(lengths) == len(expected_lengths)
    if level == 0:
        assert data == expected
    for ours, theirs in zip(chunks_of(data, lengths), chunks_of(expected, expected_lengths), strict=True):
        assert abs(len(ours) - len(theirs)) <= 0.05 * len(theirs) + 8
        assert ours[:12] == theirs[:12]
        frame = ours[:-4] if checksum else ours
        assert not checksum or int.from_bytes(ours[-4:], "little") == google_crc32c.value(frame)
        assert blosc.decompress(frame) == blosc.decompress(theirs[:-4] if checksum else theirs)


def made_values(kind: str, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[Any]:
    if kind == "noise":
        return rng.integers(0, 1 << 15, shape)
    if kind == "constant":
        return np.full(shape, 1.1)
    return rng.normal(size=shape) if kind == "normal" else np.round(rng.normal(size=shape), 1)


def chunks_of(data: bytes, lengths: list[int]) -> list[bytes]:
    ends = list(accumulate(lengths))
    return [data[end - length : end] for length, end in zip(lengths, ends, strict=True)]


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("itemsize", [-(2**63), -(2**62) - 1, 2**62, 2**63 - 1])
def test_compiled_module_refuses_an_itemsize_whose_double_overflows(itemsize: int) -> None:
    assert native.encode is not None
    with pytest.raises(ValueError, match=r"^values: expected whole rows"):
        native.encode(
            np.zeros(8, np.uint8),
            None,
            chunk_rows=1,
            width=1,
            itemsize=itemsize,
            narrow=True,
            block_bytes=8,
            level=1,
            checksum=False,
            stored_header=bytes(16),
        )


@pytest.mark.usefixtures("compiled")
@given(st.data())
def test_compiled_module_refuses_arguments_that_do_not_fit(data: st.DataObject) -> None:
    draw: Any = data.draw
    size = st.sampled_from([-1, 0, 1, 2, 3, 4, 8, 9, 128, 256, 2048, 2049, 2**31, 2**40, 2**62])
    values = np.zeros(draw(st.sampled_from([0, 1, 256, 512, 1024, 3072])), np.uint8)
    order = draw(st.none() | arrays(np.int64, st.sampled_from([0, 1, 32, 64, 128]), elements=st.integers(-1, 300)))
    chunk_rows, width, itemsize, block_bytes = (draw(size) for _ in range(4))
    narrow, level = draw(st.booleans()), draw(st.integers(-3, 30))
    header = bytes(draw(st.sampled_from([0, 15, 16, 17])))
    row_bytes = width * itemsize * (2 if narrow else 1)
    fits = (
        chunk_rows > 0
        and 0 < width <= (2048 if narrow else 2**28)
        and 2 <= itemsize <= 8
        and (itemsize in (2, 4) or not narrow)
        and len(values) % row_bytes == 0
        and len(header) == 16
        and (len(values) // row_bytes if order is None else len(order)) % chunk_rows == 0
        and block_bytes >= 128 * itemsize
        and block_bytes % itemsize == 0
        and block_bytes <= chunk_rows * width * itemsize < 2**31 - 16
    )
    assert native.encode is not None

    def encode() -> tuple[bytes, list[int]]:
        assert native.encode is not None
        return native.encode(
            values,
            order,
            chunk_rows=chunk_rows,
            width=width,
            itemsize=itemsize,
            narrow=narrow,
            block_bytes=block_bytes,
            level=level,
            checksum=True,
            stored_header=header,
        )

    if not fits:
        with pytest.raises(ValueError, match=r"^(values|chunk_rows|block_bytes): expected"):
            encode()
    elif order is not None and len(order) and not (order.min() >= 0 and order.max() < len(values) // row_bytes):
        with pytest.raises(IndexError):
            encode()
    else:
        encoded, lengths = encode()
        assert sum(lengths) == len(encoded)
