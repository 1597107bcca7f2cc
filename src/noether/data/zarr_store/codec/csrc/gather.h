/* Gathering of the rows of an array in another order. Independent of Python. */
#ifndef ZARR_STORE_GATHER_H
#define ZARR_STORE_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Maximum number of values of a row for `gather_narrowed`. `casting.py` repeats the number. */
enum { MAX_NARROWED_WIDTH = 2048 };

/* Rows of an array, and the order in which they are gathered: row `i` of the result is row `order[i]` of `values`. */
typedef struct {
    const uint8_t *values;
    size_t row_bytes;
    const uint8_t *order; /* `n` int64, maybe unaligned; NULL keeps the order */
    size_t n;
} RowOrder;

/* Return the rows `first` to `first + n` of the new order. */
RowOrder part_of(const RowOrder *rows, size_t first, size_t n);

/* Return whether every entry of the order is a row number below `n_rows`. */
bool has_valid_order(const RowOrder *rows, size_t n_rows);

/* Copy the rows to `out` in the new order. `out` has room for n * row_bytes bytes, and the order must be valid. */
void gather_rows(const RowOrder *rows, uint8_t *out);

/* Values before a cast. */
typedef union {
    float singles[MAX_NARROWED_WIDTH];
    double doubles[MAX_NARROWED_WIDTH];
} WideValues;

/* Cast `n` values to half their size, rounded to nearest: float32 to float16 (`itemsize` 2), or float64 to float32
 * (`itemsize` 4). A value beyond the range becomes infinite. Return false if a float32 value is NaN; then do not use
 * the values at `out`. */
bool narrow_values(const WideValues *in, uint8_t *out, size_t n, size_t itemsize);

/* Copy the rows to `out` in the new order, cast by `narrow_values`, and return its result. The order must be valid, and
 * rows must have at most MAX_NARROWED_WIDTH values. */
bool gather_narrowed(const RowOrder *rows, uint8_t *out, size_t itemsize);

#endif
