/* The checksum crc32c. Independent of Python. */
#ifndef ZARR_STORE_CRC32C_H
#define ZARR_STORE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Fill the table that `crc32c` needs. Call this once, before any other function. */
void prepare_crc32c(void);

/* Return the crc32c of `size` bytes. */
uint32_t crc32c(const uint8_t *data, size_t size);

#endif
