#include "encode.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "crc32c.h"
#include "frame_format.h"

enum { MAX_KEPT_BYTES = 4 << 20 };

/* A growable buffer. */
typedef struct {
    uint8_t *bytes;
    size_t capacity;
} Room;

struct Encoder {
    Encoder *next; /* next encoder in the list of free encoders */
    ZSTD_CCtx *zstd;
    Room chunk;  /* the gathered values of a chunk */
    Room planes; /* the values of a block after the shuffle */
    Room stream; /* a compressed stream, which can be longer than its input */
    Room run;    /* the encoded chunks */
};

static Encoder *free_encoders = NULL;

Encoder *take_encoder(void) {
    Encoder *encoder = free_encoders;
    if (encoder != NULL) {
        free_encoders = encoder->next;
        return encoder;
    }
    encoder = calloc(1, sizeof *encoder);
    if (encoder != NULL && (encoder->zstd = ZSTD_createCCtx()) == NULL) {
        free(encoder);
        encoder = NULL;
    }
    return encoder;
}

/* Free a large buffer: few runs need it, and encoders are never freed. */
static void trim(Room *room) {
    if (room->capacity > MAX_KEPT_BYTES) {
        free(room->bytes);
        *room = (Room){0};
    }
}

void give_back_encoder(Encoder *encoder) {
    trim(&encoder->chunk);
    trim(&encoder->run);
    encoder->next = free_encoders;
    free_encoders = encoder;
}

const uint8_t *encoded_bytes(const Encoder *encoder) { return encoder->run.bytes; }

static bool make_room(Room *room, size_t n_bytes) {
    if (room->capacity < n_bytes) {
        free(room->bytes);
        room->bytes = malloc(n_bytes);
        room->capacity = room->bytes == NULL ? 0 : n_bytes;
    }
    return room->bytes != NULL;
}

static void write_u32(uint8_t *at, size_t value) {
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
    at[2] = (uint8_t)(value >> 16);
    at[3] = (uint8_t)(value >> 24);
}

/* Write byte `k` of all `n` values to plane `k`. The loops are simple, so that the compiler turns them into shuffle
 * instructions. */
static void shuffle(const uint8_t *restrict values, uint8_t *restrict planes, size_t n, size_t itemsize) {
    if (itemsize == 2) {
        uint8_t *restrict a = planes, *restrict b = planes + n;
        for (size_t i = 0; i < n; i++) {
            a[i] = values[2 * i];
            b[i] = values[2 * i + 1];
        }
    } else if (itemsize == 4) {
        uint8_t *restrict a = planes, *restrict b = planes + n, *restrict c = planes + 2 * n;
        uint8_t *restrict d = planes + 3 * n;
        for (size_t i = 0; i < n; i++) {
            a[i] = values[4 * i];
            b[i] = values[4 * i + 1];
            c[i] = values[4 * i + 2];
            d[i] = values[4 * i + 3];
        }
    } else {
        for (size_t byte = 0; byte < itemsize; byte++) {
            for (size_t i = 0; i < n; i++) {
                planes[byte * n + i] = values[itemsize * i + byte];
            }
        }
    }
}

/* Write the stored length of a stream and then the stream. Return the number of bytes written. A stream that zstd does
 * not shrink is written unchanged. */
static size_t encode_stream(Encoder *encoder, int level, const uint8_t *stream, size_t n_bytes, uint8_t *out) {
    const size_t packed =
        ZSTD_compressCCtx(encoder->zstd, encoder->stream.bytes, encoder->stream.capacity, stream, n_bytes, level);
    const bool is_smaller = !ZSTD_isError(packed) && packed < n_bytes;
    const size_t kept = is_smaller ? packed : n_bytes;
    write_u32(out, kept);
    memcpy(out + LENGTH_BYTES, is_smaller ? encoder->stream.bytes : stream, kept);
    return LENGTH_BYTES + kept;
}

/* Write the blocks of a chunk. Return the offset of their end, or 0 if they are not smaller than the values. */
static size_t encode_blocks(Encoder *encoder, const EncodedFormat *format, size_t n_bytes, uint8_t *out) {
    const size_t n_blocks = (n_bytes + format->block_bytes - 1) / format->block_bytes, itemsize = format->itemsize;
    size_t end = HEADER_BYTES + LENGTH_BYTES * n_blocks;
    for (size_t i = 0; i < n_blocks; i++) {
        const size_t first = i * format->block_bytes;
        const size_t wanted = n_bytes - first < format->block_bytes ? n_bytes - first : format->block_bytes;
        /* A shorter last block is always one stream. */
        const size_t stream_bytes = wanted == format->block_bytes ? wanted / itemsize : wanted;
        shuffle(encoder->chunk.bytes + first, encoder->planes.bytes, wanted / itemsize, itemsize);
        write_u32(out + HEADER_BYTES + LENGTH_BYTES * i, end);
        for (size_t at = 0; at < wanted; at += stream_bytes) {
            end += encode_stream(encoder, format->level, encoder->planes.bytes + at, stream_bytes, out + end);
        }
    }
    return end < n_bytes + HEADER_BYTES ? end : 0;
}

/* Write the frame of a chunk, and return its number of bytes. */
static size_t encode_frame(Encoder *encoder, const EncodedFormat *format, size_t n_bytes, uint8_t *out) {
    const size_t end = format->level == 0 ? 0 : encode_blocks(encoder, format, n_bytes, out);
    if (end == 0) {
        memcpy(out, format->stored_header, HEADER_BYTES);
        memcpy(out + HEADER_BYTES, encoder->chunk.bytes, n_bytes);
        return HEADER_BYTES + n_bytes;
    }
    out[0] = BLOSC_VERSION;
    out[1] = ZSTD_VERSION;
    out[2] = BYTE_SHUFFLE | ZSTD << 5;
    out[3] = (uint8_t)format->itemsize;
    write_u32(out + 4, n_bytes);
    write_u32(out + 8, format->block_bytes);
    write_u32(out + 12, end);
    return end;
}

EncodeResult encode_chunks(Encoder *encoder, const EncodedFormat *format, const RowOrder *rows, size_t *lengths) {
    const size_t row_bytes = rows->row_bytes / (format->narrow ? 2 : 1), n_bytes = format->n_rows * row_bytes;
    const size_t n_chunks = rows->n / format->n_rows;
    const size_t n_blocks = (n_bytes + format->block_bytes - 1) / format->block_bytes;
    /* A frame can be longer than its values until it is replaced with an uncompressed frame. */
    const size_t most = HEADER_BYTES + n_bytes + LENGTH_BYTES * n_blocks * (1 + format->itemsize) + CRC_BYTES;
    if (!make_room(&encoder->chunk, n_bytes) || !make_room(&encoder->planes, format->block_bytes) ||
        !make_room(&encoder->stream, ZSTD_compressBound(format->block_bytes)) ||
        !make_room(&encoder->run, n_chunks * most)) {
        return NO_MEMORY;
    }
    uint8_t *out = encoder->run.bytes;
    for (size_t i = 0; i < n_chunks; i++) {
        const RowOrder part = part_of(rows, i * format->n_rows, format->n_rows);
        if (!format->narrow) {
            gather_rows(&part, encoder->chunk.bytes);
        } else if (!gather_narrowed(&part, encoder->chunk.bytes, format->itemsize)) {
            return HAS_NAN;
        }
        lengths[i] = encode_frame(encoder, format, n_bytes, out);
        if (format->has_checksum) {
            write_u32(out + lengths[i], crc32c(out, lengths[i]));
            lengths[i] += CRC_BYTES;
        }
        out += lengths[i];
    }
    return ENCODED;
}
