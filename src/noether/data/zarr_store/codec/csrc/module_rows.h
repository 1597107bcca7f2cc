/* The Python functions on rows; `_native.pyi` has the types. */
#ifndef ZARR_STORE_MODULE_ROWS_H
#define ZARR_STORE_MODULE_ROWS_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

/* Methods with keywords have another type. The documentation of Python requires this cast through `void (*)(void)`. */
#define WITH_KEYWORDS(function) ((PyCFunction)(void (*)(void))(function))

PyObject *py_hash_order(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *py_hash_buckets(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *py_scatter(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *py_measure_loss(PyObject *module, PyObject *args, PyObject *kwargs);

extern const char hash_order_doc[], hash_buckets_doc[], scatter_doc[], measure_loss_doc[];

#endif
