/* The functions on chunks for Python, and the module itself: arguments are parsed and checked here, buffers are held, and the
 * interpreter's lock is released. `_native.pyi` has their types. */
#include "module_rows.h"

#include "crc32c.h"
#include "encode.h"
#include "frame.h"
#include "frame_format.h"
#include "gather.h"
#include "platform.h"

/* Most chunks of one call; their bounds are on the stack. `shard.py` repeats the number. */
enum { MAX_CHUNKS = 4096 };
/* Most bytes of a chunk before compression, by blosc's format. */
enum { MAX_CHUNK_BYTES = INT32_MAX - 16 };

/* Read the ascending bounds of the chunks in `data`; return their number, or -1 with an exception set. */
static Py_ssize_t read_bounds(PyObject *list, Py_ssize_t data_bytes, size_t *bounds) {
    const Py_ssize_t n = PyList_Size(list);
    if (n < 2 || n > MAX_CHUNKS + 1) {
        PyErr_Format(PyExc_ValueError, "bounds: expected 2 to %d offsets, got %zd", MAX_CHUNKS + 1, n);
        return -1;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        bounds[i] = PyLong_AsSize_t(PyList_GetItem(list, i));
        if (PyErr_Occurred()) {
            return -1;
        }
        if (bounds[i] > (size_t)data_bytes || (i > 0 && bounds[i] < bounds[i - 1])) {
            PyErr_SetString(PyExc_ValueError, "bounds: expected ascending offsets within the data");
            return -1;
        }
    }
    return n - 1;
}

PyDoc_STRVAR(decode_doc,
             "decode($module, data, bounds, out, *, itemsize, widen, checksum, verify)\n--\n\n"
             "Decode neighbouring chunks of a shard, as far as possible; return their number.");

static PyObject *decode(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"data", "bounds", "out", "itemsize", "widen", "checksum", "verify", NULL};
    PyObject *list, *result = NULL;
    Py_buffer data, out;
    Py_ssize_t itemsize;
    int widen, checksum, verify;
    size_t bounds[MAX_CHUNKS + 1];
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*O!w*$nppp:decode", names, &data, &PyList_Type, &list, &out,
                                     &itemsize, &widen, &checksum, &verify)) {
        return NULL;
    }
    const Py_ssize_t n_chunks = read_bounds(list, data.len, bounds), scale = widen ? 2 : 1;
    if (n_chunks > 0 && (itemsize < MIN_ITEMSIZE || itemsize > MAX_ITEMSIZE || (widen && itemsize != 2) ||
                         out.len % (n_chunks * scale))) {
        PyErr_SetString(PyExc_ValueError, "out: expected room for whole chunks of values of that size");
    } else if (n_chunks > 0) {
        Decoder *decoder = take_decoder(); /* the interpreter's lock is held here, and where it is given back */
        if (decoder == NULL) {
            PyErr_NoMemory();
        } else {
            const ChunkFormat format = {
                .n_bytes = (size_t)(out.len / n_chunks / scale),
                .itemsize = (size_t)itemsize,
                .widen = widen,
                .has_checksum = checksum,
                .verify = verify,
            };
            size_t n_decoded;
            Py_BEGIN_ALLOW_THREADS
            n_decoded = decode_chunks(decoder, &format, data.buf, bounds, (size_t)n_chunks, out.buf);
            Py_END_ALLOW_THREADS
            give_back_decoder(decoder);
            result = PyLong_FromSize_t(n_decoded);
        }
    }
    PyBuffer_Release(&data);
    PyBuffer_Release(&out);
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
    .m_doc = "Encodes and decodes runs of chunks; orders, scatters and measures rows.",
    .m_slots = slots,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
