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
enum { MAX_HASH_THREADS = 64, MAX_SAME_BITS = 16, MAX_BUCKET_NUMBER_BITS = 16 };

/* Some rows of a domain. */
typedef struct {
    HashKey key;
    const uint8_t *numbers; /* `n` uint32 at any address; NULL for rows 0 to `n` - 1 */
    size_t n;
    unsigned same_bits; /* first bits of the hash, which all these rows have in common; at most MAX_SAME_BITS */
} HashedRows;

/* Write the places 0 to `n` - 1 of rows to `out` in ascending order of their hashes, in some threads, of which one is the
 * caller's. Beside `out`, this takes a few megabytes. Return false if there is no memory for them. */
bool hash_order(const HashedRows *rows, uint64_t *out, size_t n_threads);

/* Write the first `bits` bits, at most MAX_BUCKET_NUMBER_BITS, of the hash of each of `n` rows from row `first` on. */
void hash_buckets(HashKey key, uint64_t first, unsigned bits, uint16_t *out, size_t n);

#endif
