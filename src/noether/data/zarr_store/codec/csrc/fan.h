/* Sums over the triangles of a face and over the pyramids of a cell, for four faces or cells at a time, in vectors.
 * The triangles meet at the mean of the corners, the pyramids at the mean of the face centres. Coordinates are
 * relative to a point of the cell, so that no digits are lost far from the origin. */
#ifndef ZARR_STORE_FAN_H
#define ZARR_STORE_FAN_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Processors with AVX2 use vectors of four doubles, other processors use two vectors of two; the sums are the same. The
 * choice is made when the module is loaded. AddressSanitizer does not support that. */
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)
#define WITH_WIDE_VECTORS __attribute__((target_clones("avx2", "default")))
#else
#define WITH_WIDE_VECTORS
#endif

enum { N_LANES = 4 };
typedef double Lanes __attribute__((vector_size(N_LANES * sizeof(double))));
typedef int64_t LaneMask __attribute__((vector_size(N_LANES * sizeof(int64_t)))); /* all bits of a lane are equal */

ALWAYS_INLINE Lanes choose(LaneMask mask, Lanes chosen, Lanes other) {
    return (Lanes)((mask & (LaneMask)chosen) | (~mask & (LaneMask)other));
}

ALWAYS_INLINE Lanes magnitudes(Lanes values) { return choose(values < 0, -values, values); }

ALWAYS_INLINE Lanes square_roots(Lanes values) {
    for (size_t lane = 0; lane < N_LANES; lane++) {
        values[lane] = sqrt(values[lane]);
    }
    return values;
}

typedef struct {
    Lanes vector[3]; /* area vector */
    Lanes moment[3]; /* three times the first moment of the triangles' areas, relative to the mean of the corners */
    Lanes area;      /* sum of the triangles' areas, all positive */
} Fan;

/* Add the triangle of two corners and the mean of all corners; both corners are relative to that mean. Two equal
 * corners add zero. */
ALWAYS_INLINE void add_triangle(Fan *fan, const Lanes *corner, const Lanes *following) {
    const Lanes x = 0.5 * (corner[1] * following[2] - corner[2] * following[1]);
    const Lanes y = 0.5 * (corner[2] * following[0] - corner[0] * following[2]);
    const Lanes z = 0.5 * (corner[0] * following[1] - corner[1] * following[0]);
    const Lanes area = square_roots(x * x + y * y + z * z);
    fan->vector[0] += x;
    fan->vector[1] += y;
    fan->vector[2] += z;
    fan->area += area;
    for (size_t axis = 0; axis < 3; axis++) {
        fan->moment[axis] += (corner[axis] + following[axis]) * area;
    }
}

/* Compute the centres of the faces. */
ALWAYS_INLINE void finish_fan(const Fan *fan, const Lanes *mean, Lanes *center) {
    const Lanes ones = {1, 1, 1, 1}, share = 1 / (3 * choose(fan->area > 0, fan->area, ones));
    for (size_t axis = 0; axis < 3; axis++) {
        center[axis] = mean[axis] + fan->moment[axis] * share;
    }
}

typedef struct {
    Lanes moment[3];
    Lanes volume;
    Lanes scale; /* sum of the magnitudes of all products that `volume` sums */
} Pyramids;

/* Add the pyramid of a face, with the area vector `vector`. `arm` is the face centre relative to the mean of all face
 * centres. */
ALWAYS_INLINE void add_pyramid(Pyramids *pyramids, const Lanes *vector, const Lanes *arm) {
    const Lanes x = vector[0] * arm[0], y = vector[1] * arm[1], z = vector[2] * arm[2], volume = x + y + z;
    pyramids->volume += volume;
    pyramids->scale += magnitudes(x) + magnitudes(y) + magnitudes(z);
    for (size_t axis = 0; axis < 3; axis++) {
        pyramids->moment[axis] += 0.75 * volume * arm[axis];
    }
}

/* A volume below this fraction of `scale` is a rounding error. `geometry.py` repeats the number. */
#define LEAST_VOLUME 1e-13

/* Return the volumes by which the moments are divided; infinity for cells without a volume. */
ALWAYS_INLINE Lanes divisor_of(const Pyramids *pyramids) {
    const Lanes none = {INFINITY, INFINITY, INFINITY, INFINITY};
    return choose(magnitudes(pyramids->volume) > LEAST_VOLUME * pyramids->scale, pyramids->volume, none);
}

#endif
