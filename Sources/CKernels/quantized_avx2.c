// quantized.h for AVX2. Products of bytes go through 16-bit pairs: four-bit levels fit eight pairs into one, eight-bit
// levels are made signed first (level - 128), so that a pair cannot overflow.
#if defined(__x86_64__)
#include <immintrin.h>
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#define UK_LANES 8
#include "lanes.h"
#include "quantized_kernels.h"

static void quantize(const float *x, size_t k, int8_t *q, float *scale, float *sum) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    for (size_t g = 0; g < k / UK_GROUP; g++) {
        __m256 v[4];
        __m256 top = _mm256_setzero_ps(), zeros = top;
        for (size_t i = 0; i < 4; i++) {
            v[i] = _mm256_loadu_ps(x + g * UK_GROUP + 8 * i);
            top = _mm256_max_ps(top, _mm256_andnot_ps(sign, v[i]));
            // 0 · x is zero for finite x only.
            zeros = _mm256_add_ps(zeros, _mm256_mul_ps(v[i], _mm256_setzero_ps()));
        }
        float part[8];
        _mm256_storeu_ps(part, top);
        float largest = 0;
        for (size_t i = 0; i < 8; i++) largest = part[i] > largest ? part[i] : largest;
        const bool finite = _mm256_movemask_ps(_mm256_cmp_ps(zeros, zeros, _CMP_UNORD_Q)) == 0;
        if (!finite || largest < UK_SMALLEST_ACTIVATION) {
            memset(q + g * UK_GROUP, 0, UK_GROUP);
            scale[g] = sum[g] = finite ? 0 : NAN;
            continue;
        }
        const float step = largest / 127.0f, inverse = 127.0f / largest;
        int total = 0;
        for (size_t i = 0; i < 4; i++) {
            int32_t levels[8];
            _mm256_storeu_si256((__m256i *)(void *)levels, _mm256_cvtps_epi32(_mm256_mul_ps(v[i], _mm256_set1_ps(inverse))));
            for (size_t j = 0; j < 8; j++) {
                q[g * UK_GROUP + 8 * i + j] = (int8_t)levels[j];
                total += levels[j];
            }
        }
        scale[g] = step;
        sum[g] = step * (float)total;
    }
}

/// Outputs of `count` tokens (a constant where this is inlined) for the eight rows of a tile from `half` · 8 on.
UK_INLINE void half_tile(const uk_matmul *a, size_t tile, size_t half, size_t token, const size_t count, uk_packed format) {
    const bool four = format == UK_PACKED_P4_0 || format == UK_PACKED_P4_1;
    const bool offset = format == UK_PACKED_P4_1 || format == UK_PACKED_P8_1;
    const size_t groups = a->k / UK_GROUP, bytes = uk_packed_group_bytes(format);
    const uint8_t *at = (const uint8_t *)a->weights + tile * uk_packed_tile_bytes(format, a->k);
    const int8_t *q = a->q + token * a->k;
    const float *scale = a->scale + token * groups, *sum = a->sum + token * groups;
    const __m256i nibble = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1), flip = _mm256_set1_epi8(-128);
    __m256 total[3], rest[3];
#pragma clang loop unroll(full)
    for (size_t t = 0; t < count; t++) total[t] = rest[t] = _mm256_setzero_ps();
    for (size_t g = 0; g < groups; g++, at += bytes) {
        const __m256 d = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(at + 16 * half)));
        __m256 m = d;
        if (offset) m = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(at + 32 + 16 * half)));
        // value = d·u + m = d·(u - 128) + (m + 128·d)
        if (format == UK_PACKED_P8_1) m = _mm256_fmadd_ps(d, _mm256_set1_ps(128), m);
        const uint8_t *u = at + (offset ? 64 : 32) + 32 * half;
        __m256i pairs[3];
#pragma clang loop unroll(full)
        for (size_t t = 0; t < count; t++) pairs[t] = _mm256_setzero_si256();
#pragma clang loop unroll(full)
        for (size_t i = 0; i < (four ? 4 : 8); i++) {
            const __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(u + 64 * i));
            if (four) {
                const __m256i low = _mm256_and_si256(v, nibble), high = _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble);
#pragma clang loop unroll(full)
                for (size_t t = 0; t < count; t++) {
                    int32_t first, second;
                    memcpy(&first, q + t * a->k + g * UK_GROUP + 4 * i, 4);
                    memcpy(&second, q + t * a->k + g * UK_GROUP + 16 + 4 * i, 4);
                    // At most 15 · 127 · 2 · 8 = 30,480 over the group.
                    pairs[t] = _mm256_add_epi16(pairs[t], _mm256_maddubs_epi16(low, _mm256_set1_epi32(first)));
                    pairs[t] = _mm256_add_epi16(pairs[t], _mm256_maddubs_epi16(high, _mm256_set1_epi32(second)));
                }
            } else {
                const __m256i level = _mm256_xor_si256(v, flip), size = _mm256_abs_epi8(level);
#pragma clang loop unroll(full)
                for (size_t t = 0; t < count; t++) {
                    int32_t word;
                    memcpy(&word, q + t * a->k + g * UK_GROUP + 4 * i, 4);
                    // At most 128 · 127 · 2 = 32,512.
                    const __m256i products = _mm256_maddubs_epi16(size, _mm256_sign_epi8(_mm256_set1_epi32(word), level));
                    pairs[t] = _mm256_add_epi32(pairs[t], _mm256_madd_epi16(products, ones));
                }
            }
        }
#pragma clang loop unroll(full)
        for (size_t t = 0; t < count; t++) {
            const __m256i whole = four ? _mm256_madd_epi16(pairs[t], ones) : pairs[t];
            const __m256 factor = _mm256_mul_ps(_mm256_set1_ps(scale[t * groups + g]), d);
            total[t] = _mm256_fmadd_ps(factor, _mm256_cvtepi32_ps(whole), total[t]);
            if (format != UK_PACKED_P8_0) rest[t] = _mm256_fmadd_ps(_mm256_set1_ps(sum[t * groups + g]), m, rest[t]);
        }
    }
    const __m256 factor = _mm256_set1_ps(format == UK_PACKED_P4_0 ? -8 : 1);
    const size_t first = tile * UK_TILE_ROWS + 8 * half;
    const size_t rows = a->rows - first < 8 ? a->rows - first : 8;
#pragma clang loop unroll(full)
    for (size_t t = 0; t < count; t++) {
        float *y = a->y + (token + t) * a->y_stride + first;
        const __m256 value = _mm256_fmadd_ps(factor, rest[t], total[t]);
        if (rows == 8) {
            _mm256_storeu_ps(y, a->accumulate ? _mm256_add_ps(_mm256_loadu_ps(y), value) : value);
        } else {
            float values[8];
            _mm256_storeu_ps(values, value);
            for (size_t r = 0; r < rows; r++) y[r] = a->accumulate ? y[r] + values[r] : values[r];
        }
    }
}

UK_INLINE void matmul(const uk_matmul *a, size_t tile_begin, size_t tile_end, uk_packed format) {
    for (size_t tile = tile_begin; tile < tile_end; tile++) {
        const size_t halves = a->rows - tile * UK_TILE_ROWS > 8 ? 2 : 1;
        size_t t = 0;
        for (; t + 3 <= a->tokens; t += 3)
            for (size_t half = 0; half < halves; half++) half_tile(a, tile, half, t, 3, format);
        for (; t < a->tokens; t++)
            for (size_t half = 0; half < halves; half++) half_tile(a, tile, half, t, 1, format);
    }
}

static void matmul_p4_0(const uk_matmul *a, size_t begin, size_t end) { matmul(a, begin, end, UK_PACKED_P4_0); }
static void matmul_p4_1(const uk_matmul *a, size_t begin, size_t end) { matmul(a, begin, end, UK_PACKED_P4_1); }
static void matmul_p8_0(const uk_matmul *a, size_t begin, size_t end) { matmul(a, begin, end, UK_PACKED_P8_0); }
static void matmul_p8_1(const uk_matmul *a, size_t begin, size_t end) { matmul(a, begin, end, UK_PACKED_P8_1); }

#include "quantized_lanes.h"

const uk_quantized_kernels uk_quantized_avx2 = {
    quantize,
    {matmul_f32, matmul_p4_0, matmul_p4_1, matmul_p8_0, matmul_p8_1},
};
#pragma clang attribute pop
#endif
