// Attention over whole sequences in vectors, forward and backward, a part of dense_lanes.h.
//
// A block of queries at a time, against all keys up to the block's last: scores, softmax and sums are small matrix
// products of dense_product.h. What lies above the diagonal within the block is computed and set to zero.
#ifndef UK_DENSE_ATTENTION_H
#define UK_DENSE_ATTENTION_H
#include "dense_product.h"

#pragma clang assume_nonnull begin

enum { ATTENTION_BLOCK = UK_ATTENTION_BLOCK };

/// Floats between rows of scores.
static size_t attention_stride(size_t tokens) { return (tokens + 15) / 16 * 16; }

/// c[m, n] (+)= a[m, k] · bᵀ or b; a, b with strides.
static void attention_product(size_t m, size_t n, size_t k, const float *a, size_t a_row, size_t a_column, const float *b,
                              size_t b_row, size_t b_column, float *c, size_t c_row, bool accumulate, float *scratch) {
    const uk_gemm g = {m, n, k, a, a_row, a_column, b, b_row, b_column, c, c_row, accumulate};
    gemm(&g, 0, m, 0, n, scratch);
}

static void attention_forward(const uk_sequence_attention *a, size_t head_begin, size_t head_end, float *scratch) {
    const size_t d = a->head_dimension, group = a->heads / a->kv_heads, stride = attention_stride(a->tokens);
    const size_t first = a->tokens - a->queries;
    float *p = scratch + UK_GEMM_SCRATCH;
    for (size_t h = head_begin; h < head_end; h++) {
        const float *k = a->k + h / group * d, *v = a->v + h / group * d;
        for (size_t r0 = 0; r0 < a->queries; r0 += ATTENTION_BLOCK) {
            const size_t rows = a->queries - r0 < ATTENTION_BLOCK ? a->queries - r0 : ATTENTION_BLOCK, t0 = first + r0, keys = t0 + rows;
            attention_product(rows, keys, d, a->q + r0 * a->q_stride + h * d, a->q_stride, 1, k, 1, a->kv_stride, p, stride, false,
                              scratch);
            for (size_t r = 0; r < rows; r++) {
                float *row = p + r * stride;
                scale(row, t0 + r + 1, a->scale);
                a->lse[h * a->queries + r0 + r] = softmax_row(row, t0 + r + 1);
                memset(row + t0 + r + 1, 0, (rows - r - 1) * sizeof(float));
            }
            attention_product(rows, d, keys, p, stride, 1, v, a->kv_stride, 1, a->out + r0 * a->out_stride + h * d, a->out_stride,
                              false, scratch);
        }
    }
}

/// One row of the backward pass: p = exp(scores · scale - lse) and ds = p · (dp - shared) · scale, in place over scores and dp.
UK_INLINE void attention_row(float *p, float *ds, size_t keys, float factor, float lse, float shared) {
    for (size_t s = 0; s < keys; s += UK_LANES) {
        if (keys - s >= UK_LANES) {
            const lanes_f e = lanes_exp(lanes_load(p + s) * factor - lse);
            lanes_store(p + s, e);
            lanes_store(ds + s, e * (lanes_load(ds + s) - shared) * factor);
        } else {
            const size_t n = keys - s;
            const lanes_f e = lanes_exp(lanes_load_some(p + s, n) * factor - lse);
            lanes_store_some(p + s, e, n);
            lanes_store_some(ds + s, e * (lanes_load_some(ds + s, n) - shared) * factor, n);
        }
    }
}

static void attention_backward(const uk_sequence_attention *a, const float *d_out, size_t kv_head, float *dq, float *dk, float *dv,
                               float *scratch) {
    const size_t d = a->head_dimension, group = a->heads / a->kv_heads, stride = attention_stride(a->tokens);
    const size_t first = a->tokens - a->queries;
    const float *k = a->k + kv_head * d, *v = a->v + kv_head * d;
    dk += kv_head * d;
    dv += kv_head * d;
    for (size_t t = 0; t < a->tokens; t++) {
        memset(dk + t * a->kv_stride, 0, d * sizeof(float));
        memset(dv + t * a->kv_stride, 0, d * sizeof(float));
    }
    float *p = scratch + UK_GEMM_SCRATCH, *ds = p + ATTENTION_BLOCK * stride;
    for (size_t h = kv_head * group; h < (kv_head + 1) * group; h++) {
        for (size_t r0 = 0; r0 < a->queries; r0 += ATTENTION_BLOCK) {
            const size_t rows = a->queries - r0 < ATTENTION_BLOCK ? a->queries - r0 : ATTENTION_BLOCK, t0 = first + r0, keys = t0 + rows;
            const float *q = a->q + r0 * a->q_stride + h * d, *dout = d_out + r0 * a->out_stride + h * d;
            attention_product(rows, keys, d, q, a->q_stride, 1, k, 1, a->kv_stride, p, stride, false, scratch);
            attention_product(rows, keys, d, dout, a->out_stride, 1, v, 1, a->kv_stride, ds, stride, false, scratch);
            for (size_t r = 0; r < rows; r++) {
                const size_t t = t0 + r;
                const float shared = lanes_dot(dout + r * a->out_stride, a->out + (r0 + r) * a->out_stride + h * d, d);
                attention_row(p + r * stride, ds + r * stride, t + 1, a->scale, a->lse[h * a->queries + r0 + r], shared);
                memset(p + r * stride + t + 1, 0, (rows - r - 1) * sizeof(float));
                memset(ds + r * stride + t + 1, 0, (rows - r - 1) * sizeof(float));
            }
            attention_product(rows, d, keys, ds, stride, 1, k, a->kv_stride, 1, dq + r0 * a->q_stride + h * d, a->q_stride, false,
                              scratch);
            attention_product(keys, d, rows, ds, 1, stride, q, a->q_stride, 1, dk, a->kv_stride, true, scratch);
            attention_product(keys, d, rows, p, 1, stride, dout, a->out_stride, 1, dv, a->kv_stride, true, scratch);
        }
    }
}

#pragma clang assume_nonnull end
#endif
