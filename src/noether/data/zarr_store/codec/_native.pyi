"""The compiled module. Its functions release the GIL and are thread-safe."""

from array import array
from typing import Any

from numpy.typing import NDArray

_Polyhedra = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]

def cell_centers(
    points: NDArray[Any],
    types: NDArray[Any],
    offsets: NDArray[Any],
    connectivity: NDArray[Any],
    polyhedra: _Polyhedra | None,
    out: NDArray[Any],
    *,
    start: int,
    stop: int,
    itemsize: int,
) -> int | None:
    """Compute the centres of cells, as `sources.geometry.cell_centers` defines them.

    Parameters
    ----------
    points : ndarray of float32 or float64, shape (n_points, 3)
        In C order, aligned.
    types : ndarray of uint8, shape (n_cells,)
        VTK cell types.
    offsets : ndarray of int64, shape (n_cells + 1,)
        The points of cell ``i`` are ``connectivity[offsets[i]:offsets[i + 1]]``.
    connectivity : ndarray of int64
        Point numbers.
    polyhedra : tuple of four ndarray of int64, or None
        The attributes of `sources.cells.Polyhedra`, in their order.
    out : ndarray, shape (stop - start, 3)
        Output, in the dtype of `points`; it is overwritten.
    start, stop : int
        Range of the cells.
    itemsize : int
        Number of bytes of a coordinate.

    Returns
    -------
    int or None
        The number of the first invalid cell: it does not have the points of its type, or the number of a point or face
        is out of range. None if all cells are valid.

    Raises
    ------
    ValueError
        The sizes do not fit together, or an array is not aligned.
    MemoryError
        There is no memory for the faces of a polyhedron.
    """

def decode(
    data: bytes | memoryview,
    bounds: list[int],
    rows: list[tuple[tuple[int, int], ...]] | None,
    out: NDArray[Any],
    first_row: int,
    *,
    chunk_rows: int,
    width: int,
    itemsize: int,
    widen: bool,
    checksum: bool,
    verify: bool,
) -> int:
    """Decode neighbouring chunks of a shard, up to the first chunk that cannot be decoded.

    Parameters
    ----------
    data : bytes-like
        Buffer that holds the stored chunks.
    bounds : list of int
        At most 4097 ascending offsets in `data`. Chunk ``i`` extends from ``bounds[i]`` to ``bounds[i + 1]``.
    rows : list of tuples of pairs of int, or None
        The rows to take of each chunk: ascending ranges ``(first, stop)``. None takes all rows.
    out : ndarray
        Contiguous output; the rows from `first_row` on are overwritten.
    first_row : int
        Row of `out` to which the first row is written.
    chunk_rows, width : int
        Shape of a chunk.
    itemsize : int
        Number of bytes of a stored value, 2 to 8.
    widen : bool
        Whether the stored values are float16, and `out` is float32.
    checksum : bool
        Whether a crc32c follows each chunk.
    verify : bool
        Whether to compare that crc32c.

    Returns
    -------
    int
        Number of chunks before the first chunk that is damaged or has an unsupported encoding.

    Raises
    ------
    ValueError
        The bounds are not ascending offsets within `data`, the row ranges are not ascending within their chunk, or
        `out` is too small.
    MemoryError
        There is no memory for decoding.
    """

def read(
    descriptor: int,
    start: int,
    bounds: list[int],
    rows: list[tuple[tuple[int, int], ...]] | None,
    out: NDArray[Any],
    first_row: int,
    tally: memoryview | array[int],
    *,
    chunk_rows: int,
    width: int,
    itemsize: int,
    widen: bool,
    checksum: bool,
    verify: bool,
) -> int:
    """Read neighbouring chunks of a file and decode them, up to the first chunk that cannot be decoded.

    Parameters
    ----------
    descriptor : int
        File descriptor.
    start : int
        Offset in the file to which the `bounds` are relative.
    bounds, rows, out, first_row, chunk_rows, width, itemsize, widen, checksum, verify
        See `decode`.
    tally : buffer of int64, of at least four numbers
        Counters to which the call adds; see `Tally`.

    Returns
    -------
    int
        Number of decoded chunks, as in `decode`. 0 if the file ends before the last bound, cannot be read, or a signal
        interrupts the read; also 0 if a chunk has more bytes than its values can have in a shard.

    Raises
    ------
    ValueError, MemoryError
        As in `decode`. Also `ValueError` if the tally is too small.
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
        Rows in C order.
    order : ndarray of int64, shape (n,), or None
        Row ``i`` of the chunks is row ``order[i]`` of `values`; None keeps the order. The rows must fill whole chunks,
        at most 4096 of them.
    chunk_rows : int
        Number of rows of a chunk.
    width : int
        Number of values of a row.
    itemsize : int
        Number of bytes of a stored value, 2 to 8.
    narrow : bool
        Whether `values` have twice the itemsize and are cast: float32 to float16, or float64 to float32. Such rows have
        at most 2048 values.
    block_bytes : int
        Number of bytes of a block: whole values, at least 128 values, and at most a chunk.
    level : int
        Level of zstd; 0 stores the values without compression.
    checksum : bool
        Whether to append a crc32c to each chunk.
    stored_header : bytes
        The 16-byte header of a chunk that is stored without compression.

    Returns
    -------
    bytes
        The concatenated chunks.
    list of int
        Number of bytes of each chunk. Empty if a float32 to cast is NaN, because processors and NumPy convert NaN to
        different bits.

    Raises
    ------
    ValueError
        The sizes do not fit together.
    IndexError
        An entry of `order` is not a valid row number.
    MemoryError
        There is no memory for a chunk, or for the run.
    """

def face_vectors(
    points: NDArray[Any],
    types: NDArray[Any],
    offsets: NDArray[Any],
    connectivity: NDArray[Any],
    centers: NDArray[Any],
    vectors: NDArray[Any],
    *,
    start: int,
    stop: int,
    itemsize: int,
) -> int | None:
    """Compute the centres and area vectors of triangles, quadrilaterals, pixels and polygons.

    Parameters
    ----------
    points, types, offsets, connectivity, start, stop, itemsize
        See `cell_centers`.
    centers, vectors : ndarray of float64, shape (stop - start, 3)
        Outputs; they are overwritten. Cells of other types get zeros.

    Returns
    -------
    int or None
        The number of the first invalid cell, as in `cell_centers`.

    Raises
    ------
    ValueError
        The sizes do not fit together, or an array is not aligned.
    """

def hash_order(
    out: NDArray[Any],
    *,
    rows: NDArray[Any] | None,
    first_key: int,
    second_key: int,
    same_bits: int,
    threads: int,
) -> None:
    """Write the indices that sort rows by their keyed hashes.

    Parameters
    ----------
    out : ndarray of int64, shape (n,)
        Output: a permutation of the numbers 0 to n - 1. It must be aligned and have fewer than 2**32 entries.
    rows : ndarray of uint32, shape (n,), or None
        Row numbers; None for the rows 0 to n - 1.
    first_key, second_key : int
        The key of the hash, modulo 2**64.
    same_bits : int
        Number of leading bits, 0 to 16, that the hashes of all these rows share.
    threads : int
        Number of threads, 1 to 64.

    Raises
    ------
    ValueError
        An argument is invalid.
    MemoryError
        There is no memory for sorting.
    """

def hash_buckets(out: NDArray[Any], *, first_row: int, first_key: int, second_key: int, bits: int) -> None:
    """Write the leading bits of the keyed hashes of neighbouring rows.

    Parameters
    ----------
    out : ndarray of uint16, shape (n,)
        Output; it must be aligned.
    first_row : int
        Row number of the first row.
    first_key, second_key : int
        The key of the hash, modulo 2**64.
    bits : int
        Number of bits, 0 to 16.

    Raises
    ------
    ValueError
        An argument is invalid.
    """

def scatter(
    values: NDArray[Any],
    buckets: NDArray[Any],
    out: NDArray[Any],
    counts: NDArray[Any],
    *,
    itemsize: int,
    narrow: bool,
) -> bool:
    """Write rows grouped by bucket, and the number of rows of each bucket.

    Parameters
    ----------
    values : ndarray, shape (n, width)
        Rows in C order.
    buckets : ndarray of uint16, shape (n,)
        The bucket of each row.
    out : ndarray, shape (n, width)
        Output in C order: the rows of bucket 0, then the rows of bucket 1, and so on. The rows of a bucket keep their
        order.
    counts : ndarray of int64, shape (n_buckets,)
        Output: the number of rows of each bucket. It must be aligned and have at most 4096 entries.
    itemsize : int
        Number of bytes of a value in `out`.
    narrow : bool
        Whether `values` have twice the itemsize and are cast: float32 to float16, or float64 to float32. Such rows have
        at most 2048 values.

    Returns
    -------
    bool
        False if a float32 to cast is NaN. Then do not use `out`, because processors and NumPy convert NaN to different
        bits.

    Raises
    ------
    ValueError
        The sizes do not fit together.
    IndexError
        An entry of `buckets` is not below `n_buckets`.
    """

def measure_loss(
    values: NDArray[Any], *, itemsize: int, stored_itemsize: int
) -> tuple[float, float, float, int] | None:
    """Measure the loss of a cast.

    Parameters
    ----------
    values : ndarray of float32 or float64
        Values in C order.
    itemsize : int
        Number of bytes of a value.
    stored_itemsize : int
        Number of bytes of a stored value, equal to `itemsize` or half of it: float32 is stored as float32 or float16,
        float64 as float64 or float32.

    Returns
    -------
    tuple of (float, float, float, int) or None
        The attributes of `casting.CastLoss`, in their order. None if a value is not finite before or after the cast.

    Raises
    ------
    ValueError
        The sizes are not as described.
    """
