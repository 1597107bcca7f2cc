/* Rows of an array in another order. Knows no Python. */
#ifndef ZARR_STORE_GATHER_H
#define ZARR_STORE_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Most values of a row that `gather_narrowed` takes. `encoding.py` repeats the number. */
enum { MAX_NARROWED_WIDTH = 2048 };

/* Rows of an array, and the order in which they are gathered: row `i` of the result is row `order[i]` of `values`. */
typedef struct {
    const uint8_t *values;
    size_t row_bytes;
    const uint8_t *order; /* `n` int64 at any address; NULL where rows keep their order */
    size_t n;
} RowOrder;

/* Return rows `first` to `first + n` of the new order. */
RowOrder part_of(const RowOrder *rows, size_t first, size_t n);

/* Return whether every entry of the order is the number of one of `n_rows` rows. */
bool has_valid_order(const RowOrder *rows, size_t n_rows);

/* Copy the rows in their order to `out`, which has room for n * row_bytes bytes. The order must be valid. */
void gather_rows(const RowOrder *rows, uint8_t *out);

/* Copy rows of float32 in their order to `out`, as float16. The order must be valid, and rows have at most
 * MAX_NARROWED_WIDTH values. Return false if one of the values is NaN; the values at `out` are then not to be used. */
bool gather_narrowed(const RowOrder *rows, uint8_t *out);

#endif
