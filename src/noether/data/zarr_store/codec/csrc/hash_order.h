/* The order of row numbers by their keyed hashes. Independent of Python.
 *
 * The hash of row `i` is mix(mix(i + first) ^ second), where `mix` is the 64-bit finalizer of MurmurHash3. It is a
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

/* Limits of the arguments. */
#define MAX_HASHED_ROWS UINT32_MAX
enum { MAX_HASH_THREADS = 64, MAX_SAME_BITS = 16, MAX_BUCKET_NUMBER_BITS = 16 };

/* Some rows of a domain. */
typedef struct {
    HashKey key;
    const uint8_t *numbers; /* `n` uint32, maybe unaligned; NULL for rows 0 to `n` - 1 */
    size_t n;
    unsigned same_bits; /* number of leading bits that all hashes share, at most MAX_SAME_BITS */
} HashedRows;

/* Write the indices of the rows, 0 to `n` - 1, to `out`, in ascending order of the hashes of the rows. This uses at
 * most `n_threads` threads, including the caller's, and a few megabytes of memory besides `out`. Return false if there
 * is no memory. */
bool hash_order(const HashedRows *rows, uint64_t *out, size_t n_threads);

/* Write the leading bits of the hash of each of `n` rows from row `first` on. `bits` is their number, at most
 * MAX_BUCKET_NUMBER_BITS. */
void hash_buckets(HashKey key, uint64_t first, unsigned bits, uint16_t *out, size_t n);

#endif
