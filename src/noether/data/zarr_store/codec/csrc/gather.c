#include "gather.h"

#include <string.h>

#include "float16.h"
#include "platform.h"

/* The rows are at random addresses, so each copy waits for memory unless the row was prefetched. */
enum { ROWS_AHEAD = 32 };

/* Return entry `i` of the order. The buffer may be unaligned, so the entry is copied; the compiler makes the copy one
 * instruction. */
static inline uint64_t row_number(const uint8_t *order, size_t i) {
    uint64_t number;
    memcpy(&number, order + i * sizeof number, sizeof number);
    return number;
}

RowOrder part_of(const RowOrder *rows, size_t first, size_t n) {
    RowOrder part = {rows->values, rows->row_bytes, rows->order, n};
    if (rows->order == NULL) {
        part.values += first * rows->row_bytes;
    } else {
        part.order += first * sizeof(int64_t);
    }
    return part;
}

bool has_valid_order(const RowOrder *rows, size_t n_rows) {
    if (rows->order == NULL) {
        return rows->n <= n_rows;
    }
    int outside = 0;
    for (size_t i = 0; i < rows->n; i++) {
        outside |= row_number(rows->order, i) >= n_rows; /* a negative number is large as unsigned */
    }
    return !outside;
}

/* Copy rows `first` to `stop` of the new order. Inlined, so that a copy of constant size is a few instructions. */
static inline __attribute__((always_inline)) void copy_rows(const RowOrder *rows, size_t first, size_t stop,
                                                            uint8_t *out, size_t row_bytes) {
    const uint8_t *const values = rows->values, *const order = rows->order;
    const size_t n = rows->n;
    for (size_t i = first; i < stop; i++, out += row_bytes) {
        if (i + ROWS_AHEAD < n) {
            PREFETCH(values + row_number(order, i + ROWS_AHEAD) * row_bytes);
        }
        memcpy(out, values + row_number(order, i) * row_bytes, row_bytes);
    }
}

static void copy_part(const RowOrder *rows, size_t first, size_t stop, uint8_t *out) {
    if (rows->order == NULL) {
        memcpy(out, rows->values + first * rows->row_bytes, (stop - first) * rows->row_bytes);
        return;
    }
    switch (rows->row_bytes) {
    case sizeof(float):
        copy_rows(rows, first, stop, out, sizeof(float));
        break;
    case 3 * sizeof(float):
        copy_rows(rows, first, stop, out, 3 * sizeof(float));
        break;
    default:
        copy_rows(rows, first, stop, out, rows->row_bytes);
    }
}

void gather_rows(const RowOrder *rows, uint8_t *out) { copy_part(rows, 0, rows->n, out); }

bool narrow_values(const WideValues *in, uint8_t *out, size_t n, size_t itemsize) {
    if (itemsize == 2) {
        return narrow(in->singles, out, n);
    }
    for (size_t i = 0; i < n; i++) {
        const float value = (float)in->doubles[i];
        memcpy(out + i * sizeof value, &value, sizeof value);
    }
    return true;
}

bool gather_narrowed(const RowOrder *rows, uint8_t *out, size_t itemsize) {
    WideValues gathered; /* small enough for the L1 cache */
    const size_t width = rows->row_bytes / (2 * itemsize), n_at_once = MAX_NARROWED_WIDTH / width;
    for (size_t first = 0; first < rows->n; first += n_at_once) {
        const size_t stop = rows->n - first < n_at_once ? rows->n : first + n_at_once;
        copy_part(rows, first, stop, (uint8_t *)&gathered);
        if (!narrow_values(&gathered, out + itemsize * first * width, (stop - first) * width, itemsize)) {
            return false;
        }
    }
    return true;
}
