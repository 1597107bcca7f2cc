#include "geometry.h"

#include <stdlib.h>
#include <string.h>

#include "fan.h"

enum { POLYGON_TYPE = 7, PIXEL_TYPE = 8, QUAD_TYPE = 9, TRIANGLE_TYPE = 5, POLYHEDRON_TYPE = 42 };
enum { MAX_CORNERS = 8, MAX_FACES = 6, MAX_FACE_CORNERS = 4 };

typedef struct {
    size_t n_corners;
    uint8_t corners[MAX_FACE_CORNERS];
} Face;

/* Cells of one type. Seen from outside, the corners go around a face counterclockwise. */
typedef struct {
    uint8_t type;
    size_t n_corners, n_faces;
    Face faces[MAX_FACES];
} Shape;

/* `geometry.py` has the same faces. */
static const Shape shapes[] = {
    {10, 4, 4, {{3, {0, 1, 3}}, {3, {1, 2, 3}}, {3, {2, 0, 3}}, {3, {0, 2, 1}}}},
    {11, 8, 6, {{4, {0, 4, 6, 2}}, {4, {1, 3, 7, 5}}, {4, {0, 1, 5, 4}}, {4, {2, 6, 7, 3}}, {4, {0, 2, 3, 1}}, {4, {4, 5, 7, 6}}}},
    {12, 8, 6, {{4, {0, 4, 7, 3}}, {4, {1, 2, 6, 5}}, {4, {0, 1, 5, 4}}, {4, {3, 7, 6, 2}}, {4, {0, 3, 2, 1}}, {4, {4, 5, 6, 7}}}},
    {13, 6, 5, {{3, {0, 1, 2}}, {3, {3, 5, 4}}, {4, {0, 3, 4, 1}}, {4, {1, 4, 5, 2}}, {4, {2, 5, 3, 0}}}},
    {14, 5, 5, {{4, {0, 3, 2, 1}}, {3, {0, 1, 4}}, {3, {1, 2, 4}}, {3, {2, 3, 4}}, {3, {3, 0, 4}}}},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static const Shape *shape_of(uint8_t type) {
    return type >= shapes[0].type && type <= shapes[N_SHAPES - 1].type ? &shapes[type - shapes[0].type] : NULL;
}

/* One list of numbers. */
typedef struct {
    const int64_t *numbers;
    size_t n;
} Numbers;

static bool take_list(const NumberLists *lists, size_t i, Numbers *list) {
    const int64_t first = lists->offsets[i], stop = lists->offsets[i + 1];
    if (first < 0 || stop < first || (uint64_t)stop > lists->n_numbers) {
        return false;
    }
    *list = (Numbers){lists->numbers + first, (size_t)(stop - first)};
    return true;
}

static bool load_point(const MeshPoints *points, int64_t number, double *point) {
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

static bool load_local(const MeshPoints *points, int64_t number, const double *base, double *point) {
    const bool is_there = load_point(points, number, point);
    for (size_t axis = 0; is_there && axis < 3; axis++) {
        point[axis] -= base[axis];
    }
    return is_there;
}

static void store_center(const MeshPoints *points, uint8_t *out, size_t row, const double *base, const double *local) {
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
static bool mean_of(const MeshPoints *points, Numbers corners, const double *base, double *mean) {
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

/* Load corner `i` of each face relative to `base`, or the last one of a face that has fewer. */
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

/* Compute centres and area vectors of four faces with any numbers of corners, relative to `base`. */
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
    (void)load_corners(points, faces, 0, base, first); /* they are there, as was found above */
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

/* Cells of one shape, a cell in each lane. */
typedef struct {
    size_t n;
    size_t rows[N_LANES]; /* of the result */
    double base[N_LANES][3];
    Lanes corners[MAX_CORNERS][3];
} Batch;

/* Compute centres and area vectors of a face of each cell, relative to its base. */
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

/* Compute the centres of a batch, of which there may be fewer than lanes, and empty it. */
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

/* Four faces of a polyhedron: a face in each lane. */
typedef struct {
    Lanes center[3];
    Lanes vector[3];
    LaneMask is_face; /* the last lanes may be empty */
} FaceGroup;

/* Room for the faces of a polyhedron. */
typedef struct {
    FaceGroup *groups;
    size_t n;
} FaceRoom;

static bool make_room(FaceRoom *room, size_t n) {
    if (n > room->n) {
        free(room->groups);
        room->groups = aligned_alloc(sizeof(Lanes), n * sizeof *room->groups);
        room->n = room->groups == NULL ? 0 : n;
    }
    return room->n >= n;
}

/* Take the corners of four faces, or of the first one again where there are fewer. */
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
                                               FaceRoom *room, double *base, double *center) {
    const size_t n_groups = (faces.n + N_LANES - 1) / N_LANES;
    const Lanes none = {0};
    if (!make_room(room, n_groups)) {
        return NO_MEMORY_FOR_FACES;
    }
    double mean[3] = {0};
    for (size_t i = 0; i < n_groups; i++) {
        FaceGroup *group = &room->groups[i];
        Numbers corners[N_LANES];
        if (!take_faces(cells, faces, i * N_LANES, corners, &group->is_face) ||
            (i == 0 && (corners[0].n == 0 || !load_point(points, corners[0].numbers[0], base))) ||
            !fan_faces(points, corners, base, group->center, group->vector)) {
            return UNSOUND_CELL;
        }
        for (size_t axis = 0; axis < 3; axis++) {
            mean[axis] += sum_of(choose(group->is_face, group->center[axis], none)) / (double)faces.n;
        }
    }
    Pyramids pyramids = {0};
    for (size_t i = 0; i < n_groups; i++) {
        const FaceGroup *group = &room->groups[i];
        Lanes vector[3], arm[3];
        for (size_t axis = 0; axis < 3; axis++) {
            vector[axis] = choose(group->is_face, group->vector[axis], none);
            arm[axis] = group->center[axis] - mean[axis];
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

/* Compute centre and area vector of a face, which may be a pixel: its corners do not go around it. */
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

/* The cells that are computed, each alone or in a batch. */
typedef struct {
    Batch batches[N_SHAPES];
    FaceRoom room;
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
        result = polyhedron_center(points, cells, faces, &space->room, base, center);
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
    memset(space, 0, sizeof *space); /* also the lanes that stay empty */
    GeometryResult result = COMPUTED;
    for (size_t cell = start; cell < stop && result == COMPUTED; cell++) {
        result = center_of(points, cells, cell, cell - start, space, out);
        *unsound = cell;
    }
    for (size_t i = 0; i < N_SHAPES && result == COMPUTED; i++) {
        finish_batch(points, &shapes[i], &space->batches[i], out);
    }
    free(space->room.groups);
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
