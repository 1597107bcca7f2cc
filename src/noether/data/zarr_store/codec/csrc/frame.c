#include "frame.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "crc32c.h"
#include "float16.h"
#include "frame_format.h"

struct Decoder {
    Decoder *next; /* in the list of those that no call uses */
    ZSTD_DCtx *zstd;
    uint8_t *block; /* after zstd, and before the shuffle is undone */
    size_t block_capacity;
};

static Decoder *free_decoders = NULL;

Decoder *take_decoder(void) {
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

void give_back_decoder(Decoder *decoder) {
    decoder->next = free_decoders;
    free_decoders = decoder;
}

static bool has_room(Decoder *decoder, size_t n_bytes) {
    if (decoder->block_capacity < n_bytes) {
        free(decoder->block);
        decoder->block = malloc(n_bytes);
        decoder->block_capacity = decoder->block == NULL ? 0 : n_bytes;
    }
    return decoder->block != NULL;
}

static uint32_t read_u32(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Undo the shuffle: plane `k` has byte `k` of all `n` values. The loops are plain, so that the compiler makes the
 * processor's interleaving instructions of them. */
static void unshuffle(const uint8_t *const planes[], uint8_t *restrict out, size_t n, size_t itemsize) {
    if (itemsize == 2) {
        const uint8_t *restrict a = planes[0], *restrict b = planes[1];
        for (size_t i = 0; i < n; i++) {
            out[2 * i] = a[i];
            out[2 * i + 1] = b[i];
        }
    } else if (itemsize == 4) {
        const uint8_t *restrict a = planes[0], *restrict b = planes[1];
        const uint8_t *restrict c = planes[2], *restrict d = planes[3];
        for (size_t i = 0; i < n; i++) {
            out[4 * i] = a[i];
            out[4 * i + 1] = b[i];
            out[4 * i + 2] = c[i];
            out[4 * i + 3] = d[i];
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            for (size_t byte = 0; byte < itemsize; byte++) {
                out[itemsize * i + byte] = planes[byte][i];
            }
        }
    }
}

/* Decode one stream of `n_bytes` bytes: its stored length, then as many bytes. These are of zstd, or the plain bytes
 * where zstd made them no smaller. Return where the decoded bytes lie, in `room` or in the data, or NULL; move `data`
 * and `available` past the stream. */
static const uint8_t *decode_stream(Decoder *decoder, const uint8_t **data, size_t *available, uint8_t *room,
                                    size_t n_bytes) {
    if (*available < LENGTH_BYTES) {
        return NULL;
    }
    const uint8_t *stream = *data + LENGTH_BYTES;
    const size_t stored = read_u32(*data);
    if (stored > *available - LENGTH_BYTES) {
        return NULL;
    }
    *data = stream + stored;
    *available -= LENGTH_BYTES + stored;
    if (stored == n_bytes) {
        return stream;
    }
    return ZSTD_decompressDCtx(decoder->zstd, room, n_bytes, stream, stored) == n_bytes ? room : NULL;
}

/* Decode one block of `n_bytes` bytes, which ends within the `available` bytes. */
static bool decode_block(Decoder *decoder, const ChunkFormat *format, const uint8_t *data, size_t available,
                         uint8_t *out, size_t n_bytes, bool is_split) {
    const uint8_t *planes[MAX_ITEMSIZE];
    const size_t itemsize = format->itemsize, n = n_bytes / itemsize, stream_bytes = is_split ? n : n_bytes;
    for (size_t k = 0; k < itemsize; k++) {
        uint8_t *const room = decoder->block + k * n;
        if (k > 0 && !is_split) {
            planes[k] = planes[0] + k * n;
        } else if ((planes[k] = decode_stream(decoder, &data, &available, room, stream_bytes)) == NULL) {
            return false;
        }
    }
    if (format->widen) {
        widen(planes[0], planes[1], out, n);
    } else {
        unshuffle(planes, out, n, itemsize);
    }
    return true;
}

/* Decode the blocks of a frame whose header is sound. */
static bool decode_blocks(Decoder *decoder, const ChunkFormat *format, const uint8_t *frame, size_t frame_bytes,
                          uint8_t *out, size_t block_bytes, bool may_split) {
    const size_t n_blocks = (format->n_bytes + block_bytes - 1) / block_bytes, scale = format->widen ? 2 : 1;
    if (n_blocks > (frame_bytes - HEADER_BYTES) / LENGTH_BYTES || !has_room(decoder, block_bytes)) {
        return false;
    }
    for (size_t i = 0; i < n_blocks; i++) {
        const size_t start = read_u32(frame + HEADER_BYTES + LENGTH_BYTES * i), first = i * block_bytes;
        const size_t wanted = format->n_bytes - first < block_bytes ? format->n_bytes - first : block_bytes;
        /* A shorter last block is never split. */
        const bool is_split = may_split && wanted == block_bytes && block_bytes / format->itemsize >= MIN_SPLIT_VALUES;
        if (start > frame_bytes || !decode_block(decoder, format, frame + start, frame_bytes - start,
                                                 out + first * scale, wanted, is_split)) {
            return false;
        }
    }
    return true;
}

/* Decode the values that blosc stored without compression and shuffle, since compression made them no smaller. */
static bool copy_stored(const ChunkFormat *format, const uint8_t *frame, size_t frame_bytes, uint8_t *out) {
    if (frame_bytes != HEADER_BYTES + format->n_bytes) {
        return false;
    }
    if (format->widen) {
        widen(frame + HEADER_BYTES, NULL, out, format->n_bytes / 2);
    } else {
        memcpy(out, frame + HEADER_BYTES, format->n_bytes);
    }
    return true;
}

/* Decode one frame; return false if it is damaged, or was made in a way that is not known here. */
static bool decode_frame(Decoder *decoder, const ChunkFormat *format, const uint8_t *frame, size_t frame_bytes,
                         uint8_t *out) {
    if (frame_bytes < HEADER_BYTES || frame[0] != BLOSC_VERSION || frame[1] != ZSTD_VERSION) {
        return false;
    }
    const uint8_t flags = frame[2];
    const size_t block_bytes = read_u32(frame + 8);
    if (flags & RESERVED || frame[3] != format->itemsize || read_u32(frame + 4) != format->n_bytes ||
        read_u32(frame + 12) != frame_bytes || format->n_bytes % format->itemsize || block_bytes == 0 ||
        block_bytes > format->n_bytes) {
        return false;
    }
    if (flags & STORED) {
        return copy_stored(format, frame, frame_bytes, out);
    }
    if (flags & BIT_SHUFFLE || !(flags & BYTE_SHUFFLE) || flags >> 5 != ZSTD || block_bytes % format->itemsize) {
        return false;
    }
    return decode_blocks(decoder, format, frame, frame_bytes, out, block_bytes, !(flags & NOT_SPLIT));
}

size_t decode_chunks(Decoder *decoder, const ChunkFormat *format, const uint8_t *data, const size_t *bounds,
                     size_t n_chunks, uint8_t *out) {
    const size_t tail = format->has_checksum ? CRC_BYTES : 0, out_bytes = format->n_bytes * (format->widen ? 2 : 1);
    for (size_t i = 0; i < n_chunks; i++) {
        const uint8_t *chunk = data + bounds[i];
        const size_t chunk_bytes = bounds[i + 1] - bounds[i];
        if (chunk_bytes < tail) {
            return i;
        }
        const size_t frame_bytes = chunk_bytes - tail;
        if ((tail && format->verify && crc32c(chunk, frame_bytes) != read_u32(chunk + frame_bytes)) ||
            !decode_frame(decoder, format, chunk, frame_bytes, out + i * out_bytes)) {
            return i;
        }
    }
    return n_chunks;
}
