#include "scatter.h"

#include <string.h>

#include "gather.h"

static inline uint16_t bucket_of(const Scattered *rows, size_t i) {
    uint16_t number;
    memcpy(&number, rows->buckets + i * sizeof number, sizeof number);
    return number;
}

bool count_buckets(const Scattered *rows, size_t *counts) {
    memset(counts, 0, rows->n_buckets * sizeof *counts);
    for (size_t i = 0; i < rows->n; i++) {
        const uint16_t bucket = bucket_of(rows, i);
        if (bucket >= rows->n_buckets) {
            return false;
        }
        counts[bucket]++;
    }
    return true;
}

/* Copy rows from `values` to the next places of their buckets. Inlined, so that a copy of constant size is a few
 * instructions. */
static inline __attribute__((always_inline)) void place_rows(const Scattered *rows, size_t first, size_t stop,
                                                             const uint8_t *values, size_t row_bytes, uint8_t **places) {
    for (size_t i = first; i < stop; i++, values += row_bytes) {
        uint8_t **place = &places[bucket_of(rows, i)];
        memcpy(*place, values, row_bytes);
        *place += row_bytes;
    }
}

static void place_part(const Scattered *rows, size_t first, size_t stop, const uint8_t *values, size_t row_bytes,
                       uint8_t **places) {
    switch (row_bytes) {
    case 2:
        place_rows(rows, first, stop, values, 2, places);
        break;
    case 4:
        place_rows(rows, first, stop, values, 4, places);
        break;
    case 6:
        place_rows(rows, first, stop, values, 6, places);
        break;
    case 12:
        place_rows(rows, first, stop, values, 12, places);
        break;
    default:
        place_rows(rows, first, stop, values, row_bytes, places);
    }
}

bool scatter_rows(const Scattered *rows, const size_t *counts, uint8_t *out) {
    uint8_t *places[MAX_SCATTER_BUCKETS];
    const size_t row_bytes = rows->narrow ? rows->row_bytes / 2 : rows->row_bytes;
    for (size_t bucket = 0; bucket < rows->n_buckets; bucket++) {
        places[bucket] = out;
        out += counts[bucket] * row_bytes;
    }
    if (!rows->narrow || rows->n == 0) {
        place_part(rows, 0, rows->n, rows->values, row_bytes, places);
        return true;
    }
    WideValues given; /* a copy, because the buffer may be unaligned */
    uint8_t narrowed[MAX_NARROWED_WIDTH * sizeof(float)];
    const size_t width = row_bytes / rows->itemsize, n_at_once = MAX_NARROWED_WIDTH / width;
    for (size_t first = 0; first < rows->n; first += n_at_once) {
        const size_t stop = rows->n - first < n_at_once ? rows->n : first + n_at_once;
        memcpy(&given, rows->values + first * rows->row_bytes, (stop - first) * rows->row_bytes);
        if (!narrow_values(&given, narrowed, (stop - first) * width, rows->itemsize)) {
            return false;
        }
        place_part(rows, first, stop, narrowed, row_bytes, places);
    }
    return true;
}
