/* The Python functions `decode` and `read`. They parse and check the arguments, hold the buffers, and release the GIL.
 * `_native.pyi` has the types. */
#ifndef ZARR_STORE_MODULE_DECODE_H
#define ZARR_STORE_MODULE_DECODE_H

#include "module_rows.h"

/* Maximum number of chunks of one call. `shard.py` repeats the number. */
enum { MAX_CHUNKS = 4096 };
/* Maximum number of bytes of a chunk before compression, by the format of blosc. */
enum { MAX_CHUNK_BYTES = INT32_MAX - 16 };

PyObject *py_decode(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *py_read(PyObject *module, PyObject *args, PyObject *kwargs);

extern const char decode_doc[], read_doc[];

#endif
