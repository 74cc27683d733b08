// quantized.h for AVX-512 with VNNI: one instruction multiplies 64 pairs of bytes.
#if defined(__x86_64__)
#include <immintrin.h>
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"))), apply_to = function)
#define UK_LANES 16
#include "lanes.h"
#include "quantized_kernels.h"

static void quantize(const float *x, size_t k, int8_t *q, float *scale, float *sum) {
    for (size_t g = 0; g < k / UK_GROUP; g++) {
        const __m512 a = _mm512_loadu_ps(x + g * UK_GROUP), b = _mm512_loadu_ps(x + g * UK_GROUP + 16);
        const __m512 sizes = _mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b));
        const float largest = _mm512_reduce_max_ps(sizes);
        // 0 · x is zero for finite x only.
        const __m512 zeros = _mm512_add_ps(_mm512_mul_ps(a, _mm512_setzero_ps()), _mm512_mul_ps(b, _mm512_setzero_ps()));
        const bool finite = _mm512_cmp_ps_mask(zeros, zeros, _CMP_UNORD_Q) == 0;
        if (!finite || largest < UK_SMALLEST_ACTIVATION) {
            memset(q + g * UK_GROUP, 0, UK_GROUP);
            scale[g] = sum[g] = finite ? 0 : NAN;
            continue;
        }
        const float step = largest / 127.0f, inverse = 127.0f / largest;
        const __m512 factor = _mm512_set1_ps(inverse);
        const __m512i low = _mm512_cvtps_epi32(_mm512_mul_ps(a, factor)), high = _mm512_cvtps_epi32(_mm512_mul_ps(b, factor));
        _mm_storeu_si128((__m128i *)(void *)(q + g * UK_GROUP), _mm512_cvtsepi32_epi8(low));
        _mm_storeu_si128((__m128i *)(void *)(q + g * UK_GROUP + 16), _mm512_cvtsepi32_epi8(high));
        scale[g] = step;
        sum[g] = step * (float)_mm512_reduce_add_epi32(_mm512_add_epi32(low, high));
    }
}

/// Outputs of `count` tokens (a constant where this is inlined) for one tile.
UK_INLINE void tile_tokens(const uk_matmul *a, size_t tile, size_t token, const size_t count, uk_packed format) {
    const bool four = format == UK_PACKED_P4_0 || format == UK_PACKED_P4_1;
    const bool offset = format == UK_PACKED_P4_1 || format == UK_PACKED_P8_1;
    const size_t groups = a->k / UK_GROUP, bytes = uk_packed_group_bytes(format);
    const uint8_t *at = (const uint8_t *)a->weights + tile * uk_packed_tile_bytes(format, a->k);
    const int8_t *q = a->q + token * a->k;
    const float *scale = a->scale + token * groups, *sum = a->sum + token * groups;
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512 total[6], rest[6];
#pragma clang loop unroll(full)
    for (size_t t = 0; t < count; t++) total[t] = rest[t] = _mm512_setzero_ps();
    for (size_t g = 0; g < groups; g++, at += bytes) {
        const __m512 d = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)at));
        const __m512 m = offset ? _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(at + 32))) : d;
        const uint8_t *u = at + (offset ? 64 : 32);
        __m512i w[8];
#pragma clang loop unroll(full)
        for (size_t i = 0; i < (four ? 4 : 8); i++) {
            const __m512i v = _mm512_loadu_si512(u + 64 * i);
            if (four) {
                w[i] = _mm512_and_si512(v, nibble);
                w[i + 4] = _mm512_and_si512(_mm512_srli_epi16(v, 4), nibble);
            } else {
                w[i] = v;
            }
        }
#pragma clang loop unroll(full)
        for (size_t t = 0; t < count; t++) {
            int32_t words[8];
            memcpy(words, q + t * a->k + g * UK_GROUP, 32);
            __m512i even = _mm512_setzero_si512(), odd = even;
#pragma clang loop unroll(full)
            for (size_t i = 0; i < 8; i += 2) {
                even = _mm512_dpbusd_epi32(even, w[i], _mm512_set1_epi32(words[i]));
                odd = _mm512_dpbusd_epi32(odd, w[i + 1], _mm512_set1_epi32(words[i + 1]));
            }
            const __m512 dot = _mm512_cvtepi32_ps(_mm512_add_epi32(even, odd));
            total[t] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_set1_ps(scale[t * groups + g]), d), dot, total[t]);
            rest[t] = _mm512_fmadd_ps(_mm512_set1_ps(sum[t * groups + g]), m, rest[t]);
        }
    }
    const __m512 factor = _mm512_set1_ps(offset ? 1 : four ? -8 : -128);
    const size_t first = tile * UK_TILE_ROWS, rows = a->rows - first < UK_TILE_ROWS ? a->rows - first : UK_TILE_ROWS;
    const __mmask16 mask = (__mmask16)((1u << rows) - 1);
#pragma clang loop unroll(full)
    for (size_t t = 0; t < count; t++) {
        float *y = a->y + (token + t) * a->y_stride + first;
        __m512 value = _mm512_fmadd_ps(factor, rest[t], total[t]);
        if (a->accumulate) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, y));
        _mm512_mask_storeu_ps(y, mask, value);
    }
}

UK_INLINE void matmul(const uk_matmul *a, size_t tile_begin, size_t tile_end, uk_packed format) {
    for (size_t tile = tile_begin; tile < tile_end; tile++) {
        size_t t = 0;
        for (; t + 6 <= a->tokens; t += 6) tile_tokens(a, tile, t, 6, format);
        for (; t + 2 <= a->tokens; t += 2) tile_tokens(a, tile, t, 2, format);
        for (; t < a->tokens; t++) tile_tokens(a, tile, t, 1, format);
    }
}

static void matmul_p4_0(const uk_matmul *a, size_t begin, size_t end) { matmul(a, begin, end, UK_PACKED_P4_0); }
static void matmul_p4_1(const uk_matmul *a, size_t begin, size_t end) { matmul(a, begin, end, UK_PACKED_P4_1); }
static void matmul_p8_0(const uk_matmul *a, size_t begin, size_t end) { matmul(a, begin, end, UK_PACKED_P8_0); }
static void matmul_p8_1(const uk_matmul *a, size_t begin, size_t end) { matmul(a, begin, end, UK_PACKED_P8_1); }

#include "quantized_lanes.h"

const uk_quantized_kernels uk_quantized_avx512 = {
    quantize,
    {matmul_f32, matmul_p4_0, matmul_p4_1, matmul_p8_0, matmul_p8_1},
};
#pragma clang attribute pop
#endif
