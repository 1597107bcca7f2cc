"""The compiled module. Its functions release the interpreter's lock, and may be called from many threads."""

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
        VTK's types.
    offsets : ndarray of int64, shape (n_cells + 1,)
        The points of cell ``i`` are ``connectivity[offsets[i]:offsets[i + 1]]``.
    connectivity : ndarray of int64
        Numbers of points.
    polyhedra : tuple of four ndarray of int64, or None
        The attributes of `sources.cells.Polyhedra`, in their order.
    out : ndarray, shape (stop - start, 3)
        In the dtype of `points`; is overwritten.
    start, stop : int
        Which cells.
    itemsize : int
        Bytes of a coordinate.

    Returns
    -------
    int or None
        The number of a cell that does not have the points of its type, or where a number leads outside its array; None
        where all are sound.

    Raises
    ------
    ValueError
        The sizes do not fit together, or an array is not aligned.
    MemoryError
        There is no room for the faces of a polyhedron.
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
    """Decode neighbouring chunks of a shard, as far as possible.

    Parameters
    ----------
    data : bytes-like
        Holds the stored chunks.
    bounds : list of int
        Ascending offsets in `data`: chunk ``i`` lies from ``bounds[i]`` to ``bounds[i + 1]``. At most 4097 of them.
    rows : list of tuples of pairs of int, or None
        For each chunk the rows that are taken: half-open, ascending ranges of them. None takes all rows.
    out : ndarray
        Contiguous memory for the values; the rows that are taken overwrite those from `first_row` on.
    first_row : int
        Row of `out` where the first one goes.
    chunk_rows, width : int
        Shape of a chunk.
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
        The bounds do not ascend within `data`, the rows do not within their chunk, or `out` has no room for them.
    MemoryError
        There is no room to decode.
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
    """Read neighbouring chunks of a file in one step, and decode them, as far as possible.

    Parameters
    ----------
    descriptor : int
        Of the file.
    start : int
        Offset in the file that the `bounds` are counted from.
    bounds, rows, out, first_row, chunk_rows, width, itemsize, widen, checksum, verify
        Those of `decode`.
    tally : buffer of int64, of at least four numbers
        See `Tally`; this call is added.

    Returns
    -------
    int
        The result of `decode`; 0 where the file ends before the last bound or cannot be read, where a signal came, or
        where a chunk has more bytes than its values can have in a shard.

    Raises
    ------
    ValueError, MemoryError
        Those of `decode`; and where the tally is too small.
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
        Whether `values` have twice that size, at most 2048 in a row, and are cast: float32 to float16, or float64 to
        float32.
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
        Bytes of each chunk. Empty where one of the float32 to cast is NaN: processors and NumPy make different float16
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
        Those of `cell_centers`.
    centers, vectors : ndarray of float64, shape (stop - start, 3)
        Are overwritten; other cells have zeros.

    Returns
    -------
    int or None
        The result of `cell_centers`.

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
    """Write the places of rows in ascending order of their keyed hashes.

    Parameters
    ----------
    out : ndarray of int64, shape (n,)
        Aligned, fewer than 2**32 entries; is overwritten with the numbers 0 to n - 1.
    rows : ndarray of uint32, shape (n,), or None
        The number of the row at each place; None for rows 0 to n - 1.
    first_key, second_key : int
        The key of the hash, modulo 2**64.
    same_bits : int
        First bits, 0 to 16, which the hashes of all these rows have in common.
    threads : int
        1 to 64.

    Raises
    ------
    ValueError
        An argument is not such.
    MemoryError
        There is no room to sort.
    """

def hash_buckets(out: NDArray[Any], *, first_row: int, first_key: int, second_key: int, bits: int) -> None:
    """Write the first bits of the keyed hashes of neighbouring rows.

    Parameters
    ----------
    out : ndarray of uint16, shape (n,)
        Aligned; is overwritten.
    first_row : int
        Number of the first row.
    first_key, second_key : int
        The key of the hash, modulo 2**64.
    bits : int
        0 to 16.

    Raises
    ------
    ValueError
        An argument is not such.
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
    """Write rows grouped by bucket, and count those of each.

    Parameters
    ----------
    values : ndarray, shape (n, width)
        In C order.
    buckets : ndarray of uint16, shape (n,)
        The bucket of each row.
    out : ndarray, shape (n, width)
        In C order; is overwritten with the rows of bucket 0, then those of bucket 1, and so on, each in their order.
    counts : ndarray of int64, shape (n_buckets,)
        Aligned, at most 4096; is overwritten with the number of rows of each bucket.
    itemsize : int
        Bytes of a value in `out`.
    narrow : bool
        Whether `values` have twice that size, and are cast: float32 to float16, or float64 to float32. At most 2048 in
        a row.

    Returns
    -------
    bool
        False where `out` is not to be used, since one of the float32 to cast is NaN: processors and NumPy make
        different float16 of it.

    Raises
    ------
    ValueError
        The sizes do not fit together.
    IndexError
        An entry of `buckets` is not the number of a bucket.
    """

def measure_loss(
    values: NDArray[Any], *, itemsize: int, stored_itemsize: int
) -> tuple[float, float, float, int] | None:
    """Measure what a cast loses.

    Parameters
    ----------
    values : ndarray of float32 or float64
        In C order.
    itemsize : int
        Bytes of a value.
    stored_itemsize : int
        As many, or half of them: float32 is stored as float32 or float16, float64 as float64 or float32.

    Returns
    -------
    tuple of (float, float, float, int) or None
        The largest magnitude, the largest absolute and relative error, and the number of values that are stored as zero
        and were not; these have no relative error. None where a value is not finite, before or after the cast.

    Raises
    ------
    ValueError
        The sizes are others.
    """
