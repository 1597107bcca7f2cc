/* The loss of a cast. Independent of Python. */
#ifndef ZARR_STORE_CAST_LOSS_H
#define ZARR_STORE_CAST_LOSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    double peak;              /* largest magnitude of a value */
    double max_abs, max_rel;  /* largest errors; values that are stored as zero have no relative error */
    size_t n_flushed;         /* number of values that are not zero but are stored as zero */
} CastLoss;

/* Measure the loss of `n` values of `itemsize` bytes that are stored in `stored_itemsize` bytes: float32 as float32 or
 * float16, float64 as float64 or float32. Return false if a value is not finite before or after the cast; `loss` is
 * then not valid. */
bool measure_loss(const uint8_t *values, size_t n, size_t itemsize, size_t stored_itemsize, CastLoss *loss);

#endif
