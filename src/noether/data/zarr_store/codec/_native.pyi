"""The compiled module. Its functions release the interpreter's lock, and may be called from many threads."""

from typing import Any

from numpy.typing import NDArray

def decode(
    data: bytes | memoryview,
    bounds: list[int],
    out: NDArray[Any],
    *,
    itemsize: int,
    widen: bool,
    checksum: bool,
    verify: bool,
) -> int:
    """Decode neighbouring chunks of a shard, as far as possible.

    Parameters
    ----------
    data : bytes-like
        Holds the stored chunks.
    bounds : list of int
        Ascending offsets in `data`: chunk ``i`` lies from ``bounds[i]`` to ``bounds[i + 1]``. At most 4097 of them.
    out : ndarray
        Contiguous memory for the values of all chunks; is overwritten.
    itemsize : int
        Bytes of a stored value, 2 to 8.
    widen : bool
        Whether the stored values are float16, and `out` is float32.
    checksum : bool
        Whether a crc32c follows each chunk.
    verify : bool
        Whether that crc32c is compared.

    Returns
    -------
    int
        Number of chunks before the first that is damaged, or that has an encoding which the module does not know.

    Raises
    ------
    ValueError
        The bounds do not ascend within `data`, or `out` is not that of a whole number of chunks.
    """

def gather(values: NDArray[Any], order: NDArray[Any], out: NDArray[Any], *, row_bytes: int, narrow: bool) -> bool:
    """Copy rows in another order.

    Parameters
    ----------
    values : ndarray, shape (n_rows, width)
        In C order.
    order : ndarray of int64, shape (n,)
        Row ``i`` of the result is row ``order[i]``.
    out : ndarray, shape (n, width)
        In C order; is overwritten.
    row_bytes : int
        Bytes of a row of `values`.
    narrow : bool
        Whether `values` are float32, at most 2048 in a row, and `out` is float16.

    Returns
    -------
    bool
        False if one of the values to cast is NaN: processors and NumPy make different float16 of it. The values in
        `out` are then not to be used.

    Raises
    ------
    ValueError
        The sizes do not fit together.
    IndexError
        An entry of `order` is not the number of a row.
    """
