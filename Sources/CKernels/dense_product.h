// Matrix products in vectors, a part of dense_lanes.h.
//
// Blocked as in Goto & van de Geijn 2008: a block of b (at most GEMM_K × GEMM_N) is packed into panels of two vectors, and
// where there are many of them a block of a (GEMM_M × GEMM_K) into tiles of UK_GEMM_ROWS. With one tile a block, the tile
// stays in the first-level cache while the panels pass by from the second; with many, the panel stays while the tiles do.
// Blocks of k depend on k alone, so that a result does not depend on how rows and columns are split between threads.
#ifndef UK_DENSE_PRODUCT_H
#define UK_DENSE_PRODUCT_H
#include "dense_internal.h"
#include "dense_transpose.h"
#include "lanes.h"

#pragma clang assume_nonnull begin

// Servers with AVX-512 have a second-level cache of 1 MB or more; that of others may be smaller. With AVX2 a panel is small
// enough for the first, and b's block may lie in the third, since it is read once for all tiles of a's.
enum {
    GEMM_K = UK_GEMM_SCRATCH_K,
    GEMM_N = UK_LANES == 16 ? 384 : UK_LANES == 8 ? 768 : 256,
    GEMM_M = UK_LANES == 8 ? 16 * UK_GEMM_ROWS : UK_GEMM_ROWS,
    GEMM_PANEL = 2 * UK_LANES
};
_Static_assert(GEMM_K * (GEMM_N + GEMM_M) <= UK_GEMM_SCRATCH, "the packed blocks fit the scratch");

/// c[rows, panel] (+)= Σ_p a(i, p) · b[p, panel], of which `columns` are wanted. `rows` and `half`, whether the panel's first vector
/// is enough, are constants where this is inlined.
UK_INLINE void gemm_tile(const size_t rows, const int half, size_t k, const float *a, size_t a_row, size_t a_column, const float *b,
                         float *c, size_t c_row, size_t columns, int adds) {
    lanes_f left[12], right[12];
#pragma clang loop unroll(full)
    for (size_t i = 0; i < rows; i++) {
        left[i] = right[i] = (lanes_f){0};
        __builtin_prefetch(c + i * c_row, 1);
        __builtin_prefetch(c + i * c_row + columns - 1, 1);
    }
#pragma clang loop unroll_count(4)
    for (size_t p = 0; p < k; p++) {
        const lanes_f b0 = lanes_load(b), b1 = half ? b0 : lanes_load(b + UK_LANES);
#pragma clang loop unroll(full)
        for (size_t i = 0; i < rows; i++) {
            const float value = a[i * a_row];
            left[i] += value * b0;
            if (!half) right[i] += value * b1;
        }
        a += a_column;
        b += GEMM_PANEL;
    }
    if (columns == (half ? UK_LANES : GEMM_PANEL)) {
#pragma clang loop unroll(full)
        for (size_t i = 0; i < rows; i++) {
            float *row = c + i * c_row;
            lanes_store(row, adds ? lanes_load(row) + left[i] : left[i]);
            if (!half) lanes_store(row + UK_LANES, adds ? lanes_load(row + UK_LANES) + right[i] : right[i]);
        }
        return;
    }
    float edge[GEMM_PANEL];
#pragma clang loop unroll(full)
    for (size_t i = 0; i < rows; i++) {
        float *row = c + i * c_row;
        lanes_store(edge, left[i]);
        lanes_store(edge + UK_LANES, right[i]);
        for (size_t j = 0; j < columns; j++) row[j] = adds ? row[j] + edge[j] : edge[j];
    }
}

static void gemm_rows(size_t rows, size_t k, const float *a, size_t a_row, size_t a_column, const float *b, float *c, size_t c_row,
                      size_t columns, int adds) {
#define UK_ROWS(n) \
    case n: gemm_tile(n, 0, k, a, a_row, a_column, b, c, c_row, columns, adds); break; \
    case n + 16: gemm_tile(n, 1, k, a, a_row, a_column, b, c, c_row, columns, adds); break;
    // With constant offsets four steps fit the registers, which is faster where others share the core.
    if (rows == UK_GEMM_ROWS && a_row == 1 && a_column == UK_GEMM_ROWS && columns > UK_LANES) {
        gemm_tile(UK_GEMM_ROWS, 0, k, a, 1, UK_GEMM_ROWS, b, c, c_row, columns, adds);
        return;
    }
    switch (columns > UK_LANES ? rows : rows + 16) {
        UK_ROWS(1) UK_ROWS(2) UK_ROWS(3) UK_ROWS(4) UK_ROWS(5) UK_ROWS(6)
#if UK_GEMM_ROWS > 6
        UK_ROWS(7) UK_ROWS(8)
#endif
#if UK_GEMM_ROWS > 8
        UK_ROWS(9) UK_ROWS(10) UK_ROWS(11) UK_ROWS(12)
#endif
    default: break;
    }
#undef UK_ROWS
}

/// One panel: dst[p][j] = b(p, j) for k rows and `columns` columns, zeros up to the panel's width.
static void gemm_pack(const float *b, size_t b_row, size_t b_column, size_t k, size_t columns, float *dst) {
    if (columns < GEMM_PANEL) memset(dst, 0, k * GEMM_PANEL * sizeof(float));
    if (b_column == 1) {
        if (columns == GEMM_PANEL) {
            for (size_t p = 0; p < k; p++) {
                lanes_store(dst + p * GEMM_PANEL, lanes_load(b + p * b_row));
                lanes_store(dst + p * GEMM_PANEL + UK_LANES, lanes_load(b + p * b_row + UK_LANES));
            }
        } else {
            for (size_t p = 0; p < k; p++) memcpy(dst + p * GEMM_PANEL, b + p * b_row, columns * sizeof(float));
        }
        return;
    }
    size_t j = 0;
    if (b_row == 1) {
        for (; j + UK_LANES <= columns; j += UK_LANES) {
            size_t p = 0;
            for (; p + 4 <= k; p += 4) transpose_quads(b + j * b_column + p, b_column, dst + p * GEMM_PANEL + j, GEMM_PANEL);
            for (; p < k; p++)
                for (size_t i = 0; i < UK_LANES; i++) dst[p * GEMM_PANEL + j + i] = b[(j + i) * b_column + p];
        }
        for (; j + 4 <= columns; j += 4) {
            size_t p = 0;
            for (; p + 4 <= k; p += 4) transpose_quad(b + j * b_column + p, b_column, dst + p * GEMM_PANEL + j, GEMM_PANEL);
            for (; p < k; p++)
                for (size_t i = 0; i < 4; i++) dst[p * GEMM_PANEL + j + i] = b[(j + i) * b_column + p];
        }
    }
    for (; j < columns; j++)
        for (size_t p = 0; p < k; p++) dst[p * GEMM_PANEL + j] = b[p * b_row + j * b_column];
}

/// A tile of a: dst[p][i] = a(i, p).
static void gemm_pack_tile(const float *a, size_t a_row, size_t a_column, size_t k, size_t rows, float *dst) {
    size_t p = 0;
    if (rows == UK_GEMM_ROWS && a_row == 1) {
        for (; p < k; p++) memcpy(dst + p * UK_GEMM_ROWS, a + p * a_column, UK_GEMM_ROWS * sizeof(float));
    } else if (rows == UK_GEMM_ROWS && a_column == 1) {
        for (; p + 4 <= k; p += 4) {
            for (size_t i = 0; i + 4 <= UK_GEMM_ROWS; i += 4)
                transpose_quad(a + i * a_row + p, a_row, dst + p * UK_GEMM_ROWS + i, UK_GEMM_ROWS);
            // Where quads do not come out even, the last one writes some again.
            if (UK_GEMM_ROWS % 4 > 0)
                transpose_quad(a + (UK_GEMM_ROWS - 4) * a_row + p, a_row, dst + p * UK_GEMM_ROWS + UK_GEMM_ROWS - 4, UK_GEMM_ROWS);
        }
    }
    for (; p < k; p++)
        for (size_t i = 0; i < rows; i++) dst[p * UK_GEMM_ROWS + i] = a[i * a_row + p * a_column];
}

static void gemm(const uk_gemm *g, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end, float *scratch) {
    if (n_begin == n_end) return;
    const size_t step = uk_gemm_step(g->k), across = uk_gemm_block(n_end - n_begin, GEMM_N, GEMM_PANEL);
    for (size_t p0 = 0; p0 < g->k; p0 += step) {
        const size_t k = g->k - p0 < step ? g->k - p0 : step;
        const int adds = g->accumulate || p0 > 0;
        for (size_t n0 = n_begin; n0 < n_end; n0 += across) {
            const size_t width = n_end - n0 < across ? n_end - n0 : across;
            for (size_t j = 0; j < width; j += GEMM_PANEL)
                gemm_pack(g->b + p0 * g->b_row + (n0 + j) * g->b_column, g->b_row, g->b_column, k,
                          width - j < GEMM_PANEL ? width - j : GEMM_PANEL, scratch + j * k);
            for (size_t m0 = m_begin; m0 < m_end; m0 += GEMM_M) {
                const size_t height = m_end - m0 < GEMM_M ? m_end - m0 : GEMM_M;
                const float *a = g->a + m0 * g->a_row + p0 * g->a_column;
                size_t a_tile = UK_GEMM_ROWS * g->a_row, a_row = g->a_row, a_column = g->a_column;
                // A block of one tile that is not whole is not worth it.
                if (width > 4 * GEMM_PANEL && height >= UK_GEMM_ROWS) {
                    float *block = scratch + GEMM_K * GEMM_N;
                    for (size_t i = 0; i < height; i += UK_GEMM_ROWS)
                        gemm_pack_tile(a + i * a_row, a_row, a_column, k, height - i < UK_GEMM_ROWS ? height - i : UK_GEMM_ROWS,
                                       block + i * k);
                    a = block;
                    a_tile = UK_GEMM_ROWS * k;
                    a_row = 1;
                    a_column = UK_GEMM_ROWS;
                }
                for (size_t j = 0; j < width; j += GEMM_PANEL)
                    for (size_t i = 0; i < height; i += UK_GEMM_ROWS)
                        gemm_rows(height - i < UK_GEMM_ROWS ? height - i : UK_GEMM_ROWS, k, a + i / UK_GEMM_ROWS * a_tile, a_row, a_column,
                                  scratch + j * k, g->c + (m0 + i) * g->c_row + n0 + j, g->c_row,
                                  width - j < GEMM_PANEL ? width - j : GEMM_PANEL, adds);
            }
        }
    }
}

#pragma clang assume_nonnull end
#endif
