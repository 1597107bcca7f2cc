/* Constants of the chunk format, which `frame.h` describes. */
#ifndef ZARR_STORE_FRAME_FORMAT_H
#define ZARR_STORE_FRAME_FORMAT_H

enum { HEADER_BYTES = 16, LENGTH_BYTES = 4, CRC_BYTES = 4 };

/* Versions and flags of the header; the compressor is in the upper three bits of the flags. */
enum { BLOSC_VERSION = 2, ZSTD_VERSION = 1, ZSTD = 4 };
enum { BYTE_SHUFFLE = 0x1, STORED = 0x2, BIT_SHUFFLE = 0x4, RESERVED = 0x8, NOT_SPLIT = 0x10 };

/* A block with fewer values is one stream, whatever the flags are. */
enum { MIN_SPLIT_VALUES = 128 };

#endif
