// attention.h for AVX-512.
#if defined(__x86_64__)
#include <immintrin.h>
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), apply_to = function)
#define UK_LANES 16
#define UK_ATTENTION_TABLE uk_attention_avx512
#include "lanes.h"
UK_INLINE lanes_f half_load(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p)); }
UK_INLINE void half_store(uint16_t *p, lanes_f v) {
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
#include "attention_lanes.h"
#pragma clang attribute pop
#endif
