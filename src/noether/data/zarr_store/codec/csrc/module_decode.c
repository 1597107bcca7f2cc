#include "module_decode.h"

#include <time.h>

#include "fetch.h"
#include "frame.h"
#include "frame_format.h"

/* The chunks of one call. */
typedef struct {
    ChunkFormat format;
    StoredChunk *chunks;
    ValueRange *ranges; /* ranges of all chunks */
    size_t n_chunks;
    size_t stored_bytes;
    size_t n_values;  /* number of values that are taken */
    bool is_credible; /* whether no chunk has more bytes than its values can need */
} Run;

static void free_run(Run *run) {
    PyMem_Free(run->chunks);
    PyMem_Free(run->ranges);
}

/* Read the ascending bounds of the chunks in the stored bytes. Return false and set an exception on failure. */
static bool read_bounds(PyObject *list, size_t max_chunk_bytes, Run *run) {
    const Py_ssize_t n = PyList_Size(list);
    if (n < 2 || n > MAX_CHUNKS + 1) {
        PyErr_Format(PyExc_ValueError, "bounds: expected 2 to %d offsets, got %zd", MAX_CHUNKS + 1, n);
        return false;
    }
    run->n_chunks = (size_t)n - 1;
    run->chunks = PyMem_Calloc(run->n_chunks, sizeof *run->chunks);
    if (run->chunks == NULL) {
        PyErr_NoMemory();
        return false;
    }
    run->is_credible = true;
    size_t start = 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        const size_t bound = PyLong_AsSize_t(PyList_GetItem(list, i));
        if (PyErr_Occurred()) {
            return false;
        }
        if (bound < start) {
            PyErr_SetString(PyExc_ValueError, "bounds: expected ascending offsets");
            return false;
        }
        if (i > 0) {
            run->chunks[i - 1].start = start;
            run->chunks[i - 1].n_bytes = bound - start;
            run->is_credible &= bound - start <= max_chunk_bytes;
        }
        start = bound;
    }
    run->stored_bytes = start;
    return true;
}

/* Return the number of ranges of all chunks, or -1 with an exception set. */
static Py_ssize_t count_ranges(PyObject *rows, size_t n_chunks) {
    if (rows == Py_None) {
        return (Py_ssize_t)n_chunks;
    }
    if (!PyList_Check(rows) || (size_t)PyList_Size(rows) != n_chunks) {
        PyErr_SetString(PyExc_ValueError, "rows: expected None, or a list with one item for each chunk");
        return -1;
    }
    Py_ssize_t n = 0;
    for (size_t i = 0; i < n_chunks; i++) {
        PyObject *of_chunk = PyList_GetItem(rows, (Py_ssize_t)i);
        if (!PyTuple_Check(of_chunk)) {
            PyErr_SetString(PyExc_TypeError, "rows: expected a tuple of ranges for each chunk");
            return -1;
        }
        n += PyTuple_Size(of_chunk);
    }
    return n;
}

/* Read one pair of rows, which must begin at row `least` or later. Return false and set an exception on failure. */
static bool read_range(PyObject *pair, size_t least, size_t n_rows, ValueRange *range) {
    if (!PyTuple_Check(pair) || PyTuple_Size(pair) != 2) {
        PyErr_SetString(PyExc_TypeError, "rows: expected pairs of whole numbers");
        return false;
    }
    range->first = PyLong_AsSize_t(PyTuple_GetItem(pair, 0));
    if (!PyErr_Occurred()) {
        range->stop = PyLong_AsSize_t(PyTuple_GetItem(pair, 1));
    }
    if (PyErr_Occurred()) {
        return false;
    }
    if (range->first < least || range->stop <= range->first || range->stop > n_rows) {
        PyErr_SetString(PyExc_ValueError, "rows: expected ascending ranges within the chunk");
        return false;
    }
    return true;
}

/* Read the rows that are taken from each chunk. Return false and set an exception on failure. */
static bool read_rows(PyObject *rows, size_t n_rows, size_t width, Run *run) {
    const Py_ssize_t n = count_ranges(rows, run->n_chunks);
    if (n < 0) {
        return false;
    }
    ValueRange *range = run->ranges = PyMem_Calloc((size_t)n, sizeof *run->ranges);
    if (range == NULL) {
        PyErr_NoMemory();
        return false;
    }
    for (size_t i = 0; i < run->n_chunks; i++) {
        PyObject *of_chunk = rows == Py_None ? NULL : PyList_GetItem(rows, (Py_ssize_t)i);
        StoredChunk *chunk = &run->chunks[i];
        chunk->ranges = range;
        chunk->n_ranges = of_chunk == NULL ? 1 : (size_t)PyTuple_Size(of_chunk);
        size_t least = 0;
        for (size_t k = 0; k < chunk->n_ranges; k++, range++) {
            *range = (ValueRange){0, n_rows};
            if (of_chunk != NULL && !read_range(PyTuple_GetItem(of_chunk, (Py_ssize_t)k), least, n_rows, range)) {
                return false;
            }
            least = range->stop;
            range->first *= width;
            range->stop *= width;
            run->n_values += range->stop - range->first;
        }
    }
    return true;
}

/* The arguments that `decode` and `read` share. */
typedef struct {
    PyObject *bounds, *rows;
    Py_buffer out;
    Py_ssize_t first_row, chunk_rows, width, itemsize;
    int widen, checksum, verify;
} DecodeArguments;

/* Check the arguments. Return a pointer into `out` to the place of the first value, or NULL with an exception set. */
static uint8_t *read_run(const DecodeArguments *given, Run *run) {
    if (given->itemsize < MIN_ITEMSIZE || given->itemsize > MAX_ITEMSIZE || (given->widen && given->itemsize != 2)) {
        PyErr_Format(PyExc_ValueError, "itemsize: expected %d to %d, and 2 to widen", MIN_ITEMSIZE, MAX_ITEMSIZE);
        return NULL;
    }
    if (given->chunk_rows < 1 || given->width < 1) {
        PyErr_SetString(PyExc_ValueError, "chunk_rows, width: expected at least 1");
        return NULL;
    }
    if (given->chunk_rows > MAX_CHUNK_BYTES / given->itemsize / given->width) {
        return given->out.buf; /* no chunk can be that large, so none is decoded */
    }
    const size_t n_rows = (size_t)given->chunk_rows, width = (size_t)given->width, itemsize = (size_t)given->itemsize;
    run->format = (ChunkFormat){
        .n_bytes = n_rows * width * itemsize,
        .itemsize = itemsize,
        .widen = given->widen,
        .has_checksum = given->checksum,
        .verify = given->verify,
    };
    if (!read_bounds(given->bounds, run->format.n_bytes + HEADER_BYTES + CRC_BYTES, run) ||
        !read_rows(given->rows, n_rows, width, run)) {
        return NULL;
    }
    const size_t row_bytes = width * itemsize * (given->widen ? 2 : 1), there = (size_t)given->out.len / row_bytes;
    if (given->first_row < 0 || (size_t)given->first_row > there ||
        run->n_values / width > there - (size_t)given->first_row) {
        PyErr_SetString(PyExc_ValueError, "out: expected room for the rows of the chunks");
        return NULL;
    }
    return (uint8_t *)given->out.buf + (size_t)given->first_row * row_bytes;
}

const char decode_doc[] = "decode($module, data, bounds, rows, out, first_row, *, chunk_rows, width, itemsize, widen, "
                          "checksum, verify)\n--\n\n"
                          "Decode neighbouring chunks of a shard; return the number of decoded chunks.";

PyObject *py_decode(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"data",  "bounds",   "rows",  "out",      "first_row", "chunk_rows",
                            "width", "itemsize", "widen", "checksum", "verify",    NULL};
    DecodeArguments given;
    Py_buffer data;
    Run run = {0};
    PyObject *result = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*O!Ow*n$nnnppp:decode", names, &data, &PyList_Type, &given.bounds,
                                     &given.rows, &given.out, &given.first_row, &given.chunk_rows, &given.width,
                                     &given.itemsize, &given.widen, &given.checksum, &given.verify)) {
        return NULL;
    }
    uint8_t *const out = read_run(&given, &run);
    if (out != NULL && run.stored_bytes > (size_t)data.len) {
        PyErr_SetString(PyExc_ValueError, "bounds: expected offsets within the data");
    } else if (out != NULL) {
        Decoder *decoder = take_decoder(); /* under the GIL, as is `give_back_decoder` */
        if (decoder == NULL) {
            PyErr_NoMemory();
        } else {
            size_t n_decoded;
            Py_BEGIN_ALLOW_THREADS
            n_decoded = decode_chunks(decoder, &run.format, data.buf, run.chunks, run.n_chunks, out);
            Py_END_ALLOW_THREADS
            give_back_decoder(decoder);
            result = PyLong_FromSize_t(n_decoded);
        }
    }
    free_run(&run);
    PyBuffer_Release(&data);
    PyBuffer_Release(&given.out);
    return result;
}

/* The counters of a caller; the buffer begins with these int64 numbers. */
typedef struct {
    int64_t requests, n_bytes; /* only of byte ranges of which all chunks were decoded */
    int64_t waiting_ns, decoding_ns;
} Tally;

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Add to the counters of the caller. Call this under the GIL, because other threads can share the counters. */
static void add_to_tally(const Py_buffer *buffer, const Tally *spent) {
    Tally *const tally = buffer->buf;
    tally->requests += spent->requests;
    tally->n_bytes += spent->n_bytes;
    tally->waiting_ns += spent->waiting_ns;
    tally->decoding_ns += spent->decoding_ns;
}

const char read_doc[] = "read($module, descriptor, start, bounds, rows, out, first_row, tally, *, chunk_rows, width, "
                        "itemsize, widen, checksum, verify)\n--\n\n"
                        "Read neighbouring chunks of a file and decode them; return the number of decoded chunks.";

PyObject *py_read(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"descriptor", "start", "bounds",   "rows",  "out",      "first_row", "tally",
                            "chunk_rows", "width", "itemsize", "widen", "checksum", "verify",    NULL};
    DecodeArguments given;
    Py_buffer tally;
    int descriptor;
    long long start;
    Run run = {0};
    PyObject *result = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iLO!Ow*nw*$nnnppp:read", names, &descriptor, &start, &PyList_Type,
                                     &given.bounds, &given.rows, &given.out, &given.first_row, &tally,
                                     &given.chunk_rows, &given.width, &given.itemsize, &given.widen, &given.checksum,
                                     &given.verify)) {
        return NULL;
    }
    uint8_t *const out = read_run(&given, &run);
    if (out != NULL && ((size_t)tally.len < sizeof(Tally) || (uintptr_t)tally.buf % _Alignof(Tally) != 0)) {
        PyErr_Format(PyExc_ValueError, "tally: expected at least %zu aligned bytes", sizeof(Tally));
    } else if (out != NULL) {
        Decoder *decoder = take_decoder(); /* under the GIL, as is `give_back_decoder` */
        if (decoder == NULL) {
            PyErr_NoMemory();
        } else {
            size_t n_decoded = 0;
            Tally spent = {0};
            Py_BEGIN_ALLOW_THREADS
            const int64_t begun = now_ns();
            int64_t fetched = begun;
            /* Sizes that the chunks cannot have would allocate too much memory. */
            uint8_t *data = run.is_credible ? make_room_to_fetch(decoder, run.stored_bytes) : NULL;
            if (data != NULL) {
                const bool is_there = fetch(descriptor, start, data, run.stored_bytes);
                fetched = now_ns();
                if (is_there) {
                    n_decoded = decode_chunks(decoder, &run.format, data, run.chunks, run.n_chunks, out);
                    spent.decoding_ns = now_ns() - fetched;
                }
            }
            spent.waiting_ns = fetched - begun;
            Py_END_ALLOW_THREADS
            give_back_decoder(decoder);
            if (n_decoded == run.n_chunks) { /* otherwise, the caller reads again and counts that read */
                spent.requests = 1;
                spent.n_bytes = (int64_t)run.stored_bytes;
            }
            add_to_tally(&tally, &spent);
            result = PyLong_FromSize_t(n_decoded);
        }
    }
    free_run(&run);
    PyBuffer_Release(&tally);
    PyBuffer_Release(&given.out);
    return result;
}
