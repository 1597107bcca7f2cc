/* Instructions of the processor for crc32c, float16 and prefetching. The module is not built for other processors. */
#ifndef ZARR_STORE_PLATFORM_H
#define ZARR_STORE_PLATFORM_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define WITH_CRC __attribute__((target("sse4.2")))
#define WITH_FLOAT16 __attribute__((target("f16c")))
#define PREFETCH(address) _mm_prefetch((const char *)(address), _MM_HINT_T0)
#define CRC_STEP_8(crc, word) ((uint32_t)_mm_crc32_u64((crc), (word)))
#define CRC_STEP_1(crc, byte) _mm_crc32_u8((crc), (byte))
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32) && !defined(__AARCH64EB__)
#include <arm_acle.h>
#include <arm_neon.h>
#define WITH_CRC
#define WITH_FLOAT16
#define PREFETCH(address) __builtin_prefetch(address)
#define CRC_STEP_8(crc, word) __crc32cd((crc), (word))
#define CRC_STEP_1(crc, byte) __crc32cb((crc), (byte))
#else
#error "no known crc32c instruction; without this module, numcodecs and NumPy do its work"
#endif

/* Return whether this processor has the instructions that this header uses. */
static inline bool is_processor_supported(void) {
#if defined(__x86_64__)
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("f16c");
#else
    return true; /* the compiler flags require them */
#endif
}

#endif
