// dense.h in vectors. Included with UK_LANES, UK_GEMM_ROWS (rows of the register tile, at most 12) and UK_DENSE_TABLE
// (the table's name) defined, inside the target's pragma.
#include "dense_internal.h"
#include "lanes.h"

#pragma clang assume_nonnull begin

// The product is blocked by 256 of k and 256 columns: a packed block of b is 256 KiB and stays in the second-level cache,
// a panel of it (two vectors wide) in the first. a is read where it lies. Blocks of k always begin at multiples of 256, so
// that a result does not depend on how rows and columns are split between threads.
enum { GEMM_K = 256, GEMM_N = 256, GEMM_PANEL = 2 * UK_LANES };

/// c[rows, 2 vectors] (+)= Σ_p a(i, p) · b[p, 2 vectors]; `rows` is a constant where this is inlined.
UK_INLINE void gemm_tile(const size_t rows, size_t k, const float *a, size_t a_row, size_t a_column, const float *b, float *c,
                         size_t c_row, size_t columns, int adds) {
    lanes_f left[12], right[12];
#pragma clang loop unroll(full)
    for (size_t i = 0; i < rows; i++) left[i] = right[i] = (lanes_f){0};
    for (size_t p = 0; p < k; p++) {
        const lanes_f b0 = lanes_load(b), b1 = lanes_load(b + UK_LANES);
#pragma clang loop unroll(full)
        for (size_t i = 0; i < rows; i++) {
            const float value = a[i * a_row];
            left[i] += value * b0;
            right[i] += value * b1;
        }
        a += a_column;
        b += GEMM_PANEL;
    }
    if (columns == GEMM_PANEL) {
#pragma clang loop unroll(full)
        for (size_t i = 0; i < rows; i++) {
            float *row = c + i * c_row;
            lanes_store(row, adds ? lanes_load(row) + left[i] : left[i]);
            lanes_store(row + UK_LANES, adds ? lanes_load(row + UK_LANES) + right[i] : right[i]);
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
    case n: gemm_tile(n, k, a, a_row, a_column, b, c, c_row, columns, adds); break;
    switch (rows) {
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

typedef float quad __attribute__((vector_size(16)));

/// dst[p][j] = src[j][p] for 4 × 4.
UK_INLINE void transpose_quad(const float *src, size_t stride, float *dst, size_t dst_stride) {
    quad r0, r1, r2, r3;
    memcpy(&r0, src, 16);
    memcpy(&r1, src + stride, 16);
    memcpy(&r2, src + 2 * stride, 16);
    memcpy(&r3, src + 3 * stride, 16);
    const quad a = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), b = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
    const quad c = __builtin_shufflevector(r0, r1, 2, 6, 3, 7), d = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
    r0 = __builtin_shufflevector(a, b, 0, 1, 4, 5);
    r1 = __builtin_shufflevector(a, b, 2, 3, 6, 7);
    r2 = __builtin_shufflevector(c, d, 0, 1, 4, 5);
    r3 = __builtin_shufflevector(c, d, 2, 3, 6, 7);
    memcpy(dst, &r0, 16);
    memcpy(dst + dst_stride, &r1, 16);
    memcpy(dst + 2 * dst_stride, &r2, 16);
    memcpy(dst + 3 * dst_stride, &r3, 16);
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

static void gemm(const uk_gemm *g, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end, float *scratch) {
    if (g->k == 0) {
        if (g->accumulate) return;
        for (size_t i = m_begin; i < m_end; i++) memset(g->c + i * g->c_row + n_begin, 0, (n_end - n_begin) * sizeof(float));
        return;
    }
    for (size_t p0 = 0; p0 < g->k; p0 += GEMM_K) {
        const size_t k = g->k - p0 < GEMM_K ? g->k - p0 : GEMM_K;
        const int adds = g->accumulate || p0 > 0;
        for (size_t n0 = n_begin; n0 < n_end; n0 += GEMM_N) {
            const size_t width = n_end - n0 < GEMM_N ? n_end - n0 : GEMM_N;
            for (size_t j = 0; j < width; j += GEMM_PANEL) {
                const size_t columns = width - j < GEMM_PANEL ? width - j : GEMM_PANEL;
                float *panel = scratch + j * GEMM_K;
                gemm_pack(g->b + p0 * g->b_row + (n0 + j) * g->b_column, g->b_row, g->b_column, k, columns, panel);
                for (size_t i = m_begin; i < m_end; i += UK_GEMM_ROWS) {
                    const size_t rows = m_end - i < UK_GEMM_ROWS ? m_end - i : UK_GEMM_ROWS;
                    gemm_rows(rows, k, g->a + i * g->a_row + p0 * g->a_column, g->a_row, g->a_column, panel,
                              g->c + i * g->c_row + n0 + j, g->c_row, columns, adds);
                }
            }
        }
    }
}

static float dot(const float *x, const float *y, size_t n) { return lanes_dot(x, y, n); }

static double sum_of_squares(const float *x, size_t n) {
    double lanes[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t j = 0; j < 8; j++) lanes[j] += (double)x[i + j] * x[i + j];
    for (size_t j = 0; i + j < n; j++) lanes[j] += (double)x[i + j] * x[i + j];
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

static void scale(float *x, size_t n, float a) {
    size_t i = 0;
    for (; i + UK_LANES <= n; i += UK_LANES) lanes_store(x + i, lanes_load(x + i) * a);
    for (; i < n; i++) x[i] *= a;
}

static void rms_norm_forward(const float *x, const float *w, size_t rows, size_t n, float epsilon, float *y, float *inverse) {
    for (size_t r = 0; r < rows; r++) {
        const float *row = x + r * n;
        float *out = y + r * n;
        const float s = 1 / sqrtf(lanes_dot(row, row, n) / (float)n + epsilon);
        inverse[r] = s;
        size_t i = 0;
        for (; i + UK_LANES <= n; i += UK_LANES) lanes_store(out + i, lanes_load(row + i) * s * lanes_load(w + i));
        for (; i < n; i++) out[i] = row[i] * s * w[i];
    }
}

static void rms_norm_backward(const float *x, const float *w, const float *inverse, const float *dy, size_t rows, size_t n,
                              float *dx, float *_Nullable dw) {
    for (size_t r = 0; r < rows; r++) {
        const float *row = x + r * n, *d = dy + r * n;
        float *out = dx + r * n;
        const float s = inverse[r];
        lanes_f total = {0};
        size_t i = 0;
        for (; i + UK_LANES <= n; i += UK_LANES) total += lanes_load(d + i) * lanes_load(w + i) * lanes_load(row + i);
        float sum = lanes_sum(total);
        for (; i < n; i++) sum += d[i] * w[i] * row[i];
        const float correction = sum * s * s * s / (float)n;
        for (i = 0; i + UK_LANES <= n; i += UK_LANES) {
            const lanes_f value = lanes_load(row + i), gradient = lanes_load(d + i);
            if (dw) lanes_store(dw + i, lanes_load(dw + i) + gradient * (value * s));
            lanes_store(out + i, lanes_load(out + i) + (gradient * lanes_load(w + i) * s - value * correction));
        }
        for (; i < n; i++) {
            if (dw) dw[i] += d[i] * (row[i] * s);
            out[i] += d[i] * w[i] * s - row[i] * correction;
        }
    }
}

static void swiglu_forward(const float *g, const float *u, size_t n, float *h) {
    for (size_t i = 0; i < n; i += UK_LANES) {
        if (n - i >= UK_LANES) {
            const lanes_f gate = lanes_load(g + i);
            lanes_store(h + i, gate * lanes_sigmoid(gate) * lanes_load(u + i));
        } else {
            const lanes_f gate = lanes_load_some(g + i, n - i);
            lanes_store_some(h + i, gate * lanes_sigmoid(gate) * lanes_load_some(u + i, n - i), n - i);
        }
    }
}

static void swiglu_backward(const float *g, const float *u, const float *dh, size_t n, float *dg, float *du) {
    for (size_t i = 0; i < n; i += UK_LANES) {
        const size_t left = n - i;
        const int whole = left >= UK_LANES;
        const lanes_f gate = whole ? lanes_load(g + i) : lanes_load_some(g + i, left);
        const lanes_f up = whole ? lanes_load(u + i) : lanes_load_some(u + i, left);
        const lanes_f d = whole ? lanes_load(dh + i) : lanes_load_some(dh + i, left);
        const lanes_f sigmoid = lanes_sigmoid(gate), silu = gate * sigmoid;
        const lanes_f gate_gradient = d * up * (sigmoid + silu * (1 - sigmoid));
        if (whole) {
            lanes_store(dg + i, gate_gradient);
            lanes_store(du + i, d * silu);
        } else {
            lanes_store_some(dg + i, gate_gradient, left);
            lanes_store_some(du + i, d * silu, left);
        }
    }
}

static void rope_rows(float *x, size_t rows, size_t stride, size_t heads, size_t head_dimension, const int32_t *positions,
                      const float *cos, const float *sin, bool inverse) {
    const size_t half = head_dimension / 2;
    const float sign = inverse ? -1 : 1;
    for (size_t r = 0; r < rows; r++) {
        const float *c = cos + (size_t)positions[r] * half, *s = sin + (size_t)positions[r] * half;
        for (size_t h = 0; h < heads; h++) {
            float *low = x + r * stride + h * head_dimension, *high = low + half;
            size_t i = 0;
            for (; i + UK_LANES <= half; i += UK_LANES) {
                const lanes_f a = lanes_load(low + i), b = lanes_load(high + i), t = sign * lanes_load(s + i);
                lanes_store(low + i, a * lanes_load(c + i) - b * t);
                lanes_store(high + i, b * lanes_load(c + i) + a * t);
            }
            for (; i < half; i++) {
                const float a = low[i], b = high[i], t = sign * s[i];
                low[i] = a * c[i] - b * t;
                high[i] = b * c[i] + a * t;
            }
        }
    }
}

static float softmax_row(float *logits, size_t n) {
    if (n == 0) return -INFINITY;
    float greatest = -INFINITY;
    size_t i = 0;
    if (n >= UK_LANES) {
        lanes_f top = lanes_load(logits);
        for (i = UK_LANES; i + UK_LANES <= n; i += UK_LANES) {
            const lanes_f v = lanes_load(logits + i);
            top = lanes_select(v > top, v, top);
        }
        greatest = lanes_greatest(top);
    }
    for (; i < n; i++) greatest = logits[i] > greatest ? logits[i] : greatest;
    double sum = 0;
    for (i = 0; i < n; i += UK_LANES) {
        if (n - i >= UK_LANES) {
            const lanes_f e = lanes_exp(lanes_load(logits + i) - greatest);
            lanes_store(logits + i, e);
            sum += (double)lanes_sum(e);
        } else {
            lanes_store_some(logits + i, lanes_exp(lanes_load_some(logits + i, n - i) - greatest), n - i);
            for (size_t j = i; j < n; j++) sum += logits[j];
        }
    }
    scale(logits, n, (float)(1 / sum));
    return greatest + (float)log(sum);
}

static void adamw(float *p, const float *g, float *m, float *v, size_t n, float lr, float beta1, float beta2, float epsilon, float decay,
                  float correction1, float correction2, float g_scale) {
    const float inverse1 = 1 / correction1, inverse2 = 1 / correction2;
    for (size_t i = 0; i < n; i++) {
        const float d = g[i] * g_scale;
        m[i] = beta1 * m[i] + (1 - beta1) * d;
        v[i] = beta2 * v[i] + (1 - beta2) * (d * d);
        p[i] -= lr * (m[i] * inverse1 / (sqrtf(v[i] * inverse2) + epsilon) + decay * p[i]);
    }
}

static void attention_forward(const uk_sequence_attention *a, size_t head_begin, size_t head_end, float *scratch) {
    const size_t d = a->head_dimension, group = a->heads / a->kv_heads;
    for (size_t h = head_begin; h < head_end; h++) {
        for (size_t t = 0; t < a->tokens; t++) {
            const float *q = a->q + t * a->q_stride + h * d;
            const float *k = a->k + h / group * d, *v = a->v + h / group * d;
            float *out = a->out + t * a->out_stride + h * d;
            for (size_t s = 0; s <= t; s++) scratch[s] = lanes_dot(q, k + s * a->kv_stride, d) * a->scale;
            a->lse[h * a->tokens + t] = softmax_row(scratch, t + 1);
            memset(out, 0, d * sizeof(float));
            for (size_t s = 0; s <= t; s++) lanes_axpy(scratch[s], v + s * a->kv_stride, d, out);
        }
    }
}

static void attention_backward(const uk_sequence_attention *a, const float *d_out, size_t kv_head, float *dq, float *dk, float *dv,
                               float *scratch) {
    const size_t d = a->head_dimension, group = a->heads / a->kv_heads;
    const float *k = a->k + kv_head * d, *v = a->v + kv_head * d;
    dk += kv_head * d;
    dv += kv_head * d;
    for (size_t t = 0; t < a->tokens; t++) {
        memset(dk + t * a->kv_stride, 0, d * sizeof(float));
        memset(dv + t * a->kv_stride, 0, d * sizeof(float));
    }
    float *p = scratch;
    for (size_t h = kv_head * group; h < (kv_head + 1) * group; h++) {
        for (size_t t = 0; t < a->tokens; t++) {
            const float *q = a->q + t * a->q_stride + h * d;
            const float *dout = d_out + t * a->out_stride + h * d;
            float *dq_row = dq + t * a->q_stride + h * d;
            const float shared = lanes_dot(dout, a->out + t * a->out_stride + h * d, d);
            const float lse = a->lse[h * a->tokens + t];
            memset(dq_row, 0, d * sizeof(float));
            for (size_t s = 0; s <= t; s++) p[s] = lanes_dot(q, k + s * a->kv_stride, d) * a->scale - lse;
            for (size_t s = 0; s <= t; s += UK_LANES) {
                if (t + 1 - s >= UK_LANES) lanes_store(p + s, lanes_exp(lanes_load(p + s)));
                else lanes_store_some(p + s, lanes_exp(lanes_load_some(p + s, t + 1 - s)), t + 1 - s);
            }
            for (size_t s = 0; s <= t; s++) {
                const size_t row = s * a->kv_stride;
                const float ds = p[s] * (lanes_dot(dout, v + row, d) - shared) * a->scale;
                lanes_axpy(ds, k + row, d, dq_row);
                lanes_axpy(ds, q, d, dk + row);
                lanes_axpy(p[s], dout, d, dv + row);
            }
        }
    }
}

const uk_dense_functions UK_DENSE_TABLE = {
    .gemm = gemm,
    .rms_norm_forward = rms_norm_forward,
    .rms_norm_backward = rms_norm_backward,
    .swiglu_forward = swiglu_forward,
    .swiglu_backward = swiglu_backward,
    .rope_rows = rope_rows,
    .attention_forward = attention_forward,
    .attention_backward = attention_backward,
    .softmax_row = softmax_row,
    .adamw = adamw,
    .sum_of_squares = sum_of_squares,
    .dot = dot,
    .scale = scale,
};

#pragma clang assume_nonnull end
