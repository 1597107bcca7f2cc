/* Rows of an array in another order. Knows no Python. */
#ifndef ZARR_STORE_GATHER_H
#define ZARR_STORE_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Most values of a row that `gather_narrowed` takes. `casting.py` repeats the number. */
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

/* Values before a cast. */
typedef union {
    float singles[MAX_NARROWED_WIDTH];
    double doubles[MAX_NARROWED_WIDTH];
} WideValues;

/* Cast `n` values to the nearest of half their size, which is `itemsize`: float32 to float16, float64 to float32. A value
 * beyond the range becomes infinite. Return false if one of the float32 is NaN; the values at `out` are then not to be
 * used. */
bool narrow_values(const WideValues *in, uint8_t *out, size_t n, size_t itemsize);

/* Copy rows in their order to `out`, cast by `narrow_values`, whose result is returned. The order must be valid, and rows
 * have at most MAX_NARROWED_WIDTH values. */
bool gather_narrowed(const RowOrder *rows, uint8_t *out, size_t itemsize);

#endif
