/* Checked access to the points and number lists of a mesh. All functions are inline. */
#ifndef ZARR_STORE_MESH_ACCESS_H
#define ZARR_STORE_MESH_ACCESS_H

#include "geometry.h"

/* One list of numbers. */
typedef struct {
    const int64_t *numbers;
    size_t n;
} Numbers;

static inline bool take_list(const NumberLists *lists, size_t i, Numbers *list) {
    const int64_t first = lists->offsets[i], stop = lists->offsets[i + 1];
    if (first < 0 || stop < first || (uint64_t)stop > lists->n_numbers) {
        return false;
    }
    *list = (Numbers){lists->numbers + first, (size_t)(stop - first)};
    return true;
}

static inline bool load_point(const MeshPoints *points, int64_t number, double *point) {
    if ((uint64_t)number >= points->n) {
        return false;
    }
    for (size_t axis = 0; axis < 3; axis++) {
        const size_t at = 3 * (size_t)number + axis;
        point[axis] = points->is_wide ? ((const double *)(const void *)points->values)[at]
                                      : (double)((const float *)(const void *)points->values)[at];
    }
    return true;
}

static inline bool load_local(const MeshPoints *points, int64_t number, const double *base, double *point) {
    const bool is_there = load_point(points, number, point);
    for (size_t axis = 0; is_there && axis < 3; axis++) {
        point[axis] -= base[axis];
    }
    return is_there;
}

static inline void store_center(const MeshPoints *points, uint8_t *out, size_t row, const double *base, const double *local) {
    for (size_t axis = 0; axis < 3; axis++) {
        const double value = base[axis] + local[axis];
        if (points->is_wide) {
            ((double *)(void *)out)[3 * row + axis] = value;
        } else {
            ((float *)(void *)out)[3 * row + axis] = (float)value;
        }
    }
}

/* Compute the mean of some points relative to `base`. */
static inline bool mean_of(const MeshPoints *points, Numbers corners, const double *base, double *mean) {
    double sum[3] = {0};
    for (size_t i = 0; i < corners.n; i++) {
        double point[3];
        if (!load_local(points, corners.numbers[i], base, point)) {
            return false;
        }
        for (size_t axis = 0; axis < 3; axis++) {
            sum[axis] += point[axis];
        }
    }
    for (size_t axis = 0; axis < 3; axis++) {
        mean[axis] = sum[axis] / (double)(corners.n > 0 ? corners.n : 1);
    }
    return true;
}

#endif
