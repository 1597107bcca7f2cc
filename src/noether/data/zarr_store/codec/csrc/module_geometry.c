#include "module_geometry.h"

#include "geometry.h"

/* Indices of the buffers of a mesh, in the order of the arguments. */
enum { POINTS, TYPES, OFFSETS, CONNECTIVITY, CELL_OFFSETS, FACE_IDS, FACE_OFFSETS, FACE_POINTS, N_MESH_BUFFERS };

typedef struct {
    Py_buffer buffers[N_MESH_BUFFERS];
    MeshPoints points;
    MeshCells cells;
} Mesh;

static void release_mesh(Mesh *mesh) {
    for (size_t i = 0; i < N_MESH_BUFFERS; i++) {
        PyBuffer_Release(&mesh->buffers[i]);
    }
}

static bool is_whole(const Py_buffer *buffer, size_t size) {
    return (size_t)buffer->len % size == 0 && (uintptr_t)buffer->buf % size == 0;
}

static size_t n_numbers(const Py_buffer *buffer) { return (size_t)buffer->len / sizeof(int64_t); }

static NumberLists lists_of(const Py_buffer *offsets, const Py_buffer *numbers) {
    return (NumberLists){offsets->buf, n_numbers(offsets) - 1, numbers->buf, n_numbers(numbers)};
}

/* Fill a mesh from its buffers; return whether their sizes fit together. */
static bool describe_mesh(Mesh *mesh, Py_ssize_t itemsize, bool has_polyhedra) {
    const Py_buffer *buffers = mesh->buffers;
    const size_t n_cells = (size_t)buffers[TYPES].len;
    if ((itemsize != sizeof(float) && itemsize != sizeof(double)) || !is_whole(&buffers[POINTS], (size_t)itemsize) ||
        buffers[POINTS].len % (3 * itemsize)) {
        return false;
    }
    for (size_t i = OFFSETS; i < (has_polyhedra ? N_MESH_BUFFERS : CELL_OFFSETS); i++) {
        if (!is_whole(&buffers[i], sizeof(int64_t))) {
            return false;
        }
    }
    if (n_numbers(&buffers[OFFSETS]) != n_cells + 1 ||
        (has_polyhedra && (n_numbers(&buffers[CELL_OFFSETS]) != n_cells + 1 || n_numbers(&buffers[FACE_OFFSETS]) < 1))) {
        return false;
    }
    mesh->points = (MeshPoints){buffers[POINTS].buf, (size_t)(buffers[POINTS].len / (3 * itemsize)),
                                itemsize == sizeof(double)};
    mesh->cells = (MeshCells){
        .types = buffers[TYPES].buf,
        .points = lists_of(&buffers[OFFSETS], &buffers[CONNECTIVITY]),
        .has_polyhedra = has_polyhedra,
    };
    if (has_polyhedra) {
        mesh->cells.cell_faces = lists_of(&buffers[CELL_OFFSETS], &buffers[FACE_IDS]);
        mesh->cells.face_points = lists_of(&buffers[FACE_OFFSETS], &buffers[FACE_POINTS]);
    }
    return true;
}

/* Get the four buffers of polyhedra from a tuple, or leave them empty for None. */
static bool take_polyhedra(Mesh *mesh, PyObject *polyhedra) {
    if (polyhedra == Py_None) {
        return true;
    }
    if (!PyTuple_Check(polyhedra) || PyTuple_Size(polyhedra) != N_MESH_BUFFERS - CELL_OFFSETS) {
        PyErr_SetString(PyExc_TypeError, "polyhedra: expected None or four arrays");
        return false;
    }
    for (int i = CELL_OFFSETS; i < N_MESH_BUFFERS; i++) {
        PyObject *array = PyTuple_GetItem(polyhedra, i - CELL_OFFSETS);
        if (array == NULL || PyObject_GetBuffer(array, &mesh->buffers[i], PyBUF_SIMPLE)) {
            return false;
        }
    }
    return true;
}

/* Return the number of the first invalid cell, or None; or NULL with an exception set. */
static PyObject *build_result(GeometryResult result, size_t unsound) {
    if (result == NO_MEMORY_FOR_FACES) {
        return PyErr_NoMemory();
    }
    return result == COMPUTED ? Py_NewRef(Py_None) : PyLong_FromSize_t(unsound);
}

/* Compute the cells `start` to `stop` of a mesh into one buffer, or into two buffers of float64. */
static PyObject *compute(Mesh *mesh, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t itemsize, Py_buffer *out,
                         Py_buffer *vectors) {
    const size_t size = vectors == NULL ? (size_t)itemsize : sizeof(double);
    if (start < 0 || stop < start || (size_t)stop > (size_t)mesh->buffers[TYPES].len ||
        (size_t)out->len / size / 3 < (size_t)(stop - start) || !is_whole(out, size) ||
        (vectors != NULL && (vectors->len != out->len || !is_whole(vectors, size)))) {
        PyErr_SetString(PyExc_ValueError, "expected a range of the mesh's cells, and room for one row for each of them");
        return NULL;
    }
    GeometryResult result;
    size_t unsound = 0;
    Py_BEGIN_ALLOW_THREADS
    result = vectors == NULL ? cell_centers(&mesh->points, &mesh->cells, (size_t)start, (size_t)stop, out->buf, &unsound)
                             : face_vectors(&mesh->points, &mesh->cells, (size_t)start, (size_t)stop, out->buf,
                                            vectors->buf, &unsound);
    Py_END_ALLOW_THREADS
    return build_result(result, unsound);
}

static const char unfit_mesh[] = "expected float32 or float64 points, aligned int64, and one more offset than cells";

const char cell_centers_doc[] = "cell_centers($module, points, types, offsets, connectivity, polyhedra, out, *, start, "
                                "stop, itemsize)\n--\n\nCompute the centres of cells.";

PyObject *py_cell_centers(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"points", "types", "offsets", "connectivity", "polyhedra", "out",
                            "start",  "stop",  "itemsize", NULL};
    Mesh mesh = {0};
    Py_buffer *const held = mesh.buffers, out = {0};
    PyObject *polyhedra, *result = NULL;
    Py_ssize_t start, stop, itemsize;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*y*y*y*Ow*$nnn:cell_centers", names, &held[POINTS], &held[TYPES],
                                     &held[OFFSETS], &held[CONNECTIVITY], &polyhedra, &out, &start, &stop, &itemsize)) {
        return NULL;
    }
    if (take_polyhedra(&mesh, polyhedra)) {
        if (describe_mesh(&mesh, itemsize, polyhedra != Py_None)) {
            result = compute(&mesh, start, stop, itemsize, &out, NULL);
        } else {
            PyErr_SetString(PyExc_ValueError, unfit_mesh);
        }
    }
    release_mesh(&mesh);
    PyBuffer_Release(&out);
    return result;
}

const char face_vectors_doc[] = "face_vectors($module, points, types, offsets, connectivity, centers, vectors, *, "
                                "start, stop, itemsize)\n--\n\nCompute the centres and area vectors of faces.";

PyObject *py_face_vectors(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"points", "types", "offsets", "connectivity", "centers", "vectors",
                            "start",  "stop",  "itemsize", NULL};
    Mesh mesh = {0};
    Py_buffer *const held = mesh.buffers, centers = {0}, vectors = {0};
    PyObject *result = NULL;
    Py_ssize_t start, stop, itemsize;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*y*y*y*w*w*$nnn:face_vectors", names, &held[POINTS], &held[TYPES],
                                     &held[OFFSETS], &held[CONNECTIVITY], &centers, &vectors, &start, &stop, &itemsize)) {
        return NULL;
    }
    if (describe_mesh(&mesh, itemsize, false)) {
        result = compute(&mesh, start, stop, itemsize, &centers, &vectors);
    } else {
        PyErr_SetString(PyExc_ValueError, unfit_mesh);
    }
    release_mesh(&mesh);
    PyBuffer_Release(&centers);
    PyBuffer_Release(&vectors);
    return result;
}
