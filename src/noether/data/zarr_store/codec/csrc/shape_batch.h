/* Centres of cells with a fixed number of points, computed for four cells of one shape at a time. */
#ifndef ZARR_STORE_SHAPE_BATCH_H
#define ZARR_STORE_SHAPE_BATCH_H

#include "fan.h"
#include "mesh_access.h"

enum { MAX_CORNERS = 8, MAX_FACES = 6, MAX_FACE_CORNERS = 4 };

typedef struct {
    size_t n_corners;
    uint8_t corners[MAX_FACE_CORNERS];
} Face;

/* A type of cells. Seen from outside, the corners of a face are in counterclockwise order. */
typedef struct {
    uint8_t type;
    size_t n_corners, n_faces;
    Face faces[MAX_FACES];
} Shape;

/* `cells.py` repeats these faces. */
static const Shape shapes[] = {
    {10, 4, 4, {{3, {0, 1, 3}}, {3, {1, 2, 3}}, {3, {2, 0, 3}}, {3, {0, 2, 1}}}},
    {11, 8, 6, {{4, {0, 4, 6, 2}}, {4, {1, 3, 7, 5}}, {4, {0, 1, 5, 4}}, {4, {2, 6, 7, 3}}, {4, {0, 2, 3, 1}}, {4, {4, 5, 7, 6}}}},
    {12, 8, 6, {{4, {0, 4, 7, 3}}, {4, {1, 2, 6, 5}}, {4, {0, 1, 5, 4}}, {4, {3, 7, 6, 2}}, {4, {0, 3, 2, 1}}, {4, {4, 5, 6, 7}}}},
    {13, 6, 5, {{3, {0, 1, 2}}, {3, {3, 5, 4}}, {4, {0, 3, 4, 1}}, {4, {1, 4, 5, 2}}, {4, {2, 5, 3, 0}}}},
    {14, 5, 5, {{4, {0, 3, 2, 1}}, {3, {0, 1, 4}}, {3, {1, 2, 4}}, {3, {2, 3, 4}}, {3, {3, 0, 4}}}},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static inline const Shape *shape_of(uint8_t type) {
    return type >= shapes[0].type && type <= shapes[N_SHAPES - 1].type ? &shapes[type - shapes[0].type] : NULL;
}

/* Cells of one shape, one cell in each lane. */
typedef struct {
    size_t n;
    size_t rows[N_LANES]; /* row of the result for each cell */
    double base[N_LANES][3];
    Lanes corners[MAX_CORNERS][3];
} Batch;

/* Compute the centre and area vector of one face of each cell, relative to the cell's base. */
ALWAYS_INLINE void fan_batch(const Batch *batch, const uint8_t *numbers, size_t n, Lanes *center, Lanes *vector) {
    Lanes mean[3], corners[MAX_FACE_CORNERS][3];
    for (size_t axis = 0; axis < 3; axis++) {
        Lanes sum = {0};
        for (size_t i = 0; i < n; i++) {
            sum += batch->corners[numbers[i]][axis];
        }
        mean[axis] = sum / (double)n;
        for (size_t i = 0; i < n; i++) {
            corners[i][axis] = batch->corners[numbers[i]][axis] - mean[axis];
        }
    }
    Fan fan = {0};
    for (size_t i = 0; i < n; i++) {
        add_triangle(&fan, corners[i], corners[i + 1 < n ? i + 1 : 0]);
    }
    finish_fan(&fan, mean, center);
    for (size_t axis = 0; axis < 3; axis++) {
        vector[axis] = fan.vector[axis];
    }
}

/* Compute and store the centres of a batch, which can have empty lanes, and empty the batch. */
ALWAYS_INLINE void finish_batch(const MeshPoints *points, const Shape *shape, Batch *batch, uint8_t *out) {
    Lanes centers[MAX_FACES][3], vectors[MAX_FACES][3], mean[3] = {0};
    for (size_t face = 0; face < shape->n_faces; face++) {
        const uint8_t *numbers = shape->faces[face].corners;
        if (shape->faces[face].n_corners == 4) {
            fan_batch(batch, numbers, 4, centers[face], vectors[face]);
        } else {
            fan_batch(batch, numbers, 3, centers[face], vectors[face]);
        }
        for (size_t axis = 0; axis < 3; axis++) {
            mean[axis] += centers[face][axis];
        }
    }
    Pyramids pyramids = {0};
    for (size_t axis = 0; axis < 3; axis++) {
        mean[axis] /= (double)shape->n_faces;
    }
    for (size_t face = 0; face < shape->n_faces; face++) {
        Lanes arm[3];
        for (size_t axis = 0; axis < 3; axis++) {
            arm[axis] = centers[face][axis] - mean[axis];
        }
        add_pyramid(&pyramids, vectors[face], arm);
    }
    const Lanes divisor = divisor_of(&pyramids);
    for (size_t axis = 0; axis < 3; axis++) {
        mean[axis] += pyramids.moment[axis] / divisor;
    }
    for (size_t lane = 0; lane < batch->n; lane++) {
        const double center[3] = {mean[0][lane], mean[1][lane], mean[2][lane]};
        store_center(points, out, batch->rows[lane], batch->base[lane], center);
    }
    batch->n = 0;
}

ALWAYS_INLINE bool add_to_batch(const MeshPoints *points, const Shape *shape, Numbers corners, size_t row, Batch *batch) {
    const size_t lane = batch->n;
    if (corners.n != shape->n_corners || !load_point(points, corners.numbers[0], batch->base[lane])) {
        return false;
    }
    for (size_t i = 0; i < corners.n; i++) {
        double point[3];
        if (!load_local(points, corners.numbers[i], batch->base[lane], point)) {
            return false;
        }
        for (size_t axis = 0; axis < 3; axis++) {
            batch->corners[i][axis][lane] = point[axis];
        }
    }
    batch->rows[lane] = row;
    batch->n++;
    return true;
}

#endif
