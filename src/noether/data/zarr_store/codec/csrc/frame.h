/* Decoding of the chunks of a shard. Independent of Python.
 *
 * A chunk is a blosc 1 frame; with checksums on, the crc32c of the frame follows. A frame is a header, the offsets
 * of its blocks, and the blocks. A block is one zstd stream for all its bytes, or one stream for each byte of a value.
 * The bytes can be damaged or forged, so every size is compared with the size of its buffer before it is used.
 *
 * The frame: https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst
 */
#ifndef ZARR_STORE_FRAME_H
#define ZARR_STORE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Minimum and maximum number of bytes of a value that these functions support. */
enum { MIN_ITEMSIZE = 2, MAX_ITEMSIZE = 8 };

/* The format of all chunks of an array. */
typedef struct {
    size_t n_bytes;    /* bytes of a chunk before compression */
    size_t itemsize;   /* bytes of a stored value, MIN_ITEMSIZE to MAX_ITEMSIZE */
    bool widen;        /* whether the stored values are float16 (itemsize 2), and are decoded to float32 */
    bool has_checksum; /* whether a crc32c follows each frame */
    bool verify;       /* whether that crc32c is compared */
} ChunkFormat;

/* Working memory for decoding: a zstd context and buffers. It is kept for later calls, because creating a context takes
 * longer than decoding a chunk. */
typedef struct Decoder Decoder;

/* Return a decoder that no other call uses, or NULL if there is no memory. Hand it back after use with
 * `give_back_decoder`. Both functions change the same list, so callers must hold a lock. */
Decoder *take_decoder(void);
void give_back_decoder(Decoder *decoder);

/* The values of a chunk from index `first` up to, but not including, index `stop`; `first` < `stop`. */
typedef struct {
    size_t first, stop;
} ValueRange;

/* One stored chunk, and the values that are taken from it. */
typedef struct {
    size_t start, n_bytes;    /* offset and number of the stored bytes */
    const ValueRange *ranges; /* ascending, and within the chunk */
    size_t n_ranges;
} StoredChunk;

/* Decode chunks, and write the taken values to `out`, one range after the other.
 *
 * Blocks from which no value is taken are not decoded. Decoding stops at the first chunk that is damaged or has an
 * unsupported encoding. Return the number of chunks before it. */
size_t decode_chunks(Decoder *decoder, const ChunkFormat *format, const uint8_t *data, const StoredChunk *chunks,
                     size_t n_chunks, uint8_t *out);

/* Return a buffer of a decoder for stored chunks, or NULL if there is no memory. It is valid until the next call, or
 * until the decoder is handed back. */
uint8_t *make_room_to_fetch(Decoder *decoder, size_t n_bytes);

#endif
