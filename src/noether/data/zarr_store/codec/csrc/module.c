/* The Python function `encode`, and the definition of the module. It parses and checks the arguments, holds the
 * buffers, and releases the GIL. `_native.pyi` has the types. */
#include "module_decode.h"
#include "module_geometry.h"
#include "module_rows.h"

#include "crc32c.h"
#include "encode.h"
#include "frame.h"
#include "frame_format.h"
#include "gather.h"
#include "platform.h"

PyDoc_STRVAR(encode_doc,
             "encode($module, values, order, *, chunk_rows, width, itemsize, narrow, block_bytes, level, checksum, "
             "stored_header)\n--\n\n"
             "Encode rows in another order as neighbouring chunks; return the bytes, and the length of each chunk.");

/* Return whether the sizes of a run of chunks fit together; if not, set an exception. */
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

/* Return a tuple of the bytes and the lengths of the encoded chunks; `n_chunks` can be 0. */
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
    Encoder *encoder = take_encoder(); /* under the GIL, as is `give_back_encoder` */
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
    /* Unsigned, since nobody has checked `itemsize` yet: a product that overflows is defined, and refused below. */
    const size_t value_bytes = (size_t)itemsize * (narrow ? 2 : 1), row_bytes = (size_t)width * value_bytes;
    if (chunk_rows < 1 || width < 1 || width > (narrow ? MAX_NARROWED_WIDTH : MAX_CHUNK_BYTES / MAX_ITEMSIZE) ||
        itemsize < MIN_ITEMSIZE || itemsize > MAX_ITEMSIZE || (narrow && itemsize != 2 && itemsize != 4) || block_bytes < 1 ||
        header.len != HEADER_BYTES || (size_t)values.len % row_bytes || (size_t)order.len % sizeof(int64_t)) {
        PyErr_SetString(PyExc_ValueError, "values: expected whole rows of values of that size, and a header of 16 bytes");
        goto done;
    }
    const size_t n_rows = (size_t)values.len / row_bytes;
    const RowOrder rows = {
        .values = values.buf,
        .row_bytes = row_bytes,
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
    {"cell_centers", WITH_KEYWORDS(py_cell_centers), METH_VARARGS | METH_KEYWORDS, cell_centers_doc},
    {"decode", WITH_KEYWORDS(py_decode), METH_VARARGS | METH_KEYWORDS, decode_doc},
    {"encode", WITH_KEYWORDS(encode), METH_VARARGS | METH_KEYWORDS, encode_doc},
    {"face_vectors", WITH_KEYWORDS(py_face_vectors), METH_VARARGS | METH_KEYWORDS, face_vectors_doc},
    {"hash_buckets", WITH_KEYWORDS(py_hash_buckets), METH_VARARGS | METH_KEYWORDS, hash_buckets_doc},
    {"hash_order", WITH_KEYWORDS(py_hash_order), METH_VARARGS | METH_KEYWORDS, hash_order_doc},
    {"measure_loss", WITH_KEYWORDS(py_measure_loss), METH_VARARGS | METH_KEYWORDS, measure_loss_doc},
    {"read", WITH_KEYWORDS(py_read), METH_VARARGS | METH_KEYWORDS, read_doc},
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
    .m_doc = "Encodes, reads and decodes runs of chunks; orders, scatters and measures rows; computes centres of cells.",
    .m_slots = slots,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
