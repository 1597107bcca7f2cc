/* The functions on chunks for Python, and the module itself: arguments are parsed and checked here, buffers are held, and the
 * interpreter's lock is released. `_native.pyi` has their types. */
#include "module_rows.h"

#include "crc32c.h"
#include "encode.h"
#include "fetch.h"
#include "frame.h"
#include "frame_format.h"
#include "gather.h"
#include "platform.h"

/* Most chunks of one call. `shard.py` repeats the number. */
enum { MAX_CHUNKS = 4096 };
/* Most bytes of a chunk before compression, by blosc's format. */
enum { MAX_CHUNK_BYTES = INT32_MAX - 16 };

/* What one call decodes. */
typedef struct {
    ChunkFormat format;
    StoredChunk *chunks;
    ValueRange *ranges; /* of all chunks */
    size_t n_chunks;
    size_t stored_bytes;
    size_t n_values; /* that are taken */
    bool is_credible; /* whether no chunk is larger than its values can make it */
} Run;

static void free_run(Run *run) {
    PyMem_Free(run->chunks);
    PyMem_Free(run->ranges);
}

/* Read the ascending bounds of the chunks in the stored bytes; an exception is set where that fails. */
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
        PyErr_SetString(PyExc_ValueError, "rows: expected None, or a list of as many items as there are chunks");
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

/* Read one pair of rows, which begins at row `least` or later; an exception is set where that fails. */
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

/* Read the rows that are taken of each chunk; an exception is set where that fails. */
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

/* The arguments that the two ways to decode have in common. */
typedef struct {
    PyObject *bounds, *rows;
    Py_buffer out;
    Py_ssize_t first_row, chunk_rows, width, itemsize;
    int widen, checksum, verify;
} DecodeArguments;

/* Check the arguments, and return the place in `out` where the first value goes, or NULL with an exception set. */
static uint8_t *read_run(const DecodeArguments *given, Run *run) {
    if (given->itemsize < MIN_ITEMSIZE || given->itemsize > MAX_ITEMSIZE || (given->widen && given->itemsize != 2)) {
        PyErr_Format(PyExc_ValueError, "itemsize: expected %d to %d, and 2 to widen", MIN_ITEMSIZE, MAX_ITEMSIZE);
        return NULL;
    }
    if (given->chunk_rows < 1 || given->width < 1) {
        PyErr_SetString(PyExc_ValueError, "chunk_rows, width: expected a chunk of at least a value");
        return NULL;
    }
    if (given->chunk_rows > MAX_CHUNK_BYTES / given->itemsize / given->width) {
        return given->out.buf; /* no chunk is so large, and none is decoded */
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

PyDoc_STRVAR(decode_doc,
             "decode($module, data, bounds, rows, out, first_row, *, chunk_rows, width, itemsize, widen, checksum, "
             "verify)\n--\n\n"
             "Decode neighbouring chunks of a shard, as far as possible; return their number.");

static PyObject *decode(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
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
        Decoder *decoder = take_decoder(); /* the interpreter's lock is held here, and where it is given back */
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

PyDoc_STRVAR(read_doc,
             "read($module, descriptor, start, bounds, rows, out, first_row, *, chunk_rows, width, itemsize, widen, "
             "checksum, verify)\n--\n\n"
             "Read neighbouring chunks of a file, and decode them, as far as possible; return their number.");

static PyObject *read_file(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"descriptor", "start",    "bounds", "rows",     "out",    "first_row", "chunk_rows",
                            "width",      "itemsize", "widen",  "checksum", "verify", NULL};
    DecodeArguments given;
    int descriptor;
    long long start;
    Run run = {0};
    PyObject *result = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iLO!Ow*n$nnnppp:read", names, &descriptor, &start, &PyList_Type,
                                     &given.bounds, &given.rows, &given.out, &given.first_row, &given.chunk_rows,
                                     &given.width, &given.itemsize, &given.widen, &given.checksum, &given.verify)) {
        return NULL;
    }
    uint8_t *const out = read_run(&given, &run);
    if (out != NULL) {
        Decoder *decoder = take_decoder(); /* the interpreter's lock is held here, and where it is given back */
        if (decoder == NULL) {
            PyErr_NoMemory();
        } else {
            size_t n_decoded = 0;
            Py_BEGIN_ALLOW_THREADS
            /* Memory is taken for no more bytes than the chunks can have. */
            uint8_t *data = run.is_credible ? make_room_to_fetch(decoder, run.stored_bytes) : NULL;
            if (data != NULL && fetch(descriptor, start, data, run.stored_bytes)) {
                n_decoded = decode_chunks(decoder, &run.format, data, run.chunks, run.n_chunks, out);
            }
            Py_END_ALLOW_THREADS
            give_back_decoder(decoder);
            result = PyLong_FromSize_t(n_decoded);
        }
    }
    free_run(&run);
    PyBuffer_Release(&given.out);
    return result;
}

PyDoc_STRVAR(encode_doc,
             "encode($module, values, order, *, chunk_rows, width, itemsize, narrow, block_bytes, level, checksum, "
             "stored_header)\n--\n\n"
             "Encode rows in another order as neighbouring chunks; return the bytes, and the length of each chunk.");

/* Return whether the sizes of a run of chunks fit together; an exception is set where they do not. */
static bool check_run(const EncodedFormat *format, const RowOrder *rows, size_t width) {
    const size_t n_rows = format->n_rows, row_bytes = width * format->itemsize;
    if (rows->n % n_rows || rows->n / n_rows > MAX_CHUNKS || n_rows > MAX_CHUNK_BYTES / row_bytes) {
        PyErr_Format(PyExc_ValueError, "chunk_rows: expected rows for at most %d whole chunks of less than 2 GiB",
                     MAX_CHUNKS);
    } else if (format->block_bytes % format->itemsize || format->block_bytes / format->itemsize < MIN_SPLIT_VALUES ||
               format->block_bytes > n_rows * row_bytes) {
        PyErr_SetString(PyExc_ValueError, "block_bytes: expected at least 128 values, and at most a chunk");
    } else {
        return true;
    }
    return false;
}

/* Return bytes and lengths of encoded chunks, which may be none. */
static PyObject *build_run(const uint8_t *bytes, const size_t *lengths, size_t n_chunks) {
    size_t n_bytes = 0;
    PyObject *list = PyList_New((Py_ssize_t)n_chunks);
    for (size_t i = 0; list != NULL && i < n_chunks; i++) {
        PyObject *length = PyLong_FromSize_t(lengths[i]);
        if (length == NULL || PyList_SetItem(list, (Py_ssize_t)i, length)) {
            Py_CLEAR(list);
        }
        n_bytes += lengths[i];
    }
    return list == NULL ? NULL : Py_BuildValue("y#N", bytes, (Py_ssize_t)n_bytes, list);
}

static PyObject *encode_run(const EncodedFormat *format, const RowOrder *rows, size_t n_rows) {
    Encoder *encoder = take_encoder(); /* the interpreter's lock is held here, and where it is given back */
    if (encoder == NULL) {
        return PyErr_NoMemory();
    }
    size_t lengths[MAX_CHUNKS];
    const size_t n_chunks = rows->n / format->n_rows;
    bool is_valid;
    EncodeResult state = ENCODED;
    Py_BEGIN_ALLOW_THREADS
    is_valid = has_valid_order(rows, n_rows);
    if (is_valid) {
        state = encode_chunks(encoder, format, rows, lengths);
    }
    Py_END_ALLOW_THREADS
    PyObject *result = NULL;
    if (!is_valid) {
        PyErr_SetString(PyExc_IndexError, "order: expected numbers of rows");
    } else if (state == NO_MEMORY) {
        PyErr_NoMemory();
    } else {
        result = build_run(encoded_bytes(encoder), lengths, state == ENCODED ? n_chunks : 0);
    }
    give_back_encoder(encoder);
    return result;
}

static PyObject *encode(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"values",      "order", "chunk_rows", "width",         "itemsize", "narrow",
                            "block_bytes", "level", "checksum",   "stored_header", NULL};
    PyObject *order_or_none, *result = NULL;
    Py_buffer values, header, order = {0};
    Py_ssize_t chunk_rows, width, itemsize, block_bytes;
    int narrow, level, checksum;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*O$nnnpnipy*:encode", names, &values, &order_or_none, &chunk_rows,
                                     &width, &itemsize, &narrow, &block_bytes, &level, &checksum, &header)) {
        return NULL;
    }
    const bool has_order = order_or_none != Py_None;
    if (has_order && PyObject_GetBuffer(order_or_none, &order, PyBUF_SIMPLE)) {
        goto done;
    }
    const Py_ssize_t value_bytes = narrow ? 2 * itemsize : itemsize;
    if (chunk_rows < 1 || width < 1 || width > (narrow ? MAX_NARROWED_WIDTH : MAX_CHUNK_BYTES / MAX_ITEMSIZE) ||
        itemsize < MIN_ITEMSIZE || itemsize > MAX_ITEMSIZE || (narrow && itemsize != 2 && itemsize != 4) || block_bytes < 1 ||
        header.len != HEADER_BYTES || values.len % (width * value_bytes) || (size_t)order.len % sizeof(int64_t)) {
        PyErr_SetString(PyExc_ValueError, "values: expected whole rows of values of that size, and a header of 16 bytes");
        goto done;
    }
    const size_t n_rows = (size_t)(values.len / (width * value_bytes));
    const RowOrder rows = {
        .values = values.buf,
        .row_bytes = (size_t)(width * value_bytes),
        .order = has_order ? order.buf : NULL,
        .n = has_order ? (size_t)order.len / sizeof(int64_t) : n_rows,
    };
    const EncodedFormat format = {
        .n_rows = (size_t)chunk_rows,
        .itemsize = (size_t)itemsize,
        .block_bytes = (size_t)block_bytes,
        .narrow = narrow,
        .has_checksum = checksum,
        .level = level,
        .stored_header = header.buf,
    };
    if (check_run(&format, &rows, (size_t)width)) {
        result = encode_run(&format, &rows, n_rows);
    }
done:
    PyBuffer_Release(&values);
    PyBuffer_Release(&order);
    PyBuffer_Release(&header);
    return result;
}

static PyMethodDef methods[] = {
    {"decode", WITH_KEYWORDS(decode), METH_VARARGS | METH_KEYWORDS, decode_doc},
    {"encode", WITH_KEYWORDS(encode), METH_VARARGS | METH_KEYWORDS, encode_doc},
    {"hash_buckets", WITH_KEYWORDS(py_hash_buckets), METH_VARARGS | METH_KEYWORDS, hash_buckets_doc},
    {"hash_order", WITH_KEYWORDS(py_hash_order), METH_VARARGS | METH_KEYWORDS, hash_order_doc},
    {"measure_loss", WITH_KEYWORDS(py_measure_loss), METH_VARARGS | METH_KEYWORDS, measure_loss_doc},
    {"read", WITH_KEYWORDS(read_file), METH_VARARGS | METH_KEYWORDS, read_doc},
    {"scatter", WITH_KEYWORDS(py_scatter), METH_VARARGS | METH_KEYWORDS, scatter_doc},
    {NULL, NULL, 0, NULL},
};

static int initialize(PyObject *Py_UNUSED(module)) {
    if (!is_processor_supported()) {
        PyErr_SetString(PyExc_ImportError, "this processor lacks an instruction for crc32c or float16");
        return -1;
    }
    prepare_crc32c();
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, initialize}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "noether.data.zarr_store.codec._native",
    .m_doc = "Encodes, reads and decodes runs of chunks; orders, scatters and measures rows.",
    .m_slots = slots,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
