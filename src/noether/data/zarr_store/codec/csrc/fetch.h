/* Bytes of a file. Knows no Python. */
#ifndef ZARR_STORE_FETCH_H
#define ZARR_STORE_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Read `n_bytes` bytes of a file, from `start` on. Return false where the file ends early, or cannot be read now. */
bool fetch(int descriptor, int64_t start, uint8_t *out, size_t n_bytes);

#endif
