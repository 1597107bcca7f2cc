/* Instructions of the processor for crc32c, float16 and prefetching. The module is not built for other processors. */
#ifndef ZARR_STORE_PLATFORM_H
#define ZARR_STORE_PLATFORM_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <cpuid.h>
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

/* Return whether this processor has the instructions that this header uses. clang's `__builtin_cpu_supports` does not
   know f16c in all versions. */
static inline bool is_processor_supported(void) {
#if defined(__x86_64__)
    const unsigned int needed = bit_SSE4_2 | bit_F16C | bit_OSXSAVE;
    unsigned int a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & needed) != needed) {
        return false;
    }
    /* The instructions of f16c use the registers of AVX, which the operating system must save. */
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 6) == 6;
#else
    return true; /* the compiler flags require them */
#endif
}

#endif
