/* Chunks of a shard to rows, several of them without Python in between; and rows in another order, for a shard.
 *
 * A chunk is a frame of blosc 1 (header, offsets of blocks, blocks of zstd, bytes shuffled), then its crc32c. Python
 * with numcodecs does the same; what this gains is one call for a run of chunks, and one zstd context for all calls,
 * where blosc makes one for every block. It decodes what it knows and says how far it came: Python goes on from there,
 * and names what is damaged. No size is believed before it is compared with that of the buffer it lies in.
 *
 * The frame: https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define WITH_CRC __attribute__((target("sse4.2")))
#define WITH_FLOAT16 __attribute__((target("f16c")))
#define PREFETCH(address) _mm_prefetch((const char *)(address), _MM_HINT_T0)
#define CRC_STEP_8(crc, word) ((uint32_t)_mm_crc32_u64((crc), (word)))
#define CRC_STEP_1(crc, byte) _mm_crc32_u8((crc), (byte))
#define PROCESSOR_IS_KNOWN() (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("f16c"))
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32) && !defined(__AARCH64EB__)
#include <arm_acle.h>
#include <arm_neon.h>
#define WITH_CRC
#define WITH_FLOAT16
#define PREFETCH(address) __builtin_prefetch(address)
#define CRC_STEP_8(crc, word) __crc32cd((crc), (word))
#define CRC_STEP_1(crc, byte) __crc32cb((crc), (byte))
#define PROCESSOR_IS_KNOWN() 1
#else
#error "no crc32c instruction that is known here; without this module, Python and numcodecs decode"
#endif

enum { BLOSC_HEADER = 16, LENGTH_SIZE = 4, CRC_SIZE = 4, MAX_CHUNKS = 4096, MAX_SPLIT = 8, MIN_PART = 128 };
enum { BLOSC_VERSION = 2, ZSTD_VERSION = 1, BYTE_SHUFFLE = 0x1, STORED = 0x2, BIT_SHUFFLE = 0x4, RESERVED = 0x8, NOT_SPLIT = 0x10, ZSTD = 4 };

/* A zstd context, and room for a block between zstd and the shuffle; kept for the next call. The interpreter's lock
 * guards the list of those that are free. */
typedef struct Decoder {
    struct Decoder *next;
    ZSTD_DCtx *zstd;
    uint8_t *block;
    size_t block_capacity;
} Decoder;

static Decoder *free_decoders = NULL;

static Decoder *take_decoder(void) {
    Decoder *decoder = free_decoders;
    if (decoder != NULL) {
        free_decoders = decoder->next;
        return decoder;
    }
    decoder = calloc(1, sizeof *decoder);
    if (decoder != NULL && (decoder->zstd = ZSTD_createDCtx()) == NULL) {
        free(decoder);
        decoder = NULL;
    }
    return decoder;
}

static void give_back_decoder(Decoder *decoder) {
    decoder->next = free_decoders;
    free_decoders = decoder;
}

static uint32_t read_u32(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

WITH_CRC static uint32_t crc32c_from(uint32_t crc, const uint8_t *data, size_t size) {
    uint64_t word;
    for (; size >= sizeof word; data += sizeof word, size -= sizeof word) {
        memcpy(&word, data, sizeof word);
        crc = CRC_STEP_8(crc, word);
    }
    for (; size > 0; data++, size--) {
        crc = CRC_STEP_1(crc, *data);
    }
    return crc;
}

/* What so many bytes of zero make of a checksum, for each value of each of its four bytes: it is linear. */
enum { LANE = 1024 };
static uint32_t after_lane[4][256];

static uint32_t skip_lane(uint32_t crc) {
    return after_lane[0][crc & 0xFF] ^ after_lane[1][crc >> 8 & 0xFF] ^ after_lane[2][crc >> 16 & 0xFF] ^
           after_lane[3][crc >> 24];
}

static void prepare_crc32c(void) {
    static const uint8_t zeros[LANE];
    for (uint32_t byte = 0; byte < 4; byte++) {
        for (uint32_t value = 0; value < 256; value++) {
            after_lane[byte][value] = crc32c_from(value << 8 * byte, zeros, LANE);
        }
    }
}

/* The instruction takes three cycles and can start every cycle, so three lanes of the data go at the same time. */
WITH_CRC static uint32_t crc32c(const uint8_t *data, size_t size) {
    uint32_t crc = 0xFFFFFFFF;
    for (; size >= 3 * LANE; data += 3 * LANE, size -= 3 * LANE) {
        uint32_t second = 0, third = 0;
        for (size_t i = 0; i < LANE; i += sizeof(uint64_t)) {
            uint64_t words[3];
            for (size_t k = 0; k < 3; k++) {
                memcpy(&words[k], data + k * LANE + i, sizeof *words);
            }
            crc = CRC_STEP_8(crc, words[0]);
            second = CRC_STEP_8(second, words[1]);
            third = CRC_STEP_8(third, words[2]);
        }
        crc = skip_lane(skip_lane(crc) ^ second) ^ third;
    }
    return ~crc32c_from(crc, data, size);
}

/* The first bytes of all values, then the second bytes, ...: back to values. The loops are plain, so that the compiler
 * turns them into the processor's interleaving instructions. */
static void unshuffle(const uint8_t *const planes[], uint8_t *restrict out, size_t n, size_t typesize) {
    if (typesize == 2) {
        const uint8_t *restrict a = planes[0], *restrict b = planes[1];
        for (size_t i = 0; i < n; i++) {
            out[2 * i] = a[i];
            out[2 * i + 1] = b[i];
        }
    } else if (typesize == 4) {
        const uint8_t *restrict a = planes[0], *restrict b = planes[1], *restrict c = planes[2], *restrict d = planes[3];
        for (size_t i = 0; i < n; i++) {
            out[4 * i] = a[i];
            out[4 * i + 1] = b[i];
            out[4 * i + 2] = c[i];
            out[4 * i + 3] = d[i];
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            for (size_t byte = 0; byte < typesize; byte++) {
                out[typesize * i + byte] = planes[byte][i];
            }
        }
    }
}

/* Eight float16 to float32, as the processor does it: exactly, also below its normal numbers, whatever the caller has
 * set for those of float32. */
WITH_FLOAT16 static void widen_eight(const uint8_t *low, const uint8_t *high, float *out) {
#if defined(__x86_64__)
    const __m128i values = high == NULL ? _mm_loadu_si128((const __m128i *)low)
                                        : _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)low),
                                                            _mm_loadl_epi64((const __m128i *)high));
    _mm_storeu_ps(out, _mm_cvtph_ps(values));
    _mm_storeu_ps(out + 4, _mm_cvtph_ps(_mm_srli_si128(values, 8)));
#else
    const uint8x16_t values = high == NULL ? vld1q_u8(low) : vcombine_u8(vzip1_u8(vld1_u8(low), vld1_u8(high)),
                                                                         vzip2_u8(vld1_u8(low), vld1_u8(high)));
    vst1q_f32(out, vcvt_f32_f16(vreinterpret_f16_u8(vget_low_u8(values))));
    vst1q_f32(out + 4, vcvt_f32_f16(vreinterpret_f16_u8(vget_high_u8(values))));
#endif
}

/* `n` float16 to float32: from their low and their high bytes, or from both in turn where there is no `high`. */
WITH_FLOAT16 static void widen(const uint8_t *low, const uint8_t *high, float *out, size_t n) {
    const size_t step = high == NULL ? 2 : 1, tail = n % 8, whole = n - tail;
    for (size_t i = 0; i < whole; i += 8) {
        widen_eight(low + i * step, high == NULL ? NULL : high + i, out + i);
    }
    if (tail) {
        uint8_t low_bytes[16] = {0}, high_bytes[8] = {0};
        float widened[8];
        memcpy(low_bytes, low + whole * step, tail * step);
        if (high != NULL) {
            memcpy(high_bytes, high + whole, tail);
        }
        widen_eight(low_bytes, high == NULL ? NULL : high_bytes, widened);
        memcpy(out + whole, widened, tail * sizeof *out);
    }
}

static int has_room(Decoder *decoder, size_t size) {
    if (decoder->block_capacity < size) {
        free(decoder->block);
        decoder->block = malloc(size);
        decoder->block_capacity = decoder->block == NULL ? 0 : size;
    }
    return decoder->block != NULL;
}

/* What a chunk is, and what becomes of it. */
typedef struct {
    size_t size;     /* bytes before compression */
    size_t typesize; /* bytes of a value */
    int widen;       /* whether its values are float16 that become float32 */
} Format;

/* Decode a part of a block: its length, and as many bytes, of zstd or as they were if that made them no smaller. Gives
 * where its `size` bytes are, in `room` or where they were, or NULL; moves `data` and `available` past it. */
static const uint8_t *decode_part(Decoder *decoder, const uint8_t **data, size_t *available, uint8_t *room, size_t size) {
    if (*available < LENGTH_SIZE) {
        return NULL;
    }
    const uint8_t *part = *data + LENGTH_SIZE;
    const size_t stored = read_u32(*data);
    if (stored > *available - LENGTH_SIZE) {
        return NULL;
    }
    *data = part + stored;
    *available -= LENGTH_SIZE + stored;
    if (stored == size) {
        return part;
    }
    return ZSTD_decompressDCtx(decoder->zstd, room, size, part, stored) == size ? room : NULL;
}

/* Decode one block of `size` bytes, which is in one part or in one for each byte of its values, and goes no further than
 * `available`. */
static int decode_block(Decoder *decoder, const uint8_t *data, size_t available, uint8_t *out, size_t size, int split,
                        const Format *format) {
    const uint8_t *planes[MAX_SPLIT];
    const size_t typesize = format->typesize, n = size / typesize, part_size = split ? n : size;
    for (size_t k = 0; k < typesize; k++) {
        if (k > 0 && !split) {
            planes[k] = planes[0] + k * n;
        } else if ((planes[k] = decode_part(decoder, &data, &available, decoder->block + k * n, part_size)) == NULL) {
            return 0;
        }
    }
    if (format->widen) {
        widen(planes[0], planes[1], (float *)out, n);
    } else {
        unshuffle(planes, out, n, typesize);
    }
    return 1;
}

/* Decode one chunk; 0 where it is damaged, or made in a way that is not known here. */
static int decode_chunk(Decoder *decoder, const uint8_t *data, size_t available, uint8_t *out, const Format *format) {
    if (available < BLOSC_HEADER || data[0] != BLOSC_VERSION || data[1] != ZSTD_VERSION || data[2] & RESERVED) {
        return 0;
    }
    const uint8_t flags = data[2];
    const size_t size = format->size, block = read_u32(data + 8), scale = format->widen ? 2 : 1;
    if (read_u32(data + 4) != size || read_u32(data + 12) != available || data[3] != format->typesize ||
        size % format->typesize || block == 0 || block > size) {
        return 0;
    }
    if (flags & STORED) { /* blosc made it no smaller, and it is there as it was, not shuffled */
        if (available != BLOSC_HEADER + size) {
            return 0;
        }
        if (format->widen) {
            widen(data + BLOSC_HEADER, NULL, (float *)out, size / 2);
        } else {
            memcpy(out, data + BLOSC_HEADER, size);
        }
        return 1;
    }
    if (flags & BIT_SHUFFLE || !(flags & BYTE_SHUFFLE) || flags >> 5 != ZSTD || block % format->typesize) {
        return 0;
    }
    const size_t n_blocks = (size + block - 1) / block;
    if (n_blocks > (available - BLOSC_HEADER) / 4 || !has_room(decoder, block)) {
        return 0;
    }
    for (size_t i = 0; i < n_blocks; i++) {
        const size_t start = read_u32(data + BLOSC_HEADER + 4 * i), first = i * block;
        const size_t wanted = size - first < block ? size - first : block;
        /* A shorter last block never is, nor one of few values. */
        const int split = !(flags & NOT_SPLIT) && wanted == block && block / format->typesize >= MIN_PART;
        if (start > available ||
            !decode_block(decoder, data + start, available - start, out + first * scale, wanted, split, format)) {
            return 0;
        }
    }
    return 1;
}

static size_t decode_run(Decoder *decoder, const uint8_t *data, const size_t *bounds, size_t n_chunks, uint8_t *out,
                         const Format *format, int checksum, int verify) {
    const size_t tail = checksum ? CRC_SIZE : 0, out_size = format->widen ? 2 * format->size : format->size;
    for (size_t i = 0; i < n_chunks; i++) {
        const uint8_t *chunk = data + bounds[i];
        const size_t size = bounds[i + 1] - bounds[i];
        if (size < tail || (tail && verify && crc32c(chunk, size - tail) != read_u32(chunk + size - tail)) ||
            !decode_chunk(decoder, chunk, size - tail, out + i * out_size, format)) {
            return i;
        }
    }
    return n_chunks;
}

/* Read the ascending bounds of the chunks in `data`; -1 with an exception where they are none. */
static Py_ssize_t read_bounds(PyObject *list, Py_ssize_t data_size, size_t *bounds) {
    const Py_ssize_t n = PyList_Size(list);
    if (n < 2 || n > MAX_CHUNKS + 1) {
        PyErr_Format(PyExc_ValueError, "bounds: expected 2 to %d offsets, got %zd", MAX_CHUNKS + 1, n);
        return -1;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        bounds[i] = PyLong_AsSize_t(PyList_GetItem(list, i));
        if (PyErr_Occurred()) {
            return -1;
        }
        if (bounds[i] > (size_t)data_size || (i > 0 && bounds[i] < bounds[i - 1])) {
            PyErr_SetString(PyExc_ValueError, "bounds: expected ascending offsets within the data");
            return -1;
        }
    }
    return n - 1;
}

static PyObject *decode(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *list, *result = NULL;
    Py_buffer data, out;
    Py_ssize_t typesize;
    int widen, checksum, verify;
    size_t bounds[MAX_CHUNKS + 1];
    if (!PyArg_ParseTuple(args, "y*O!w*nppp:decode", &data, &PyList_Type, &list, &out, &typesize, &widen, &checksum,
                          &verify)) {
        return NULL;
    }
    const Py_ssize_t n_chunks = read_bounds(list, data.len, bounds);
    if (n_chunks > 0 && (typesize < 2 || typesize > MAX_SPLIT || (widen && typesize != 2) || out.len % (n_chunks * (widen ? 2 : 1)))) {
        PyErr_SetString(PyExc_ValueError, "out: expected room for whole chunks of values of that size");
    } else if (n_chunks > 0) {
        Decoder *decoder = take_decoder();
        if (decoder == NULL) {
            PyErr_NoMemory();
        } else {
            const Format format = {(size_t)(out.len / n_chunks / (widen ? 2 : 1)), (size_t)typesize, widen};
            size_t n_decoded;
            Py_BEGIN_ALLOW_THREADS
            n_decoded = decode_run(decoder, data.buf, bounds, (size_t)n_chunks, out.buf, &format, checksum, verify);
            Py_END_ALLOW_THREADS
            give_back_decoder(decoder);
            result = PyLong_FromSize_t(n_decoded);
        }
    }
    PyBuffer_Release(&data);
    PyBuffer_Release(&out);
    return result;
}

PyDoc_STRVAR(decode_doc,
             "decode(data, bounds, out, typesize, widen, checksum, verify)\n--\n\n"
             "Decode the chunks that lie in `data` between neighbouring `bounds` into `out`, one after the other.\n\n"
             "`typesize` is that of a stored value; with `widen` they are float16, and float32 in `out`. Gives how\n"
             "many chunks were decoded before one that is damaged, or that is not known here.");

/* Rows that are asked for while one is copied: each lies in memory that no cache has, and that is slow to come. */
enum { ROWS_AHEAD = 32 };
/* Values between gathering and narrowing; they stay in the first cache. */
enum { NARROWED_AT_ONCE = 2048 };

/* Copy rows `first` to `stop` of the new order. Inlined, so that copies of a known size are a few instructions. */
static inline __attribute__((always_inline)) void copy_rows(const uint8_t *values, const int64_t *order, size_t first,
                                                            size_t stop, size_t n, uint8_t *out, size_t row_size) {
    for (size_t i = first; i < stop; i++, out += row_size) {
        if (i + ROWS_AHEAD < n) {
            PREFETCH(values + (size_t)order[i + ROWS_AHEAD] * row_size);
        }
        memcpy(out, values + (size_t)order[i] * row_size, row_size);
    }
}

static void gather_rows(const uint8_t *values, const int64_t *order, size_t first, size_t stop, size_t n, uint8_t *out,
                        size_t row_size) {
    switch (row_size) {
    case sizeof(float):
        copy_rows(values, order, first, stop, n, out, sizeof(float));
        break;
    case 3 * sizeof(float):
        copy_rows(values, order, first, stop, n, out, 3 * sizeof(float));
        break;
    default:
        copy_rows(values, order, first, stop, n, out, row_size);
    }
}

/* Eight float32 to float16, to the nearest, ties to even. */
WITH_FLOAT16 static void narrow_eight(const float *in, uint8_t *out) {
#if defined(__x86_64__)
    _mm_storeu_si128((__m128i *)out, _mm256_cvtps_ph(_mm256_loadu_ps(in), _MM_FROUND_TO_NEAREST_INT));
#else
    vst1q_u8(out, vreinterpretq_u8_f16(vcombine_f16(vcvt_f16_f32(vld1q_f32(in)), vcvt_f16_f32(vld1q_f32(in + 4)))));
#endif
}

/* `n` float32 to float16; 0 where one is NaN, of which processors and NumPy make different ones. */
WITH_FLOAT16 static int narrow(const float *in, uint8_t *out, size_t n) {
    int n_nan = 0;
    for (size_t i = 0; i < n; i++) {
        n_nan += in[i] != in[i];
    }
    const size_t tail = n % 8, whole = n - tail;
    for (size_t i = 0; i < whole; i += 8) {
        narrow_eight(in + i, out + 2 * i);
    }
    if (tail) {
        float last[8] = {0};
        uint8_t narrowed[16];
        memcpy(last, in + whole, tail * sizeof *in);
        narrow_eight(last, narrowed);
        memcpy(out + 2 * whole, narrowed, 2 * tail);
    }
    return n_nan == 0;
}

static int gather_narrowed(const uint8_t *values, const int64_t *order, size_t n, uint8_t *out, size_t row_size) {
    float gathered[NARROWED_AT_ONCE];
    const size_t width = row_size / sizeof(float), rows = NARROWED_AT_ONCE / width;
    for (size_t first = 0; first < n; first += rows) {
        const size_t stop = n - first < rows ? n : first + rows;
        gather_rows(values, order, first, stop, n, (uint8_t *)gathered, row_size);
        if (!narrow(gathered, out + 2 * first * width, (stop - first) * width)) {
            return 0;
        }
    }
    return 1;
}

static int are_rows_of(const int64_t *order, size_t n, size_t n_rows) {
    int outside = 0;
    for (size_t i = 0; i < n; i++) {
        outside |= (uint64_t)order[i] >= n_rows;
    }
    return !outside;
}

static PyObject *gather(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *result = NULL;
    Py_buffer values, order, out;
    Py_ssize_t row_size;
    int to_half, done = 0;
    if (!PyArg_ParseTuple(args, "y*y*w*np:gather", &values, &order, &out, &row_size, &to_half)) {
        return NULL;
    }
    const size_t n = (size_t)order.len / sizeof(int64_t);
    const size_t limit = to_half ? NARROWED_AT_ONCE * sizeof(float) : (size_t)PY_SSIZE_T_MAX;
    if (row_size < 1 || (size_t)row_size > limit || (to_half && row_size % sizeof(float)) || values.len % row_size ||
        order.len % sizeof(int64_t) || (n > 0 && (size_t)row_size > SIZE_MAX / n) ||
        (size_t)out.len * (to_half ? 2 : 1) != n * (size_t)row_size) {
        PyErr_SetString(PyExc_ValueError, "out: expected room for as many rows as there are in the order");
    } else if (!are_rows_of(order.buf, n, (size_t)(values.len / row_size))) {
        PyErr_SetString(PyExc_IndexError, "order: expected numbers of rows");
    } else {
        Py_BEGIN_ALLOW_THREADS
        if (to_half) {
            done = gather_narrowed(values.buf, order.buf, n, out.buf, (size_t)row_size);
        } else {
            gather_rows(values.buf, order.buf, 0, n, n, out.buf, (size_t)row_size);
            done = 1;
        }
        Py_END_ALLOW_THREADS
        result = PyBool_FromLong(done);
    }
    PyBuffer_Release(&values);
    PyBuffer_Release(&order);
    PyBuffer_Release(&out);
    return result;
}

PyDoc_STRVAR(gather_doc,
             "gather(values, order, out, row_size, to_half)\n--\n\n"
             "Copy the rows of `values`, of `row_size` bytes each, to `out` in the order of these int64.\n\n"
             "With `to_half` they are float32, and float16 in `out`. False where one of them is NaN: then `out` is\n"
             "not what it should be.");

static PyMethodDef methods[] = {{"decode", decode, METH_VARARGS, decode_doc},
                                {"gather", gather, METH_VARARGS, gather_doc},
                                {NULL, NULL, 0, NULL}};

static int initialize(PyObject *Py_UNUSED(module)) {
    if (!PROCESSOR_IS_KNOWN()) {
        PyErr_SetString(PyExc_ImportError, "this processor lacks an instruction for crc32c or float16");
        return -1;
    }
    prepare_crc32c();
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, initialize}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "noether.data.zarr_store.codec._native",
    .m_doc = "Decodes runs of chunks, and gathers rows for them.",
    .m_slots = slots,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
