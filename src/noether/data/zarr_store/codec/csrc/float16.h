/* float16 to float32 and back, by the processor's own instructions. Knows no Python. */
#ifndef ZARR_STORE_FLOAT16_H
#define ZARR_STORE_FLOAT16_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Widen `n` float16 to as many float32 at `out`. Their low and high bytes lie in `low` and `high`; if `high` is NULL,
 * the whole values lie in `low`. The result is exact for subnormal values too, whatever the caller's floating-point
 * settings are. */
void widen(const uint8_t *low, const uint8_t *high, uint8_t *out, size_t n);

/* Narrow `n` float32 to as many float16 at `out`, to the nearest, ties to even. Return false if one of them is NaN:
 * processors and NumPy make different float16 of it, and the values at `out` are not to be used. */
bool narrow(const float *in, uint8_t *out, size_t n);

#endif
