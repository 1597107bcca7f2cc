/* Rows to the chunks of a shard. Knows no Python. `frame.h` describes a chunk. */
#ifndef ZARR_STORE_ENCODE_H
#define ZARR_STORE_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gather.h"

/* The chunks of a run, which are all alike. */
typedef struct {
    size_t n_rows;                /* of a chunk */
    size_t itemsize;              /* bytes of a stored value, MIN_ITEMSIZE to MAX_ITEMSIZE */
    size_t block_bytes;           /* of a block: whole values, at least MIN_SPLIT_VALUES of them, at most a chunk */
    bool narrow;                  /* whether the rows have values of twice the size; see `narrow_values` */
    bool has_checksum;            /* whether a crc32c follows each frame */
    int level;                    /* of zstd, or 0 for no compression */
    const uint8_t *stored_header; /* of a frame whose values are stored without compression */
} EncodedFormat;

/* Working memory for encoding: a zstd context, and room for a chunk and for the encoded run. */
typedef struct Encoder Encoder;

/* Return an encoder that no other call uses, or NULL if there is no memory; give it back after use. The two functions
 * share a list, so callers hold a lock around each of them. */
Encoder *take_encoder(void);
void give_back_encoder(Encoder *encoder);

typedef enum { ENCODED, NO_MEMORY, HAS_NAN } EncodeResult;

/* Gather the rows of a run of whole chunks, cast them, and encode them one after the other.
 *
 * The number of rows must be a multiple of `format->n_rows`, the order valid, and rows that are narrowed have at most
 * MAX_NARROWED_WIDTH values. Write the bytes of each chunk to `lengths`. HAS_NAN: see `narrow_values`. */
EncodeResult encode_chunks(Encoder *encoder, const EncodedFormat *format, const RowOrder *rows, size_t *lengths);

/* Return the bytes of the run that was encoded last; they are there until the encoder is given back. */
const uint8_t *encoded_bytes(const Encoder *encoder);

#endif
