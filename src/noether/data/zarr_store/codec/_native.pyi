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

def encode(
    values: NDArray[Any],
    order: NDArray[Any] | None,
    *,
    chunk_rows: int,
    width: int,
    itemsize: int,
    narrow: bool,
    block_bytes: int,
    level: int,
    checksum: bool,
    stored_header: bytes,
) -> tuple[bytes, list[int]]:
    """Gather rows, and encode them as neighbouring chunks.

    Parameters
    ----------
    values : ndarray, shape (n_rows, width)
        In C order.
    order : ndarray of int64, shape (n,), or None
        Row ``i`` of the chunks is row ``order[i]``; None where rows keep their order. There are rows for whole chunks,
        at most 4096 of them.
    chunk_rows : int
        Rows of a chunk.
    width : int
        Values of a row.
    itemsize : int
        Bytes of a stored value, 2 to 8.
    narrow : bool
        Whether `values` are float32, at most 2048 in a row, and are stored as float16.
    block_bytes : int
        Bytes of a block: whole values, at least 128 of them, and at most a chunk.
    level : int
        Level of zstd; 0 stores the values without compression.
    checksum : bool
        Whether a crc32c follows each chunk.
    stored_header : bytes
        The 16 bytes of the header of a chunk that is stored without compression.

    Returns
    -------
    bytes
        The chunks, one after the other.
    list of int
        Bytes of each chunk. Empty where one of the values to cast is NaN: processors and NumPy make different float16
        of it.

    Raises
    ------
    ValueError
        The sizes do not fit together.
    IndexError
        An entry of `order` is not the number of a row.
    MemoryError
        There is no room for a chunk, or for the run.
    """

def hash_order(out: NDArray[Any], *, first_key: int, second_key: int, threads: int) -> None:
    """Write the numbers of rows in ascending order of their keyed hashes.

    Parameters
    ----------
    out : ndarray of int64, shape (n,)
        Aligned, fewer than 2**32 entries; is overwritten.
    first_key, second_key : int
        The key of the hash, modulo 2**64.
    threads : int
        1 to 64.

    Raises
    ------
    ValueError
        `out` or `threads` are not such.
    MemoryError
        There is no room to sort.
    """
