"""The order of rows by their hashes: the compiled module against a sort with NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noether.data.zarr_store.codec import HashKey, hash_buckets, hash_order, hash_order_of, native

NUMBERS = st.integers(0, 2**64 - 1)
KEYS = st.tuples(NUMBERS, NUMBERS)


def hash_by_hand(row: int, key: HashKey) -> int:
    def mix(hashed: int) -> int:
        hashed = (hashed ^ hashed >> 33) * 0xFF51AFD7ED558CCD % 2**64
        hashed = (hashed ^ hashed >> 33) * 0xC4CEB9FE1A85EC53 % 2**64
        return hashed ^ hashed >> 33

    return mix(mix((row + key[0]) % 2**64) ^ key[1])


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("n_rows", [0, 1, 2, 32_768, 32_769, 300_001])
def test_order_is_independent_of_threads(n_rows: int) -> None:
    """Sizes near the size of a bucket, and sizes that several threads sort."""
    key = (2**64 - 2, 7)
    one, two, five = (hash_order(n_rows, key, threads) for threads in (1, 2, 5))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, five)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(native, "hash_order", None)
        np.testing.assert_array_equal(one, hash_order(n_rows, key))


@pytest.mark.usefixtures("compiled")
def test_rows_with_equal_leading_bits_are_sorted() -> None:
    """Hashes of rows 60,700 and 66,825 agree in the 36 bits that the module compares first; the latter's is smaller."""
    order = hash_order(300_001, (0, 0))
    some = np.array([60_700, 4, 66_825, 5], np.uint32)
    places = hash_order_of(some, (0, 0), 0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(native, "hash_order", None)
        np.testing.assert_array_equal(order, hash_order(300_001, (0, 0)))
    assert some[places].tolist() == sorted(some.tolist(), key=lambda row: hash_by_hand(row, (0, 0)))


@pytest.mark.usefixtures("compiled_or_not")
@given(KEYS, st.integers(0, 2**40), st.integers(0, 50), st.integers(0, 16))
def test_a_bucket_is_the_first_bits_of_the_hash(key: HashKey, first_row: int, n_rows: int, bits: int) -> None:
    found = hash_buckets(first_row, n_rows, key, bits)
    assert found.dtype == np.uint16
    assert found.tolist() == [hash_by_hand(row, key) >> 64 - bits for row in range(first_row, first_row + n_rows)]


@pytest.mark.usefixtures("compiled_or_not")
@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
@pytest.mark.parametrize("bits", [0, 1, 5])
def test_sorted_buckets_make_the_order_of_all_rows(dtype: str, bits: int) -> None:
    """So each bucket can be sorted separately."""
    key, n_rows = (3, 2**63 + 5), 5_000
    buckets = hash_buckets(0, n_rows, key, bits)
    parts = [np.flatnonzero(buckets == bucket).astype(dtype) for bucket in range(1 << bits)]
    ordered = np.concatenate([rows[hash_order_of(rows, key, bits)] for rows in parts])
    np.testing.assert_array_equal(ordered, hash_order(n_rows, key))


@pytest.mark.usefixtures("compiled")
def test_compiled_module_refuses_unsortable_arguments() -> None:
    assert native.hash_order is not None
    assert native.hash_buckets is not None
    three = np.empty(3, np.int64)
    for out, rows, same_bits, threads in (
        (np.empty(7, np.uint8), None, 0, 1),
        (np.empty(17, np.uint8)[1:], None, 0, 1),
        (three, np.empty(2, np.uint32), 0, 1),
        (three, np.empty(3, np.uint64), 0, 1),
        (three, None, -1, 1),
        (three, None, 17, 1),
        (three, None, 0, 0),
        (three, None, 0, 65),
    ):
        with pytest.raises(ValueError, match="expected"):
            native.hash_order(out, rows=rows, first_key=1, second_key=2, same_bits=same_bits, threads=threads)
    for buckets, bits in ((np.empty(3, np.uint8), 1), (np.empty(2, np.uint16), -1), (np.empty(2, np.uint16), 17)):
        with pytest.raises(ValueError, match="expected aligned uint16"):
            native.hash_buckets(buckets, first_row=0, first_key=1, second_key=2, bits=bits)
