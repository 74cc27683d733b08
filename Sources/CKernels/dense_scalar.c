// dense.h in plain C: the reference the vector kernels are tested against, and what runs where there are none.
#include "dense_internal.h"
#include <math.h>
#include <string.h>

// Rows of b whose products are summed before they are added to c: bounds the growth of rounding errors.
#define K_BLOCK 256
#define N_BLOCK 64

static void gemm(const uk_gemm *g, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end, float *scratch) {
    (void)scratch;
    for (size_t i = m_begin; i < m_end; i++) {
        for (size_t j0 = n_begin; j0 < n_end; j0 += N_BLOCK) {
            size_t width = n_end - j0 < N_BLOCK ? n_end - j0 : N_BLOCK;
            float *c = g->c + i * g->c_row + j0;
            if (!g->accumulate) memset(c, 0, width * sizeof(float));
            for (size_t p0 = 0; p0 < g->k; p0 += K_BLOCK) {
                size_t p1 = g->k - p0 < K_BLOCK ? g->k : p0 + K_BLOCK;
                float sums[N_BLOCK] = {0};
                for (size_t p = p0; p < p1; p++) {
                    float a = g->a[i * g->a_row + p * g->a_column];
                    const float *b = g->b + p * g->b_row + j0 * g->b_column;
                    if (g->b_column == 1) {
                        for (size_t j = 0; j < width; j++) sums[j] += a * b[j];
                    } else {
                        for (size_t j = 0; j < width; j++) sums[j] += a * b[j * g->b_column];
                    }
                }
                for (size_t j = 0; j < width; j++) c[j] += sums[j];
            }
        }
    }
}

/// x as the nearest bfloat16, of two the even one; subnormal numbers become zero.
static float bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if (x != x) return x;
    bits = (bits & 0x7f800000) == 0 ? bits & 0x80000000 : (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000;
    memcpy(&x, &bits, 4);
    return x;
}

void uk_gemm_bf16_scalar(const uk_gemm *g, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end) {
    for (size_t i = m_begin; i < m_end; i++) {
        for (size_t j = n_begin; j < n_end; j++) {
            float *c = g->c + i * g->c_row + j;
            double sum = g->accumulate ? *c : 0;
            for (size_t p = 0; p < g->k; p++)
                sum += (double)bf16(g->a[i * g->a_row + p * g->a_column]) * bf16(g->b[p * g->b_row + j * g->b_column]);
            *c = (float)sum;
        }
    }
}

/// What `count` elements are multiplied by before they are rounded to integers; see dense.h.
static float int16_factor(const float *x, size_t stride, size_t count) {
    float squares = 0, greatest = 0;
    for (size_t p = 0; p < count; p++) {
        const float value = fabsf(x[p * stride]);
        if (!isfinite(value)) return NAN;
        squares += value * value;
        if (value > greatest) greatest = value;
    }
    if (!(greatest > 1e-30f)) return 0;
    // Where squares would leave the range of fp32, the greatest element bounds the norm.
    const bool in_range = greatest > 1e-15f && greatest < 1e15f;
    return fminf(in_range ? 46300 / sqrtf(squares) : 46300 / sqrtf((float)count) / greatest, 32766 / greatest);
}

void uk_gemm_int16_scalar(const uk_gemm *g, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end) {
    const size_t step = uk_gemm_step(g->k);
    for (size_t p0 = 0; p0 < g->k; p0 += step) {
        const size_t k = g->k - p0 < step ? g->k - p0 : step;
        for (size_t i = m_begin; i < m_end; i++) {
            const float *a = g->a + i * g->a_row + p0 * g->a_column;
            const float a_factor = int16_factor(a, g->a_column, k);
            for (size_t j = n_begin; j < n_end; j++) {
                const float *b = g->b + p0 * g->b_row + j * g->b_column;
                const float b_factor = int16_factor(b, g->b_row, k);
                float *c = g->c + i * g->c_row + j, sum = 0;
                if (isnan(a_factor) || isnan(b_factor)) {
                    sum = NAN;
                } else if (a_factor > 0 && b_factor > 0) {
                    int64_t whole = 0;
                    for (size_t p = 0; p < k; p++)
                        whole += lrintf(a[p * g->a_column] * a_factor) * lrintf(b[p * g->b_row] * b_factor);
                    sum = (float)whole * (1 / a_factor * (1 / b_factor));
                }
                *c = g->accumulate || p0 > 0 ? *c + sum : sum;
            }
        }
    }
}

// Eight sums side by side: less rounding error than one, and the compiler may use vectors.
static float dot(const float *x, const float *y, size_t n) {
    float lanes[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (size_t j = 0; j < 8; j++) lanes[j] += x[i + j] * y[i + j];
    }
    for (size_t j = 0; i + j < n; j++) lanes[j] += x[i + j] * y[i + j];
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

static double sum_of_squares(const float *x, size_t n) {
    double lanes[4] = {0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (size_t j = 0; j < 4; j++) lanes[j] += (double)x[i + j] * x[i + j];
    }
    for (size_t j = 0; i + j < n; j++) lanes[j] += (double)x[i + j] * x[i + j];
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
}

static void scale(float *x, size_t n, float a) {
    for (size_t i = 0; i < n; i++) x[i] *= a;
}

static void rms_norm_forward(const float *x, const float *w, size_t rows, size_t n, float epsilon, float *y, float *inverse) {
    for (size_t r = 0; r < rows; r++) {
        const float *row = x + r * n;
        float s = 1 / sqrtf(dot(row, row, n) / (float)n + epsilon);
        inverse[r] = s;
        for (size_t i = 0; i < n; i++) y[r * n + i] = row[i] * s * w[i];
    }
}

static void rms_norm_backward(const float *x, const float *w, const float *inverse, const float *dy, size_t rows, size_t n,
                              float *dx, float *_Nullable dw) {
    for (size_t r = 0; r < rows; r++) {
        const float *row = x + r * n, *d = dy + r * n;
        float s = inverse[r], sum = 0;
        for (size_t i = 0; i < n; i++) sum += d[i] * w[i] * row[i];
        float correction = sum * s * s * s / (float)n;
        if (dw) {
            for (size_t i = 0; i < n; i++) dw[i] += d[i] * (row[i] * s);
        }
        for (size_t i = 0; i < n; i++) dx[r * n + i] += d[i] * w[i] * s - row[i] * correction;
    }
}

static void swiglu_forward(const float *g, const float *u, size_t n, float *h) {
    for (size_t i = 0; i < n; i++) h[i] = g[i] / (1 + expf(-g[i])) * u[i];
}

static void swiglu_backward(const float *g, const float *u, const float *dh, size_t n, float *dg, float *du) {
    for (size_t i = 0; i < n; i++) {
        float gate = g[i], up = u[i], d = dh[i];
        float sigmoid = 1 / (1 + expf(-gate));
        float silu = gate * sigmoid;
        dg[i] = d * up * (sigmoid + silu * (1 - sigmoid));
        du[i] = d * silu;
    }
}

static void rope_rows(float *x, size_t rows, size_t stride, size_t heads, size_t head_dimension, const int32_t *positions,
                      const float *cos, const float *sin, bool inverse) {
    size_t half = head_dimension / 2;
    float sign = inverse ? -1 : 1;
    for (size_t r = 0; r < rows; r++) {
        const float *c = cos + (size_t)positions[r] * half, *s = sin + (size_t)positions[r] * half;
        for (size_t h = 0; h < heads; h++) {
            float *low = x + r * stride + h * head_dimension, *high = low + half;
            for (size_t i = 0; i < half; i++) {
                float a = low[i], b = high[i], t = sign * s[i];
                low[i] = a * c[i] - b * t;
                high[i] = b * c[i] + a * t;
            }
        }
    }
}

static float softmax_row(float *logits, size_t n) {
    float greatest = -INFINITY;
    for (size_t i = 0; i < n; i++) greatest = logits[i] > greatest ? logits[i] : greatest;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        logits[i] = expf(logits[i] - greatest);
        sum += logits[i];
    }
    scale(logits, n, (float)(1 / sum));
    return n == 0 ? -INFINITY : greatest + (float)log(sum);
}

static void adamw(float *p, const float *g, float *m, float *v, size_t n, float lr, float beta1, float beta2, float epsilon, float decay,
                  float correction1, float correction2, float g_scale) {
    float inverse1 = 1 / correction1, inverse2 = 1 / correction2;
    for (size_t i = 0; i < n; i++) {
        float d = g[i] * g_scale;
        m[i] = beta1 * m[i] + (1 - beta1) * d;
        v[i] = beta2 * v[i] + (1 - beta2) * (d * d);
        p[i] -= lr * (m[i] * inverse1 / (sqrtf(v[i] * inverse2) + epsilon) + decay * p[i]);
    }
}

static void attention_forward(const uk_sequence_attention *a, size_t head_begin, size_t head_end, float *scratch) {
    size_t d = a->head_dimension, group = a->heads / a->kv_heads, first = a->tokens - a->queries;
    for (size_t h = head_begin; h < head_end; h++) {
        for (size_t r = 0; r < a->queries; r++) {
            const size_t t = first + r;
            const float *q = a->q + r * a->q_stride + h * d;
            const float *k = a->k + h / group * d, *v = a->v + h / group * d;
            float *out = a->out + r * a->out_stride + h * d;
            for (size_t s = 0; s <= t; s++) scratch[s] = dot(q, k + s * a->kv_stride, d) * a->scale;
            a->lse[h * a->queries + r] = softmax_row(scratch, t + 1);
            memset(out, 0, d * sizeof(float));
            for (size_t s = 0; s <= t; s++) {
                for (size_t i = 0; i < d; i++) out[i] += scratch[s] * v[s * a->kv_stride + i];
            }
        }
    }
}

static void attention_backward(const uk_sequence_attention *a, const float *d_out, size_t kv_head, float *dq, float *dk, float *dv,
                               float *scratch) {
    (void)scratch;
    size_t d = a->head_dimension, group = a->heads / a->kv_heads, first = a->tokens - a->queries;
    const float *k = a->k + kv_head * d, *v = a->v + kv_head * d;
    dk += kv_head * d;
    dv += kv_head * d;
    for (size_t t = 0; t < a->tokens; t++) {
        memset(dk + t * a->kv_stride, 0, d * sizeof(float));
        memset(dv + t * a->kv_stride, 0, d * sizeof(float));
    }
    for (size_t h = kv_head * group; h < (kv_head + 1) * group; h++) {
        for (size_t r = 0; r < a->queries; r++) {
            const size_t t = first + r;
            const float *q = a->q + r * a->q_stride + h * d;
            const float *dout = d_out + r * a->out_stride + h * d;
            float *dq_row = dq + r * a->q_stride + h * d;
            float shared = dot(dout, a->out + r * a->out_stride + h * d, d);
            memset(dq_row, 0, d * sizeof(float));
            for (size_t s = 0; s <= t; s++) {
                size_t row = s * a->kv_stride;
                float p = expf(dot(q, k + row, d) * a->scale - a->lse[h * a->queries + r]);
                float ds = p * (dot(dout, v + row, d) - shared) * a->scale;
                for (size_t i = 0; i < d; i++) {
                    dq_row[i] += ds * k[row + i];
                    dk[row + i] += ds * q[i];
                    dv[row + i] += p * dout[i];
                }
            }
        }
    }
}

static void column_sums(const float *x, size_t rows, size_t stride, size_t n, float *y) {
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) y[i] += x[r * stride + i];
}

enum { CHAINS = 8 };

static float multiply_adds(size_t repeats) {
    float sum[CHAINS];
    for (size_t i = 0; i < CHAINS; i++) sum[i] = (float)i;
    for (size_t r = 0; r < repeats; r++)
        for (size_t i = 0; i < CHAINS; i++) sum[i] = sum[i] * 0.999f + 0.001f;
    for (size_t i = 1; i < CHAINS; i++) sum[0] += sum[i];
    return sum[0];
}

static size_t multiply_adds_count(void) { return CHAINS; }

const uk_dense_functions uk_dense_scalar = {
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
    .column_sums = column_sums,
    .multiply_adds = multiply_adds,
    .multiply_adds_count = multiply_adds_count,
};
