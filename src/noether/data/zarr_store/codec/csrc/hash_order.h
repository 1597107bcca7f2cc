/* The order of row numbers by their keyed hashes. Knows no Python.
 *
 * The hash of row `i` is mix(mix(i + first) ^ second), where `mix` is the finalizer of MurmurHash3 for 64 bits. It is a
 * bijection, so no two rows have the same hash.
 *
 * The finalizer: https://github.com/aappleby/smhasher/blob/master/src/MurmurHash3.cpp
 */
#ifndef ZARR_STORE_HASH_ORDER_H
#define ZARR_STORE_HASH_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t first, second;
} HashKey;

/* Most rows, and most threads, of one call. */
#define MAX_HASHED_ROWS UINT32_MAX
enum { MAX_HASH_THREADS = 64 };

/* Write the numbers 0 to `n` - 1 to `out` in ascending order of their hashes, in some threads, of which one is the
 * caller's. Beside `out`, this takes a few megabytes. Return false if there is no memory for them. */
bool hash_order(HashKey key, uint64_t *out, size_t n, size_t n_threads);

#endif
