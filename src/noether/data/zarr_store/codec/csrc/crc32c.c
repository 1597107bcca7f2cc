#include "crc32c.h"

#include <string.h>

#include "platform.h"

enum { LANE = 1024 };

/* Table of the checksum register after LANE zero bytes, for each value of each of its four bytes. The result is linear
 * in the four bytes, so their four entries are combined by xor. */
static uint32_t after_lane[4][256];

WITH_CRC static uint32_t extend_crc(uint32_t crc, const uint8_t *data, size_t size) {
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

static uint32_t skip_lane(uint32_t crc) {
    return after_lane[0][crc & 0xFF] ^ after_lane[1][crc >> 8 & 0xFF] ^ after_lane[2][crc >> 16 & 0xFF] ^
           after_lane[3][crc >> 24];
}

void prepare_crc32c(void) {
    static const uint8_t zeros[LANE];
    for (uint32_t byte = 0; byte < 4; byte++) {
        for (uint32_t value = 0; value < 256; value++) {
            after_lane[byte][value] = extend_crc(value << 8 * byte, zeros, LANE);
        }
    }
}

/* The instruction takes three cycles, and one can start in every cycle. So three lanes of the data are processed at
 * once. */
WITH_CRC uint32_t crc32c(const uint8_t *data, size_t size) {
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
    return ~extend_crc(crc, data, size);
}
