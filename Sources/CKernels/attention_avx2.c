// attention.h for AVX2, FMA and F16C.
#if defined(__x86_64__)
#include <immintrin.h>
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#define UK_LANES 8
#define UK_ATTENTION_TABLE uk_attention_avx2
#include "lanes.h"
UK_INLINE lanes_f half_load(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p)); }
UK_INLINE void half_store(uint16_t *p, lanes_f v) {
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
#include "attention_lanes.h"
#pragma clang attribute pop
#endif
