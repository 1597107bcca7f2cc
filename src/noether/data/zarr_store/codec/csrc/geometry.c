#include "geometry.h"

#include <stdlib.h>
#include <string.h>

#include "fan.h"
#include "mesh_access.h"
#include "shape_batch.h"

enum { POLYGON_TYPE = 7, PIXEL_TYPE = 8, QUAD_TYPE = 9, TRIANGLE_TYPE = 5, POLYHEDRON_TYPE = 42 };

/* Load corner `i` of each face relative to `base`. If a face has fewer corners, load its last corner. */
ALWAYS_INLINE bool load_corners(const MeshPoints *points, const Numbers *faces, size_t i, const double *base,
                                Lanes *corners) {
    for (size_t lane = 0; lane < N_LANES; lane++) {
        double point[3];
        const size_t n = faces[lane].n;
        if (!load_local(points, faces[lane].numbers[i < n ? i : n - 1], base, point)) {
            return false;
        }
        for (size_t axis = 0; axis < 3; axis++) {
            corners[axis][lane] = point[axis];
        }
    }
    return true;
}

/* Compute the centres, relative to `base`, and the area vectors of four faces with any numbers of corners. */
ALWAYS_INLINE bool fan_faces(const MeshPoints *points, const Numbers *faces, const double *base, Lanes *center,
                             Lanes *vector) {
    size_t most = 0;
    Lanes counts, sum[3] = {0}, mean[3], first[3], corner[3], following[3];
    for (size_t lane = 0; lane < N_LANES; lane++) {
        if (faces[lane].n == 0) {
            return false;
        }
        most = faces[lane].n > most ? faces[lane].n : most;
        counts[lane] = (double)faces[lane].n;
    }
    for (size_t i = 0; i < most; i++) {
        if (!load_corners(points, faces, i, base, corner)) {
            return false;
        }
        const Lanes number = (Lanes){1, 1, 1, 1} * (double)i, none = {0};
        for (size_t axis = 0; axis < 3; axis++) {
            sum[axis] += choose(number < counts, corner[axis], none);
        }
    }
    (void)load_corners(points, faces, 0, base, first); /* succeeds: the loop above loaded the same corners */
    for (size_t axis = 0; axis < 3; axis++) {
        mean[axis] = sum[axis] / counts;
        first[axis] -= mean[axis];
        corner[axis] = first[axis];
    }
    Fan fan = {0};
    for (size_t i = 1; i < most; i++) {
        (void)load_corners(points, faces, i, base, following);
        for (size_t axis = 0; axis < 3; axis++) {
            following[axis] -= mean[axis];
        }
        add_triangle(&fan, corner, following);
        for (size_t axis = 0; axis < 3; axis++) {
            corner[axis] = following[axis];
        }
    }
    add_triangle(&fan, corner, first);
    finish_fan(&fan, mean, center);
    for (size_t axis = 0; axis < 3; axis++) {
        vector[axis] = fan.vector[axis];
    }
    return true;
}

/* Four faces of a polyhedron, one in each lane. */
typedef struct {
    Lanes center[3];
    Lanes vector[3];
    LaneMask is_face; /* the last lanes may be empty */
} FaceBatch;

/* A reusable buffer for the faces of a polyhedron. */
typedef struct {
    FaceBatch *batches;
    size_t n;
} FaceBuffer;

static bool reserve_faces(FaceBuffer *buffer, size_t n) {
    if (n > buffer->n) {
        free(buffer->batches);
        buffer->batches = aligned_alloc(sizeof(Lanes), n * sizeof *buffer->batches);
        buffer->n = buffer->batches == NULL ? 0 : n;
    }
    return buffer->n >= n;
}

/* Take the corners of four faces. If there are fewer, fill the other lanes with the face `first`. */
ALWAYS_INLINE bool take_faces(const MeshCells *cells, Numbers faces, size_t first, Numbers *corners, LaneMask *is_face) {
    for (size_t lane = 0; lane < N_LANES; lane++) {
        const bool is_there = first + lane < faces.n;
        const int64_t number = faces.numbers[is_there ? first + lane : first];
        if ((uint64_t)number >= cells->face_points.n || !take_list(&cells->face_points, (size_t)number, &corners[lane])) {
            return false;
        }
        (*is_face)[lane] = is_there ? -1 : 0;
    }
    return true;
}

ALWAYS_INLINE double sum_of(Lanes values) { return (values[0] + values[1]) + (values[2] + values[3]); }

ALWAYS_INLINE GeometryResult polyhedron_center(const MeshPoints *points, const MeshCells *cells, Numbers faces,
                                               FaceBuffer *buffer, double *base, double *center) {
    const size_t n_batches = (faces.n + N_LANES - 1) / N_LANES;
    const Lanes none = {0};
    if (!reserve_faces(buffer, n_batches)) {
        return NO_MEMORY_FOR_FACES;
    }
    double mean[3] = {0};
    for (size_t i = 0; i < n_batches; i++) {
        FaceBatch *batch = &buffer->batches[i];
        Numbers corners[N_LANES];
        if (!take_faces(cells, faces, i * N_LANES, corners, &batch->is_face) ||
            (i == 0 && (corners[0].n == 0 || !load_point(points, corners[0].numbers[0], base))) ||
            !fan_faces(points, corners, base, batch->center, batch->vector)) {
            return UNSOUND_CELL;
        }
        for (size_t axis = 0; axis < 3; axis++) {
            mean[axis] += sum_of(choose(batch->is_face, batch->center[axis], none)) / (double)faces.n;
        }
    }
    Pyramids pyramids = {0};
    for (size_t i = 0; i < n_batches; i++) {
        const FaceBatch *batch = &buffer->batches[i];
        Lanes vector[3], arm[3];
        for (size_t axis = 0; axis < 3; axis++) {
            vector[axis] = choose(batch->is_face, batch->vector[axis], none);
            arm[axis] = batch->center[axis] - mean[axis];
        }
        add_pyramid(&pyramids, vector, arm);
    }
    const double volume = sum_of(pyramids.volume);
    const bool has_volume = fabs(volume) > LEAST_VOLUME * sum_of(pyramids.scale);
    for (size_t axis = 0; axis < 3; axis++) {
        center[axis] = mean[axis] + (has_volume ? sum_of(pyramids.moment[axis]) / volume : 0);
    }
    return COMPUTED;
}

static bool is_polygon(uint8_t type) { return type == TRIANGLE_TYPE || type == POLYGON_TYPE || type == QUAD_TYPE; }

/* Compute the centre and the area vector of a face. A pixel's corners are not in the order of its boundary. */
ALWAYS_INLINE bool polygon_fan(const MeshPoints *points, uint8_t type, Numbers corners, double *base, double *center,
                        double *vector) {
    int64_t around[4];
    if (type == PIXEL_TYPE) {
        if (corners.n != 4) {
            return false;
        }
        memcpy(around, (int64_t[]){corners.numbers[0], corners.numbers[1], corners.numbers[3], corners.numbers[2]},
               sizeof around);
        corners.numbers = around;
    }
    const Numbers lanes[N_LANES] = {corners, corners, corners, corners};
    Lanes centers[3], vectors[3];
    if (corners.n == 0 || !load_point(points, corners.numbers[0], base) ||
        !fan_faces(points, lanes, base, centers, vectors)) {
        return false;
    }
    for (size_t axis = 0; axis < 3; axis++) {
        center[axis] = centers[axis][0];
        vector[axis] = vectors[axis][0];
    }
    return true;
}

/* Buffers for the cells in progress: a batch for each shape, and the faces of one polyhedron. */
typedef struct {
    Batch batches[N_SHAPES];
    FaceBuffer buffer;
} Workspace;

ALWAYS_INLINE GeometryResult center_of(const MeshPoints *points, const MeshCells *cells, size_t cell, size_t row,
                                Workspace *space, uint8_t *out) {
    const uint8_t type = cells->types[cell];
    Numbers corners, faces = {NULL, 0};
    double base[3] = {0}, center[3], vector[3];
    if (!take_list(&cells->points, cell, &corners) ||
        (type == POLYHEDRON_TYPE && cells->has_polyhedra && !take_list(&cells->cell_faces, cell, &faces))) {
        return UNSOUND_CELL;
    }
    const Shape *shape = shape_of(type);
    if (shape != NULL) {
        Batch *batch = &space->batches[shape - shapes];
        if (!add_to_batch(points, shape, corners, row, batch)) {
            return UNSOUND_CELL;
        }
        if (batch->n == N_LANES) {
            finish_batch(points, shape, batch, out);
        }
        return COMPUTED;
    }
    GeometryResult result = COMPUTED;
    if (faces.n > 0) {
        result = polyhedron_center(points, cells, faces, &space->buffer, base, center);
    } else if (is_polygon(type) || type == PIXEL_TYPE) {
        result = polygon_fan(points, type, corners, base, center, vector) ? COMPUTED : UNSOUND_CELL;
    } else if ((corners.n > 0 && !load_point(points, corners.numbers[0], base)) ||
               !mean_of(points, corners, base, center)) {
        result = UNSOUND_CELL;
    }
    if (result == COMPUTED) {
        store_center(points, out, row, base, center);
    }
    return result;
}

WITH_WIDE_VECTORS GeometryResult cell_centers(const MeshPoints *points, const MeshCells *cells, size_t start,
                                             size_t stop, uint8_t *out, size_t *unsound) {
    Workspace *space = aligned_alloc(sizeof(Lanes), sizeof *space);
    if (space == NULL) {
        return NO_MEMORY_FOR_FACES;
    }
    memset(space, 0, sizeof *space); /* unused lanes must be zero */
    GeometryResult result = COMPUTED;
    for (size_t cell = start; cell < stop && result == COMPUTED; cell++) {
        result = center_of(points, cells, cell, cell - start, space, out);
        *unsound = cell;
    }
    for (size_t i = 0; i < N_SHAPES && result == COMPUTED; i++) {
        finish_batch(points, &shapes[i], &space->batches[i], out);
    }
    free(space->buffer.batches);
    free(space);
    return result;
}

WITH_WIDE_VECTORS GeometryResult face_vectors(const MeshPoints *points, const MeshCells *cells, size_t start,
                                             size_t stop, double *centers, double *vectors, size_t *unsound) {
    memset(centers, 0, (stop - start) * 3 * sizeof *centers);
    memset(vectors, 0, (stop - start) * 3 * sizeof *vectors);
    for (size_t cell = start; cell < stop; cell++) {
        const uint8_t type = cells->types[cell];
        double *center = centers + 3 * (cell - start), base[3];
        Numbers corners;
        if (!is_polygon(type) && type != PIXEL_TYPE) {
            continue;
        }
        if (!take_list(&cells->points, cell, &corners) ||
            !polygon_fan(points, type, corners, base, center, vectors + 3 * (cell - start))) {
            *unsound = cell;
            return UNSOUND_CELL;
        }
        for (size_t axis = 0; axis < 3; axis++) {
            center[axis] += base[axis];
        }
    }
    return COMPUTED;
}
