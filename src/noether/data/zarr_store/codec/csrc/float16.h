/* Conversion between float16 and float32 with instructions of the processor. Independent of Python. */
#ifndef ZARR_STORE_FLOAT16_H
#define ZARR_STORE_FLOAT16_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Convert `n` float16 values to float32 at `out`. `low` and `high` hold their low and high bytes; if `high` is NULL,
 * `low` holds the whole values. The result is exact, also for subnormal values, whatever the caller's floating-point
 * settings are. */
void widen(const uint8_t *low, const uint8_t *high, uint8_t *out, size_t n);

/* Convert `n` float32 values to float16 at `out`, rounded to nearest, ties to even. Return false if one of them is NaN.
 * Then do not use the values at `out`, because processors and NumPy convert NaN to different bits. */
bool narrow(const float *in, uint8_t *out, size_t n);

#endif
