/* The Python functions on meshes; `_native.pyi` has the types. */
#ifndef ZARR_STORE_MODULE_GEOMETRY_H
#define ZARR_STORE_MODULE_GEOMETRY_H

#include "module_rows.h"

PyObject *py_cell_centers(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *py_face_vectors(PyObject *module, PyObject *args, PyObject *kwargs);

extern const char cell_centers_doc[], face_vectors_doc[];

#endif
