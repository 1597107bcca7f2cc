/* Encoding of rows as the chunks of a shard. Independent of Python. `frame.h` describes a chunk. */
#ifndef ZARR_STORE_ENCODE_H
#define ZARR_STORE_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gather.h"

/* The format of all chunks of a run. */
typedef struct {
    size_t n_rows;                /* rows of a chunk */
    size_t itemsize;              /* bytes of a stored value, MIN_ITEMSIZE to MAX_ITEMSIZE */
    size_t block_bytes;           /* bytes of a block: whole values, at least MIN_SPLIT_VALUES, at most a chunk */
    bool narrow;                  /* whether the input values have twice the itemsize; see `narrow_values` */
    bool has_checksum;            /* whether a crc32c follows each frame */
    int level;                    /* level of zstd, or 0 for no compression */
    const uint8_t *stored_header; /* header of a frame that is stored without compression */
} EncodedFormat;

/* Working memory for encoding: a zstd context, and buffers for a chunk and for the encoded run. */
typedef struct Encoder Encoder;

/* Return an encoder that no other call uses, or NULL if there is no memory. Hand it back after use with
 * `give_back_encoder`. Both functions change the same list, so callers must hold a lock. */
Encoder *take_encoder(void);
void give_back_encoder(Encoder *encoder);

typedef enum { ENCODED, NO_MEMORY, HAS_NAN } EncodeResult;

/* Gather the rows of a run of whole chunks, cast them, and encode them one after the other.
 *
 * The number of rows must be a multiple of `format->n_rows`, and the order must be valid. Rows that are narrowed must
 * have at most MAX_NARROWED_WIDTH values. The number of bytes of each chunk is written to `lengths`. For HAS_NAN, see
 * `narrow_values`. */
EncodeResult encode_chunks(Encoder *encoder, const EncodedFormat *format, const RowOrder *rows, size_t *lengths);

/* Return the bytes of the run that was encoded last. They are valid until the encoder is handed back. */
const uint8_t *encoded_bytes(const Encoder *encoder);

#endif
