/* Reads of byte ranges of a file. Independent of Python. */
#ifndef ZARR_STORE_FETCH_H
#define ZARR_STORE_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Read `n_bytes` bytes of a file, from offset `start`. Return false if the file ends early or cannot be read. */
bool fetch(int descriptor, int64_t start, uint8_t *out, size_t n_bytes);

#endif
