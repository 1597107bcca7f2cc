/* Rows grouped by the bucket that each belongs to. Knows no Python. */
#ifndef ZARR_STORE_SCATTER_H
#define ZARR_STORE_SCATTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_SCATTER_BUCKETS = 1 << 12 };

/* The rows of a block, and the bucket of each. */
typedef struct {
    const uint8_t *values;
    size_t row_bytes;
    const uint8_t *buckets; /* `n` uint16 at any address */
    size_t n, n_buckets;
    size_t itemsize; /* of a stored value */
    bool narrow;     /* whether the values have twice that size; see `narrow_values` */
} Scattered;

/* Count the rows of each bucket; return false if one of the numbers is not that of a bucket. */
bool count_buckets(const Scattered *rows, size_t *counts);

/* Write the rows of bucket 0, then those of bucket 1, and so on, each in the order they have. The buckets must have been
 * counted, and rows that are narrowed have at most MAX_NARROWED_WIDTH values. Return what `narrow_values` does. */
bool scatter_rows(const Scattered *rows, const size_t *counts, uint8_t *out);

#endif
