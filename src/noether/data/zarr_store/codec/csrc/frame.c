#include "frame.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "crc32c.h"
#include "float16.h"
#include "frame_format.h"

enum { MAX_KEPT_BYTES = 4 << 20 };

/* A growable buffer. */
typedef struct {
    uint8_t *bytes;
    size_t capacity;
} Room;

struct Decoder {
    Decoder *next; /* next decoder in the list of free decoders */
    ZSTD_DCtx *zstd;
    Room block;   /* a decompressed block that is still shuffled */
    Room fetched; /* stored chunks that were read from a file */
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
    if (decoder->fetched.capacity > MAX_KEPT_BYTES) { /* few reads need this much, and decoders are never freed */
        free(decoder->fetched.bytes);
        decoder->fetched = (Room){0};
    }
    decoder->next = free_decoders;
    free_decoders = decoder;
}

static uint8_t *make_room(Room *room, size_t n_bytes) {
    if (room->capacity < n_bytes) {
        free(room->bytes);
        room->bytes = malloc(n_bytes);
        room->capacity = room->bytes == NULL ? 0 : n_bytes;
    }
    return room->bytes;
}

uint8_t *make_room_to_fetch(Decoder *decoder, size_t n_bytes) { return make_room(&decoder->fetched, n_bytes); }

static uint32_t read_u32(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Undo the shuffle: plane `k` has byte `k` of all `n` values. The loops are simple, so that the compiler turns them
 * into interleaving instructions. */
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

/* Decode one stream of `n_bytes` decoded bytes. A stored length comes first, then that number of bytes: compressed by
 * zstd, or plain if their number is `n_bytes`. Return a pointer to the decoded bytes, in `room` or in the data, or NULL
 * if the stream is damaged. Move `data` and `available` past the stream. */
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

/* The values that remain to be taken from a chunk, and the place for them. */
typedef struct {
    const ValueRange *next, *end; /* ranges of the chunk's values; no range is empty */
    uint8_t *out;
} Taking;

/* Return whether values before `stop` remain to be taken. */
static bool takes_before(const Taking *taking, size_t stop) {
    return taking->next != taking->end && taking->next->first < stop;
}

/* Take the wanted values from a block, which holds the values `first` to `first + n` of the chunk in byte planes. */
static void take_values(const ChunkFormat *format, Taking *taking, const uint8_t *const planes[], size_t first,
                        size_t n) {
    const size_t stop = first + n, out_size = format->itemsize * (format->widen ? 2 : 1);
    while (takes_before(taking, stop)) {
        const ValueRange *range = taking->next;
        const size_t from = range->first > first ? range->first : first, to = range->stop < stop ? range->stop : stop;
        const uint8_t *shifted[MAX_ITEMSIZE];
        for (size_t k = 0; k < format->itemsize; k++) {
            shifted[k] = planes[k] + (from - first);
        }
        if (format->widen) {
            widen(shifted[0], shifted[1], taking->out, to - from);
        } else {
            unshuffle(shifted, taking->out, to - from, format->itemsize);
        }
        taking->out += (to - from) * out_size;
        if (range->stop > stop) {
            return; /* the next block has the rest */
        }
        taking->next++;
    }
}

/* Decode one block of `n_bytes` bytes, and take the wanted values from it. The block must end within the `available`
 * bytes; `first` is the index of its first value in the chunk. */
static bool decode_block(Decoder *decoder, const ChunkFormat *format, const uint8_t *data, size_t available,
                         Taking *taking, size_t first, size_t n_bytes, bool is_split) {
    const uint8_t *planes[MAX_ITEMSIZE];
    const size_t itemsize = format->itemsize, n = n_bytes / itemsize, stream_bytes = is_split ? n : n_bytes;
    for (size_t k = 0; k < itemsize; k++) {
        uint8_t *const room = decoder->block.bytes + k * n;
        if (k > 0 && !is_split) {
            planes[k] = planes[0] + k * n;
        } else if ((planes[k] = decode_stream(decoder, &data, &available, room, stream_bytes)) == NULL) {
            return false;
        }
    }
    take_values(format, taking, planes, first, n);
    return true;
}

/* Decode the blocks of a frame from which values are taken. The header of the frame must be valid. */
static bool decode_blocks(Decoder *decoder, const ChunkFormat *format, const uint8_t *frame, size_t frame_bytes,
                          Taking *taking, size_t block_bytes, bool may_split) {
    const size_t n_blocks = (format->n_bytes + block_bytes - 1) / block_bytes, itemsize = format->itemsize;
    if (n_blocks > (frame_bytes - HEADER_BYTES) / LENGTH_BYTES || make_room(&decoder->block, block_bytes) == NULL) {
        return false;
    }
    for (size_t i = 0; i < n_blocks; i++) {
        const size_t start = read_u32(frame + HEADER_BYTES + LENGTH_BYTES * i), first = i * block_bytes;
        const size_t wanted = format->n_bytes - first < block_bytes ? format->n_bytes - first : block_bytes;
        /* A shorter last block is always one stream. */
        const bool is_split = may_split && wanted == block_bytes && block_bytes / itemsize >= MIN_SPLIT_VALUES;
        if (takes_before(taking, (first + wanted) / itemsize) &&
            (start > frame_bytes || !decode_block(decoder, format, frame + start, frame_bytes - start, taking,
                                                  first / itemsize, wanted, is_split))) {
            return false;
        }
    }
    return true;
}

/* Take values from a frame that is stored without compression and shuffle; blosc does that if compression does not
 * shrink the values. */
static bool copy_stored(const ChunkFormat *format, const uint8_t *frame, size_t frame_bytes, Taking *taking) {
    if (frame_bytes != HEADER_BYTES + format->n_bytes) {
        return false;
    }
    for (; taking->next != taking->end; taking->next++) {
        const uint8_t *values = frame + HEADER_BYTES + taking->next->first * format->itemsize;
        const size_t n = taking->next->stop - taking->next->first, n_bytes = n * format->itemsize;
        if (format->widen) {
            widen(values, NULL, taking->out, n);
        } else {
            memcpy(taking->out, values, n_bytes);
        }
        taking->out += format->widen ? 2 * n_bytes : n_bytes;
    }
    return true;
}

/* Decode one frame. Return false if it is damaged or has an encoding that this module does not support. */
static bool decode_frame(Decoder *decoder, const ChunkFormat *format, const uint8_t *frame, size_t frame_bytes,
                         Taking *taking) {
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
        return copy_stored(format, frame, frame_bytes, taking);
    }
    if (flags & BIT_SHUFFLE || !(flags & BYTE_SHUFFLE) || flags >> 5 != ZSTD || block_bytes % format->itemsize) {
        return false;
    }
    return decode_blocks(decoder, format, frame, frame_bytes, taking, block_bytes, !(flags & NOT_SPLIT));
}

size_t decode_chunks(Decoder *decoder, const ChunkFormat *format, const uint8_t *data, const StoredChunk *chunks,
                     size_t n_chunks, uint8_t *out) {
    const size_t tail = format->has_checksum ? CRC_BYTES : 0;
    for (size_t i = 0; i < n_chunks; i++) {
        const StoredChunk *chunk = &chunks[i];
        if (chunk->n_bytes < tail) {
            return i;
        }
        const uint8_t *frame = data + chunk->start;
        const size_t frame_bytes = chunk->n_bytes - tail;
        Taking taking = {.next = chunk->ranges, .end = chunk->ranges + chunk->n_ranges, .out = out};
        if ((tail && format->verify && crc32c(frame, frame_bytes) != read_u32(frame + frame_bytes)) ||
            !decode_frame(decoder, format, frame, frame_bytes, &taking)) {
            return i;
        }
        out = taking.out;
    }
    return n_chunks;
}
