#include "float16.h"

#include <string.h>

#include "platform.h"

WITH_FLOAT16 static void widen_eight(const uint8_t *low, const uint8_t *high, uint8_t *out) {
#if defined(__x86_64__)
    const __m128i values = high == NULL ? _mm_loadu_si128((const __m128i *)low)
                                        : _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)low),
                                                            _mm_loadl_epi64((const __m128i *)high));
    _mm_storeu_ps((float *)out, _mm_cvtph_ps(values));
    _mm_storeu_ps((float *)(out + 16), _mm_cvtph_ps(_mm_srli_si128(values, 8)));
#else
    const uint8x16_t values = high == NULL ? vld1q_u8(low) : vcombine_u8(vzip1_u8(vld1_u8(low), vld1_u8(high)),
                                                                         vzip2_u8(vld1_u8(low), vld1_u8(high)));
    vst1q_u8(out, vreinterpretq_u8_f32(vcvt_f32_f16(vreinterpret_f16_u8(vget_low_u8(values)))));
    vst1q_u8(out + 16, vreinterpretq_u8_f32(vcvt_f32_f16(vreinterpret_f16_u8(vget_high_u8(values)))));
#endif
}

WITH_FLOAT16 void widen(const uint8_t *low, const uint8_t *high, uint8_t *out, size_t n) {
    const size_t step = high == NULL ? 2 : 1, tail = n % 8, whole = n - tail;
    for (size_t i = 0; i < whole; i += 8) {
        widen_eight(low + i * step, high == NULL ? NULL : high + i, out + i * sizeof(float));
    }
    if (tail) {
        uint8_t low_bytes[16] = {0}, high_bytes[8] = {0}, widened[8 * sizeof(float)];
        memcpy(low_bytes, low + whole * step, tail * step);
        if (high != NULL) {
            memcpy(high_bytes, high + whole, tail);
        }
        widen_eight(low_bytes, high == NULL ? NULL : high_bytes, widened);
        memcpy(out + whole * sizeof(float), widened, tail * sizeof(float));
    }
}

WITH_FLOAT16 static void narrow_eight(const float *in, uint8_t *out) {
#if defined(__x86_64__)
    _mm_storeu_si128((__m128i *)out, _mm256_cvtps_ph(_mm256_loadu_ps(in), _MM_FROUND_TO_NEAREST_INT));
#else
    vst1q_u8(out, vreinterpretq_u8_f16(vcombine_f16(vcvt_f16_f32(vld1q_f32(in)), vcvt_f16_f32(vld1q_f32(in + 4)))));
#endif
}

WITH_FLOAT16 bool narrow(const float *in, uint8_t *out, size_t n) {
    int n_nan = 0;
    for (size_t i = 0; i < n; i++) {
        n_nan += in[i] != in[i];
    }
    const size_t tail = n % 8, whole = n - tail;
    for (size_t i = 0; i < whole; i += 8) {
        narrow_eight(in + i, out + 2 * i);
    }
    if (tail) {
        float last[8] = {0};
        uint8_t narrowed[16];
        memcpy(last, in + whole, tail * sizeof *in);
        narrow_eight(last, narrowed);
        memcpy(out + 2 * whole, narrowed, 2 * tail);
    }
    return n_nan == 0;
}
