/* The chunks of a shard. Knows no Python.
 *
 * A chunk is a frame of blosc 1, and where checksums are on, the frame's crc32c. A frame is a header, the offsets of
 * its blocks, and the blocks: one zstd stream for all bytes of a block, or one for each byte of its values. Whatever is
 * decoded here may be damaged or forged: no size is used before it is compared with that of the buffer it lies in.
 *
 * The frame: https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst
 */
#ifndef ZARR_STORE_FRAME_H
#define ZARR_STORE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Fewest and most bytes of a value that the functions here know. */
enum { MIN_ITEMSIZE = 2, MAX_ITEMSIZE = 8 };

/* The chunks of an array, which are all alike. */
typedef struct {
    size_t n_bytes;    /* of a chunk before compression */
    size_t itemsize;   /* bytes of a stored value, MIN_ITEMSIZE to MAX_ITEMSIZE */
    bool widen;        /* whether the stored values are float16 (itemsize 2), and are decoded to float32 */
    bool has_checksum; /* whether a crc32c follows each frame */
    bool verify;       /* whether that crc32c is compared */
} ChunkFormat;

/* Working memory for decoding: a zstd context, and room for a block. It is kept for later calls, since a new context
 * costs more than a chunk. */
typedef struct Decoder Decoder;

/* Return a decoder that no other call uses, or NULL if there is no memory; give it back after use. The two functions
 * share a list, so callers hold a lock around each of them. */
Decoder *take_decoder(void);
void give_back_decoder(Decoder *decoder);

/* Values of a chunk from number `first` up to, but not including, number `stop`, which is larger. */
typedef struct {
    size_t first, stop;
} ValueRange;

/* One stored chunk, and what is taken of it. */
typedef struct {
    size_t start, n_bytes;    /* of the stored bytes */
    const ValueRange *ranges; /* ascending, and within the chunk */
    size_t n_ranges;
} StoredChunk;

/* Decode chunks, as far as possible, and write the values that are taken to `out`, one range behind the other.
 *
 * Blocks of which nothing is taken are not decoded. Return the number of chunks before the first that is damaged, or
 * was made in a way that is not known here. */
size_t decode_chunks(Decoder *decoder, const ChunkFormat *format, const uint8_t *data, const StoredChunk *chunks,
                     size_t n_chunks, uint8_t *out);

/* Return memory of a decoder for stored chunks, or NULL if there is no memory; it is valid until the next call, or until
 * the decoder is given back. */
uint8_t *make_room_to_fetch(Decoder *decoder, size_t n_bytes);

#endif
