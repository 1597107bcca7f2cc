#include "module_rows.h"

#include "cast_loss.h"
#include "gather.h"
#include "hash_order.h"
#include "scatter.h"

static bool is_aligned(const Py_buffer *buffer, size_t size) {
    return (size_t)buffer->len % size == 0 && (uintptr_t)buffer->buf % size == 0;
}

const char hash_order_doc[] = "hash_order($module, out, *, rows, first_key, second_key, same_bits, threads)\n--\n\n"
                              "Write the indices that sort rows by their keyed hashes.";

PyObject *py_hash_order(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"out", "rows", "first_key", "second_key", "same_bits", "threads", NULL};
    PyObject *rows_or_none, *result = NULL;
    Py_buffer out, rows = {0};
    Py_ssize_t same_bits, threads;
    unsigned long long first, second;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "w*$OKKnn:hash_order", names, &out, &rows_or_none, &first, &second,
                                     &same_bits, &threads)) {
        return NULL;
    }
    const bool has_rows = rows_or_none != Py_None;
    if (has_rows && PyObject_GetBuffer(rows_or_none, &rows, PyBUF_SIMPLE)) {
        goto done;
    }
    const HashedRows hashed = {
        .key = {first, second},
        .numbers = has_rows ? rows.buf : NULL,
        .n = (size_t)out.len / sizeof(uint64_t),
        .same_bits = (unsigned)same_bits,
    };
    if (!is_aligned(&out, sizeof(uint64_t)) || hashed.n > MAX_HASHED_ROWS) {
        PyErr_SetString(PyExc_ValueError, "out: expected aligned int64, fewer than 2**32 of them");
    } else if (has_rows && (size_t)rows.len != hashed.n * sizeof(uint32_t)) {
        PyErr_SetString(PyExc_ValueError, "rows: expected one uint32 for each entry of `out`");
    } else if (same_bits < 0 || same_bits > MAX_SAME_BITS || threads < 1 || threads > MAX_HASH_THREADS) {
        PyErr_Format(PyExc_ValueError, "expected same_bits of 0 to %d and threads of 1 to %d, got %zd and %zd",
                     MAX_SAME_BITS, MAX_HASH_THREADS, same_bits, threads);
    } else {
        bool is_done;
        Py_BEGIN_ALLOW_THREADS
        is_done = hash_order(&hashed, out.buf, (size_t)threads);
        Py_END_ALLOW_THREADS
        result = is_done ? Py_NewRef(Py_None) : PyErr_NoMemory();
    }
done:
    PyBuffer_Release(&out);
    PyBuffer_Release(&rows);
    return result;
}

const char hash_buckets_doc[] = "hash_buckets($module, out, *, first_row, first_key, second_key, bits)\n--\n\n"
                                "Write the leading bits of the keyed hashes of neighbouring rows.";

PyObject *py_hash_buckets(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"out", "first_row", "first_key", "second_key", "bits", NULL};
    PyObject *result = NULL;
    Py_buffer out;
    Py_ssize_t bits;
    unsigned long long first_row, first, second;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "w*$KKKn:hash_buckets", names, &out, &first_row, &first, &second,
                                     &bits)) {
        return NULL;
    }
    if (!is_aligned(&out, sizeof(uint16_t)) || bits < 0 || bits > MAX_BUCKET_NUMBER_BITS) {
        PyErr_Format(PyExc_ValueError, "expected aligned uint16, and bits of 0 to %d", MAX_BUCKET_NUMBER_BITS);
    } else {
        Py_BEGIN_ALLOW_THREADS
        hash_buckets((HashKey){first, second}, first_row, (unsigned)bits, out.buf, (size_t)out.len / sizeof(uint16_t));
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&out);
    return result;
}

const char scatter_doc[] = "scatter($module, values, buckets, out, counts, *, itemsize, narrow)\n--\n\n"
                           "Write rows grouped by bucket, and the number of rows of each bucket.";

PyObject *py_scatter(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"values", "buckets", "out", "counts", "itemsize", "narrow", NULL};
    PyObject *result = NULL;
    Py_buffer values, buckets, out, counts;
    Py_ssize_t itemsize;
    int narrow;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*y*w*w*$np:scatter", names, &values, &buckets, &out, &counts,
                                     &itemsize, &narrow)) {
        return NULL;
    }
    const size_t n = (size_t)buckets.len / sizeof(uint16_t), scale = narrow ? 2 : 1;
    const Scattered rows = {
        .values = values.buf,
        .row_bytes = n == 0 ? 0 : (size_t)values.len / n,
        .buckets = buckets.buf,
        .n = n,
        .n_buckets = (size_t)counts.len / sizeof(size_t),
        .itemsize = (size_t)itemsize,
        .narrow = narrow,
    };
    const bool fits = (size_t)buckets.len % sizeof(uint16_t) == 0 && (size_t)values.len == rows.row_bytes * n &&
                      values.len % (Py_ssize_t)scale == 0 && values.len / (Py_ssize_t)scale == out.len;
    const bool is_size = narrow ? itemsize == 2 || itemsize == 4 : itemsize > 0;
    if (!fits || (n > 0 && rows.row_bytes == 0) || !is_size || !is_aligned(&counts, sizeof(size_t)) || rows.n_buckets > MAX_SCATTER_BUCKETS ||
        rows.row_bytes % ((size_t)itemsize * scale) ||
        (narrow && rows.row_bytes / ((size_t)itemsize * scale) > MAX_NARROWED_WIDTH)) {
        PyErr_SetString(PyExc_ValueError, "expected whole rows, a bucket for each, and room for all of them");
    } else {
        bool is_valid, is_done = false;
        Py_BEGIN_ALLOW_THREADS
        is_valid = count_buckets(&rows, counts.buf);
        is_done = is_valid && scatter_rows(&rows, counts.buf, out.buf);
        Py_END_ALLOW_THREADS
        if (is_valid) {
            result = PyBool_FromLong(is_done);
        } else {
            PyErr_SetString(PyExc_IndexError, "buckets: expected numbers of buckets");
        }
    }
    PyBuffer_Release(&values);
    PyBuffer_Release(&buckets);
    PyBuffer_Release(&out);
    PyBuffer_Release(&counts);
    return result;
}

const char measure_loss_doc[] = "measure_loss($module, values, *, itemsize, stored_itemsize)\n--\n\n"
                                "Measure the loss of a cast to fewer bytes.";

PyObject *py_measure_loss(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"values", "itemsize", "stored_itemsize", NULL};
    PyObject *result = NULL;
    Py_buffer values;
    Py_ssize_t itemsize, stored;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*$nn:measure_loss", names, &values, &itemsize, &stored)) {
        return NULL;
    }
    if ((itemsize != sizeof(float) && itemsize != sizeof(double)) || (stored != itemsize && stored != itemsize / 2) ||
        values.len % itemsize) {
        PyErr_SetString(PyExc_ValueError, "expected float32 or float64, and a stored_itemsize of itemsize or half of it");
    } else {
        CastLoss loss;
        bool is_finite;
        Py_BEGIN_ALLOW_THREADS
        is_finite = measure_loss(values.buf, (size_t)(values.len / itemsize), (size_t)itemsize, (size_t)stored, &loss);
        Py_END_ALLOW_THREADS
        result = is_finite ? Py_BuildValue("dddn", loss.peak, loss.max_abs, loss.max_rel, (Py_ssize_t)loss.n_flushed)
                           : Py_NewRef(Py_None);
    }
    PyBuffer_Release(&values);
    return result;
}
