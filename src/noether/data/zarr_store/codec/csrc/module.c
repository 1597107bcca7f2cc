/* The functions of this directory for Python: arguments are parsed and checked here, buffers are held, and the
 * interpreter's lock is released. `_native.pyi` has their types. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include "crc32c.h"
#include "frame.h"
#include "gather.h"
#include "platform.h"

/* Most chunks of one call; their bounds are on the stack. `shard.py` repeats the number. */
enum { MAX_CHUNKS = 4096 };

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

PyDoc_STRVAR(gather_doc,
             "gather($module, values, order, out, *, row_bytes, narrow)\n--\n\n"
             "Copy rows in another order; return whether all of them could be cast.");

static PyObject *gather(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"values", "order", "out", "row_bytes", "narrow", NULL};
    PyObject *result = NULL;
    Py_buffer values, order, out;
    Py_ssize_t row_bytes;
    int narrow;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*y*w*$np:gather", names, &values, &order, &out, &row_bytes,
                                     &narrow)) {
        return NULL;
    }
    const size_t n = (size_t)order.len / sizeof(int64_t);
    const size_t limit = narrow ? MAX_NARROWED_WIDTH * sizeof(float) : (size_t)PY_SSIZE_T_MAX;
    if (row_bytes < 1 || (size_t)row_bytes > limit || (narrow && (size_t)row_bytes % sizeof(float)) ||
        values.len % row_bytes || (size_t)order.len % sizeof(int64_t) || (n > 0 && (size_t)row_bytes > SIZE_MAX / n) ||
        (size_t)out.len * (narrow ? 2 : 1) != n * (size_t)row_bytes) {
        PyErr_SetString(PyExc_ValueError, "out: expected room for as many rows as there are in the order");
    } else {
        const RowOrder rows = {values.buf, (size_t)row_bytes, order.buf, n};
        bool is_valid, done = true;
        Py_BEGIN_ALLOW_THREADS
        is_valid = has_valid_order(&rows, (size_t)(values.len / row_bytes));
        if (is_valid && narrow) {
            done = gather_narrowed(&rows, out.buf);
        } else if (is_valid) {
            gather_rows(&rows, out.buf);
        }
        Py_END_ALLOW_THREADS
        if (is_valid) {
            result = PyBool_FromLong(done);
        } else {
            PyErr_SetString(PyExc_IndexError, "order: expected numbers of rows");
        }
    }
    PyBuffer_Release(&values);
    PyBuffer_Release(&order);
    PyBuffer_Release(&out);
    return result;
}

/* By way of `void (*)(void)`, as Python's documentation asks: the methods with keywords have another type. */
static PyMethodDef methods[] = {
    {"decode", (PyCFunction)(void (*)(void))decode, METH_VARARGS | METH_KEYWORDS, decode_doc},
    {"gather", (PyCFunction)(void (*)(void))gather, METH_VARARGS | METH_KEYWORDS, gather_doc},
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
    .m_doc = "Decodes runs of chunks, and gathers rows for them.",
    .m_slots = slots,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
