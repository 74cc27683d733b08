// Matrix products in block floating point with AVX2: integers of 16 bits with one scale for each row of a and each column of b
// in a block of k, and sums of 32 bits within a block (Das et al., arXiv 1802.00930; Köster et al., arXiv 1711.02213).
// VPMADDWD takes two products a lane, where a fused multiply-add takes one.
//
// Blocked like dense_product.h, whose packing is used, but in pairs of neighbouring k, the first in the low half of 32 bits.
// Included after it, inside the target's pragma.
#ifndef UK_DENSE_INT16_H
#define UK_DENSE_INT16_H
#include <immintrin.h>

#pragma clang assume_nonnull begin

enum { INT16_STAGE = GEMM_K * GEMM_PANEL + UK_LANES };
// Panels of b, tiles of a and what the last of them writes beyond its end, what is about to be rounded, and one scale for each
// column of b's block and each row of a's.
_Static_assert(GEMM_K / 2 * (GEMM_N + GEMM_M) + UK_LANES + INT16_STAGE + GEMM_N + GEMM_M / UK_GEMM_ROWS * UK_LANES <= UK_GEMM_SCRATCH,
               "the packed blocks fit the scratch");

/// sum + the products of two pairs a lane. Written out, since compilers add the products of several k first, for which
/// registers do not suffice.
UK_INLINE __m256i products_added(__m256i sum, __m256i pairs, __m256i b) {
    __m256i products;
    __asm__("vpmaddwd %2, %1, %0" : "=x"(products) : "x"(pairs), "x"(b));
    __asm__("vpaddd %1, %0, %0" : "+x"(sum) : "x"(products));
    return sum;
}

/// c[rows, panel] (+)= a_scale(i) · b_scale(j) · Σ over pairs of a[pair, i] · b[pair, j]; `columns` are wanted. `rows` and `half`,
/// whether the panel's first vector is enough, are constants where this is inlined.
UK_INLINE void int16_tile(const size_t rows, const int half, size_t pairs, const int32_t *a, const float *a_scale, const int32_t *b,
                          const float *b_scale, float *c, size_t c_row, size_t columns, int adds) {
    __m256i left[UK_GEMM_ROWS], right[UK_GEMM_ROWS];
#pragma clang loop unroll(full)
    for (size_t i = 0; i < rows; i++) {
        left[i] = right[i] = _mm256_setzero_si256();
        __builtin_prefetch(c + i * c_row, 1);
        __builtin_prefetch(c + i * c_row + columns - 1, 1);
    }
#pragma clang loop unroll_count(2)
    for (size_t p = 0; p < pairs; p++) {
        const __m256i b0 = _mm256_loadu_si256((const __m256i *)b);
        const __m256i b1 = half ? b0 : _mm256_loadu_si256((const __m256i *)(b + UK_LANES));
#pragma clang loop unroll(full)
        for (size_t i = 0; i < rows; i++) {
            const __m256i value = _mm256_set1_epi32(a[i]);
            left[i] = products_added(left[i], value, b0);
            if (!half) right[i] = products_added(right[i], value, b1);
        }
        a += UK_GEMM_ROWS;
        b += GEMM_PANEL;
    }
    // Scales first: a sum times one of them could leave the range of fp32.
    const lanes_f scale0 = lanes_load(b_scale), scale1 = lanes_load(b_scale + UK_LANES);
#pragma clang loop unroll(full)
    for (size_t i = 0; i < rows; i++) {
        float *row = c + i * c_row;
        const lanes_f first = (lanes_f)_mm256_cvtepi32_ps(left[i]) * (scale0 * a_scale[i]);
        const lanes_f second = (lanes_f)_mm256_cvtepi32_ps(right[i]) * (scale1 * a_scale[i]);
        if (columns == (half ? UK_LANES : GEMM_PANEL)) {
            lanes_store(row, adds ? lanes_load(row) + first : first);
            if (!half) lanes_store(row + UK_LANES, adds ? lanes_load(row + UK_LANES) + second : second);
        } else {
            float edge[GEMM_PANEL];
            lanes_store(edge, first);
            lanes_store(edge + UK_LANES, second);
            for (size_t j = 0; j < columns; j++) row[j] = adds ? row[j] + edge[j] : edge[j];
        }
    }
}

static void int16_rows(size_t rows, size_t pairs, const int32_t *a, const float *a_scale, const int32_t *b, const float *b_scale,
                       float *c, size_t c_row, size_t columns, int adds) {
#define UK_ROWS(n) \
    case n: int16_tile(n, 0, pairs, a, a_scale, b, b_scale, c, c_row, columns, adds); break; \
    case n + 16: int16_tile(n, 1, pairs, a, a_scale, b, b_scale, c, c_row, columns, adds); break;
    switch (columns > UK_LANES ? rows : rows + 16) {
        UK_ROWS(1) UK_ROWS(2) UK_ROWS(3) UK_ROWS(4) UK_ROWS(5) UK_ROWS(6)
    default: break;
    }
#undef UK_ROWS
}

UK_INLINE lanes_f lesser(lanes_f a, lanes_f b) { return (lanes_f)_mm256_min_ps((__m256)a, (__m256)b); }
UK_INLINE lanes_f greater(lanes_f a, lanes_f b) { return (lanes_f)_mm256_max_ps((__m256)a, (__m256)b); }

/// What the columns of a block of k rows are multiplied by, so that the Euclidean norm of each becomes 46,300 and no element
/// exceeds 32,766: by Cauchy & Schwarz no sum of products then leaves 32 bits, whatever its order. 0 for those whose elements
/// are all below 1e-30, not a number for those with one that is not finite.
UK_INLINE lanes_f int16_factor(const float *x, size_t stride, size_t k) {
    // Four chains, so that no sum waits for the one before it.
    lanes_f sums[4] = {{0}}, largest[4] = {{0}};
    for (size_t p = 0; p < k; p += 4) {
#pragma clang loop unroll(full)
        for (size_t q = 0; q < 4; q++) {
            const lanes_f value = lanes_load(x + (p + q) * stride);
            sums[q] += value * value;
            largest[q] = greater(largest[q], (lanes_f)((lanes_i)value & 0x7fffffff));
        }
    }
    const lanes_f squares = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    const lanes_f greatest = greater(greater(largest[0], largest[1]), greater(largest[2], largest[3]));
    // Where squares would leave the range of fp32, the greatest element bounds the norm.
    const lanes_i in_range = (greatest > 1e-15f) & (greatest < 1e15f);
    const lanes_f by_norm = lanes_select(in_range, 46300 / (lanes_f)_mm256_sqrt_ps((__m256)squares), 46300 / sqrtf((float)k) / greatest);
    lanes_f factor = lesser(by_norm, 32766 / greatest);
    factor = lanes_select(greatest > 1e-30f, factor, lanes_all(0));
    // The instructions for minimum and maximum lose what is not a number.
    return lanes_select((squares != squares) | (greatest == INFINITY), lanes_all(NAN), factor);
}

/// Two rows of a block as pairs.
UK_INLINE lanes_i int16_pairs(const float *x, const float *next, lanes_f factor) {
    const __m256i low = _mm256_cvtps_epi32((__m256)(lanes_load(x) * factor));
    const __m256i high = _mm256_cvtps_epi32((__m256)(lanes_load(next) * factor));
    return (lanes_i)_mm256_blend_epi16(low, _mm256_slli_epi32(high, 16), 0xAA);
}

/// Rounds stage[k, lanes], whose rows are `stride` apart, to dst[⌈k / 2⌉, stride] of pairs and writes what they are to be
/// multiplied by afterwards to scale[lanes]. Whole vectors are read and written, so the last of a tile's row reaches into the
/// next row, which is written after it.
static void int16_round(float *stage, size_t stride, size_t lanes, size_t k, int32_t *dst, float *scale) {
    if (k % 4) memset(stage + k * stride, 0, (4 - k % 4) * stride * sizeof(float));
    for (size_t j = 0; j < lanes; j += UK_LANES) {
        const lanes_f factor = int16_factor(stage + j, stride, k);
        lanes_store(scale + j, lanes_select(factor == 0, factor, 1 / factor));
        for (size_t p = 0; p < k; p += 2) {
            const lanes_i pairs = int16_pairs(stage + p * stride + j, stage + (p + 1) * stride + j, factor);
            memcpy(dst + p / 2 * stride + j, &pairs, sizeof pairs);
        }
    }
}

void uk_gemm_int16_avx2(const uk_gemm *g, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end, float *scratch) {
    if (n_begin == n_end) return;
    int32_t *panels = (int32_t *)(void *)scratch, *tiles = panels + GEMM_K / 2 * GEMM_N;
    float *stage = (float *)(void *)(tiles + GEMM_K / 2 * GEMM_M + UK_LANES), *b_scale = stage + INT16_STAGE, *a_scale = b_scale + GEMM_N;
    const size_t step = uk_gemm_step(g->k), across = uk_gemm_block(n_end - n_begin, GEMM_N, GEMM_PANEL);
    for (size_t p0 = 0; p0 < g->k; p0 += step) {
        const size_t k = g->k - p0 < step ? g->k - p0 : step, pairs = (k + 1) / 2;
        const int adds = g->accumulate || p0 > 0;
        for (size_t n0 = n_begin; n0 < n_end; n0 += across) {
            const size_t width = n_end - n0 < across ? n_end - n0 : across;
            for (size_t j = 0; j < width; j += GEMM_PANEL) {
                gemm_pack(g->b + p0 * g->b_row + (n0 + j) * g->b_column, g->b_row, g->b_column, k,
                          width - j < GEMM_PANEL ? width - j : GEMM_PANEL, stage);
                int16_round(stage, GEMM_PANEL, GEMM_PANEL, k, panels + j * pairs, b_scale + j);
            }
            for (size_t m0 = m_begin; m0 < m_end; m0 += GEMM_M) {
                const size_t height = m_end - m0 < GEMM_M ? m_end - m0 : GEMM_M;
                for (size_t i = 0; i < height; i += UK_GEMM_ROWS) {
                    const size_t rows = height - i < UK_GEMM_ROWS ? height - i : UK_GEMM_ROWS;
                    if (rows < UK_GEMM_ROWS) memset(stage, 0, k * UK_GEMM_ROWS * sizeof(float));
                    gemm_pack_tile(g->a + (m0 + i) * g->a_row + p0 * g->a_column, g->a_row, g->a_column, k, rows, stage);
                    int16_round(stage, UK_GEMM_ROWS, UK_LANES, k, tiles + i * pairs, a_scale + i / UK_GEMM_ROWS * UK_LANES);
                }
                for (size_t j = 0; j < width; j += GEMM_PANEL)
                    for (size_t i = 0; i < height; i += UK_GEMM_ROWS)
                        int16_rows(height - i < UK_GEMM_ROWS ? height - i : UK_GEMM_ROWS, pairs, tiles + i * pairs,
                                   a_scale + i / UK_GEMM_ROWS * UK_LANES, panels + j * pairs, b_scale + j,
                                   g->c + (m0 + i) * g->c_row + n0 + j, g->c_row, width - j < GEMM_PANEL ? width - j : GEMM_PANEL, adds);
            }
        }
    }
}

#pragma clang assume_nonnull end
#endif
