#include "cast_loss.h"

#include <math.h>
#include <string.h>

#include "float16.h"

/* Number of values that are measured at once; they fit in the L1 cache. */
enum { TILE = 1024 };

/* Magnitudes are compared as integers, because their bits have the same order. The compiler can vectorize that, but not
 * comparisons of floats, because of NaN. From these integers on, a number is not finite. */
#define INFINITE_32 UINT32_C(0x7F800000)
#define INFINITE_64 UINT64_C(0x7FF0000000000000)

static inline uint32_t magnitude_32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & INT32_MAX;
}

static inline uint64_t magnitude_64(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & INT64_MAX;
}

static inline double number_32(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline double number_64(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline double larger(double a, double b) { return a > b ? a : b; }

/* Compare values with the stored values. The error of a float32 has fewer digits than the value, so float32 holds it
 * exactly. The relative error is rounded to float32, which keeps the order. It is computed in float64 only if it can be
 * the largest. */
static bool compare_32(const float *values, const float *stored, size_t n, CastLoss *loss) {
    uint32_t max_abs = 0, max_rel = 0, n_flushed = 0;
    for (size_t i = 0; i < n; i++) {
        const float error = stored[i] - values[i];
        const uint32_t is_zero = magnitude_32(stored[i]) == 0, was_zero = magnitude_32(values[i]) == 0;
        const uint32_t error_bits = magnitude_32(error), quotient = magnitude_32(error / values[i]) & (is_zero - 1);
        max_abs = error_bits > max_abs ? error_bits : max_abs;
        max_rel = quotient > max_rel ? quotient : max_rel;
        n_flushed += is_zero & ~was_zero;
    }
    if (max_abs >= INFINITE_32) {
        return false;
    }
    loss->max_abs = larger(loss->max_abs, number_32(max_abs));
    loss->n_flushed += n_flushed;
    if (max_rel > 0 && number_32(max_rel) >= (double)(float)loss->max_rel) {
        for (size_t i = 0; i < n; i++) {
            if (magnitude_32(stored[i]) != 0) {
                loss->max_rel = larger(loss->max_rel, fabs((double)(stored[i] - values[i]) / (double)values[i]));
            }
        }
    }
    return true;
}

static bool measure_tile_32(const float *values, size_t n, bool is_narrowed, CastLoss *loss) {
    uint32_t peak = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = magnitude_32(values[i]);
        peak = bits > peak ? bits : peak;
    }
    if (peak >= INFINITE_32) {
        return false;
    }
    loss->peak = larger(loss->peak, number_32(peak));
    if (!is_narrowed) {
        return true;
    }
    float stored[TILE];
    uint8_t narrowed[2 * TILE];
    narrow(values, narrowed, n);
    widen(narrowed, NULL, (uint8_t *)stored, n);
    return compare_32(values, stored, n, loss);
}

static bool measure_tile_64(const double *values, size_t n, bool is_narrowed, CastLoss *loss) {
    uint64_t peak = 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t bits = magnitude_64(values[i]);
        peak = bits > peak ? bits : peak;
    }
    /* Rounding keeps the order: if any value becomes infinite, the largest does. */
    if (peak >= INFINITE_64 || (is_narrowed && magnitude_32((float)number_64(peak)) >= INFINITE_32)) {
        return false;
    }
    loss->peak = larger(loss->peak, number_64(peak));
    for (size_t i = 0; is_narrowed && i < n; i++) {
        const double stored = (float)values[i], error = fabs(stored - values[i]);
        loss->max_abs = larger(loss->max_abs, error);
        if (stored != 0) {
            loss->max_rel = larger(loss->max_rel, error / fabs(values[i]));
        } else {
            loss->n_flushed += values[i] != 0;
        }
    }
    return true;
}

bool measure_loss(const uint8_t *values, size_t n, size_t itemsize, size_t stored_itemsize, CastLoss *loss) {
    const bool is_narrowed = stored_itemsize < itemsize;
    *loss = (CastLoss){0};
    for (size_t first = 0; first < n; first += TILE) {
        const size_t n_now = n - first < TILE ? n - first : TILE;
        union { /* a copy, because the buffer may be unaligned */
            float singles[TILE];
            double doubles[TILE];
        } tile;
        memcpy(&tile, values + first * itemsize, n_now * itemsize);
        const bool is_finite = itemsize == sizeof(float) ? measure_tile_32(tile.singles, n_now, is_narrowed, loss)
                                                         : measure_tile_64(tile.doubles, n_now, is_narrowed, loss);
        if (!is_finite) {
            return false;
        }
    }
    return true;
}
