// Matrix products of bfloat16 with sums in fp32: VDPBF16PS takes two products a lane, where a fused multiply-add takes one.
//
// Blocked like dense_product.h, but in pairs of neighbouring k, the first in the low half of 32 bits: panels of b are
// [pairs, two vectors], tiles of a [pairs, rows] or [rows, pairs], as the operand lies. Both are rounded while they are packed.
#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma"))), apply_to = function)
#define UK_LANES 16
#include "dense_internal.h"
#include "dense_transpose.h"
#include <immintrin.h>

#pragma clang assume_nonnull begin

enum { BF16_K = UK_GEMM_SCRATCH_K, BF16_N = 256, BF16_PANEL = 32, BF16_ROWS = 12 };

/// The first `count` of 16 lanes.
UK_INLINE __mmask16 lanes_mask(size_t count) { return count >= 16 ? 0xffff : (__mmask16)((1u << count) - 1); }

UK_INLINE __m512 products_added(__m512 sum, __m512i pairs, __m512 b) {
    return _mm512_dpbf16_ps(sum, (__m512bh)pairs, (__m512bh)b);
}

/// c[rows, panel] (+)= Σ over pairs of a(i, pair) · b[pair, panel], of which `columns` are wanted. `rows` and `half`, whether
/// the panel's first vector is enough, are constants where this is inlined.
UK_INLINE void bf16_tile(const size_t rows, const int half, size_t pairs, const uint32_t *a, size_t a_row, size_t a_pair, const float *b,
                         float *c, size_t c_row, size_t columns, int adds) {
    __m512 left[BF16_ROWS], right[BF16_ROWS];
#pragma clang loop unroll(full)
    for (size_t i = 0; i < rows; i++) {
        left[i] = right[i] = _mm512_setzero_ps();
        __builtin_prefetch(c + i * c_row, 1);
        __builtin_prefetch(c + i * c_row + columns - 1, 1);
    }
    for (size_t p = 0; p < pairs; p++) {
        const __m512 b0 = _mm512_loadu_ps(b), b1 = half ? b0 : _mm512_loadu_ps(b + 16);
#pragma clang loop unroll(full)
        for (size_t i = 0; i < rows; i++) {
            const __m512i value = _mm512_set1_epi32((int)a[i * a_row]);
            left[i] = products_added(left[i], value, b0);
            if (!half) right[i] = products_added(right[i], value, b1);
        }
        a += a_pair;
        b += BF16_PANEL;
    }
    const __mmask16 first = lanes_mask(columns), second = columns > 16 ? lanes_mask(columns - 16) : 0;
#pragma clang loop unroll(full)
    for (size_t i = 0; i < rows; i++) {
        float *row = c + i * c_row;
        if (adds) left[i] = _mm512_add_ps(left[i], _mm512_maskz_loadu_ps(first, row));
        _mm512_mask_storeu_ps(row, first, left[i]);
        if (half) continue;
        if (adds) right[i] = _mm512_add_ps(right[i], _mm512_maskz_loadu_ps(second, row + 16));
        _mm512_mask_storeu_ps(row + 16, second, right[i]);
    }
}

static void bf16_rows(size_t rows, size_t pairs, const uint32_t *a, size_t a_row, size_t a_pair, const float *b, float *c, size_t c_row,
                      size_t columns, int adds) {
#define UK_ROWS(n) \
    case n: bf16_tile(n, 0, pairs, a, a_row, a_pair, b, c, c_row, columns, adds); break; \
    case n + 16: bf16_tile(n, 1, pairs, a, a_row, a_pair, b, c, c_row, columns, adds); break;
    switch (columns > 16 ? rows : rows + 16) {
        UK_ROWS(1) UK_ROWS(2) UK_ROWS(3) UK_ROWS(4) UK_ROWS(5) UK_ROWS(6) UK_ROWS(7) UK_ROWS(8) UK_ROWS(9) UK_ROWS(10) UK_ROWS(11)
        UK_ROWS(12)
    default: break;
    }
#undef UK_ROWS
}

/// Pairs of neighbours in one row: of 32 floats, of which there are `count`; zeros behind them.
UK_INLINE __m512i pairs_along(const float *x, size_t count) {
    const __m512 low = _mm512_maskz_loadu_ps(lanes_mask(count), x);
    const __m512 high = count > 16 ? _mm512_maskz_loadu_ps(lanes_mask(count - 16), x + 16) : _mm512_setzero_ps();
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

/// Pairs of two rows' elements, one below the other, of 16 columns, of which there are `count`; `next` NULL: zeros.
UK_INLINE __m512i pairs_across(const float *x, const float *_Nullable next, size_t count) {
    const __mmask16 mask = lanes_mask(count);
    const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, x)));
    if (!next) return low;
    const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, next)));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

/// One panel: dst[pair][j] of b(p, j) for k rows and `columns` columns, zeros up to the panel's width.
static void bf16_pack(const float *b, size_t b_row, size_t b_column, size_t k, size_t columns, float *dst) {
    const size_t pairs = (k + 1) / 2;
    if (b_column == 1) {
        for (size_t p = 0; p < pairs; p++) {
            const float *row = b + 2 * p * b_row, *next = 2 * p + 1 < k ? row + b_row : NULL;
            for (size_t j = 0; j < BF16_PANEL; j += 16) {
                const __m512i values = j < columns ? pairs_across(row + j, next ? next + j : NULL, columns - j) : _mm512_setzero_si512();
                _mm512_storeu_si512(dst + p * BF16_PANEL + j, values);
            }
        }
        return;
    }
    // b_row is 1: each column lies in one piece. 16 pairs of 16 columns are turned at a time.
    float block[16 * 16];
    for (size_t j = 0; j < BF16_PANEL; j += 16) {
        for (size_t p = 0; p < pairs; p += 16) {
            for (size_t i = 0; i < 16; i++) {
                const __m512i values = j + i < columns ? pairs_along(b + (j + i) * b_column + 2 * p, k - 2 * p) : _mm512_setzero_si512();
                _mm512_storeu_si512(block + 16 * i, values);
            }
            float *out = dst + p * BF16_PANEL + j;
            if (pairs - p >= 16) {
                for (size_t q = 0; q < 16; q += 4) transpose_quads(block + q, 16, out + q * BF16_PANEL, BF16_PANEL);
            } else {
                float turned[16 * 16];
                for (size_t q = 0; q < 16; q += 4) transpose_quads(block + q, 16, turned + q * 16, 16);
                for (size_t q = 0; q < pairs - p; q++) memcpy(out + q * BF16_PANEL, turned + q * 16, 64);
            }
        }
    }
}

/// A tile of a whose rows lie in one piece: dst[i][pair], rows `stride` apart.
static void bf16_pack_rows(const float *a, size_t a_row, size_t k, size_t rows, uint32_t *dst, size_t stride) {
    for (size_t i = 0; i < rows; i++)
        for (size_t p = 0; p < k; p += 32) _mm512_storeu_si512(dst + i * stride + p / 2, pairs_along(a + i * a_row + p, k - p));
}

/// A tile of a whose columns lie in one piece: dst[pair][i].
static void bf16_pack_columns(const float *a, size_t a_column, size_t k, size_t rows, uint32_t *dst) {
    for (size_t p = 0; p < k; p += 2) {
        const float *column = a + p * a_column;
        const __m512i values = pairs_across(column, p + 1 < k ? column + a_column : NULL, rows);
        _mm512_mask_storeu_epi32(dst + p / 2 * BF16_ROWS, lanes_mask(BF16_ROWS), values);
    }
}

void uk_gemm_bf16_avx512(const uk_gemm *g, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end, float *scratch) {
    // Rows of a tile of a, rounded up to what one store writes.
    enum { STRIDE = BF16_K / 2 + 16 };
    uint32_t *tile = (uint32_t *)(void *)(scratch + BF16_K / 2 * BF16_N);
    const size_t step = uk_gemm_step(g->k);
    for (size_t p0 = 0; p0 < g->k; p0 += step) {
        const size_t k = g->k - p0 < step ? g->k - p0 : step, pairs = (k + 1) / 2;
        const int adds = g->accumulate || p0 > 0;
        for (size_t n0 = n_begin; n0 < n_end; n0 += BF16_N) {
            const size_t width = n_end - n0 < BF16_N ? n_end - n0 : BF16_N;
            for (size_t j = 0; j < width; j += BF16_PANEL)
                bf16_pack(g->b + p0 * g->b_row + (n0 + j) * g->b_column, g->b_row, g->b_column, k,
                          width - j < BF16_PANEL ? width - j : BF16_PANEL, scratch + j * pairs);
            for (size_t i = m_begin; i < m_end; i += BF16_ROWS) {
                const size_t rows = m_end - i < BF16_ROWS ? m_end - i : BF16_ROWS;
                const float *a = g->a + i * g->a_row + p0 * g->a_column;
                const int along = g->a_column == 1;
                if (along) bf16_pack_rows(a, g->a_row, k, rows, tile, STRIDE);
                else bf16_pack_columns(a, g->a_column, k, rows, tile);
                for (size_t j = 0; j < width; j += BF16_PANEL)
                    bf16_rows(rows, pairs, tile, along ? STRIDE : 1, along ? 1 : BF16_ROWS, scratch + j * pairs,
                              g->c + i * g->c_row + n0 + j, g->c_row, width - j < BF16_PANEL ? width - j : BF16_PANEL, adds);
            }
        }
    }
}

#pragma clang assume_nonnull end
#pragma clang attribute pop
#endif
