/* Centres of cells, and centres and area vectors of faces, as `geometry.py` defines them. Independent of Python. */
#ifndef ZARR_STORE_GEOMETRY_H
#define ZARR_STORE_GEOMETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Points as rows of x, y and z, aligned. */
typedef struct {
    const uint8_t *values;
    size_t n;
    bool is_wide; /* float64, else float32 */
} MeshPoints;

/* Lists of numbers: list `i` is `numbers[offsets[i]]` up to, but not including, `numbers[offsets[i + 1]]`. No value
 * is trusted. */
typedef struct {
    const int64_t *offsets;
    size_t n;
    const int64_t *numbers;
    size_t n_numbers;
} NumberLists;

/* Cells of a mesh. `types` has one entry for each cell, `points` and `cell_faces` have one list for each cell. */
typedef struct {
    const uint8_t *types; /* VTK's cell types */
    NumberLists points;
    bool has_polyhedra;
    NumberLists cell_faces;  /* faces of each cell; empty unless it is a polyhedron */
    NumberLists face_points; /* points of each face */
} MeshCells;

typedef enum { COMPUTED, UNSOUND_CELL, NO_MEMORY_FOR_FACES } GeometryResult;

/* Write the centres of the cells `start` to `stop` to `out`, in the type of the points. A cell is unsound if it does
 * not have the points of its type, or if the number of a point or face is out of range: return UNSOUND_CELL and write
 * the number of the cell to `unsound`. */
GeometryResult cell_centers(const MeshPoints *points, const MeshCells *cells, size_t start, size_t stop, uint8_t *out,
                            size_t *unsound);

/* Write the centres and area vectors of the faces among the cells `start` to `stop`, and zeros for other cells. */
GeometryResult face_vectors(const MeshPoints *points, const MeshCells *cells, size_t start, size_t stop, double *centers,
                            double *vectors, size_t *unsound);

#endif
