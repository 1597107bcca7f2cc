/* The functions that decode, for Python: arguments are parsed and checked here, buffers are held, and the interpreter's
 * lock is released. `_native.pyi` has their types. */
#ifndef ZARR_STORE_MODULE_DECODE_H
#define ZARR_STORE_MODULE_DECODE_H

#include "module_rows.h"

/* Most chunks of one call. `shard.py` repeats the number. */
enum { MAX_CHUNKS = 4096 };
/* Most bytes of a chunk before compression, by blosc's format. */
enum { MAX_CHUNK_BYTES = INT32_MAX - 16 };

PyObject *py_decode(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *py_read(PyObject *module, PyObject *args, PyObject *kwargs);

extern const char decode_doc[], read_doc[];

#endif
