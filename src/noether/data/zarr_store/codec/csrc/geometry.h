/* Centres of cells, and centres and area vectors of faces, as `geometry.py` defines them. Knows no Python. */
#ifndef ZARR_STORE_GEOMETRY_H
#define ZARR_STORE_GEOMETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rows of x, y and z, aligned. */
typedef struct {
    const uint8_t *values;
    size_t n;
    bool is_wide; /* float64, else float32 */
} MeshPoints;

/* Lists of numbers: list `i` has those from `offsets[i]` to `offsets[i + 1]`. All values may be wrong. */
typedef struct {
    const int64_t *offsets;
    size_t n;
    const int64_t *numbers;
    size_t n_numbers;
} NumberLists;

/* Cells of a mesh. The lists have as many entries as there are types. */
typedef struct {
    const uint8_t *types; /* VTK's */
    NumberLists points;
    bool has_polyhedra;
    NumberLists cell_faces;  /* of each cell, which are none unless it is a polyhedron */
    NumberLists face_points; /* of each face */
} MeshCells;

typedef enum { COMPUTED, UNSOUND_CELL, NO_MEMORY_FOR_FACES } GeometryResult;

/* Write the centres of cells `start` to `stop` to `out`, in the type of the points. Where a cell is not sound, its number
 * goes to `unsound`: its points are not those of its type, or a number leads outside its array. */
GeometryResult cell_centers(const MeshPoints *points, const MeshCells *cells, size_t start, size_t stop, uint8_t *out,
                            size_t *unsound);

/* Write centre and area vector of the faces among the cells `start` to `stop`, and zeros for other cells. */
GeometryResult face_vectors(const MeshPoints *points, const MeshCells *cells, size_t start, size_t stop, double *centers,
                            double *vectors, size_t *unsound);

#endif
