/* Grouping of rows by bucket. Independent of Python. */
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
    const uint8_t *buckets; /* `n` uint16, maybe unaligned */
    size_t n, n_buckets;
    size_t itemsize; /* bytes of a stored value */
    bool narrow;     /* whether the values have twice the itemsize; see `narrow_values` */
} Scattered;

/* Count the rows of each bucket. Return false if a bucket number is not below `n_buckets`. */
bool count_buckets(const Scattered *rows, size_t *counts);

/* Write the rows of bucket 0, then the rows of bucket 1, and so on. The rows of a bucket keep their order. `counts`
 * must be from `count_buckets`, and rows that are narrowed must have at most MAX_NARROWED_WIDTH values. Return the
 * result of `narrow_values`, or true without a cast. */
bool scatter_rows(const Scattered *rows, const size_t *counts, uint8_t *out);

#endif
