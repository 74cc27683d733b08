// dense.h in vectors. Included with UK_LANES, UK_GEMM_ROWS (rows of the register tile, at most 12), UK_PEAK_CHAINS
// (independent sums of the peak measurement) and UK_DENSE_TABLE (the table's name) defined, inside the target's pragma.
#include "dense_internal.h"
#include "lanes.h"
#include "dense_product.h"

#pragma clang assume_nonnull begin

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

UK_INLINE lanes_f adamw_lanes(lanes_f p, lanes_f d, lanes_f *m, lanes_f *v, float lr, float beta1, float beta2, float epsilon, float decay,
                           float inverse1, float inverse2) {
    *m = beta1 * *m + (1 - beta1) * d;
    *v = beta2 * *v + (1 - beta2) * (d * d);
    return p - lr * (*m * inverse1 / (__builtin_elementwise_sqrt(*v * inverse2) + epsilon) + decay * p);
}

static void adamw(float *p, const float *g, float *m, float *v, size_t n, float lr, float beta1, float beta2, float epsilon, float decay,
                  float correction1, float correction2, float g_scale) {
    const float inverse1 = 1 / correction1, inverse2 = 1 / correction2;
    for (size_t i = 0; i < n; i += UK_LANES) {
        if (n - i >= UK_LANES) {
            lanes_f first = lanes_load(m + i), second = lanes_load(v + i);
            lanes_store(p + i, adamw_lanes(lanes_load(p + i), lanes_load(g + i) * g_scale, &first, &second, lr, beta1, beta2, epsilon,
                                           decay, inverse1, inverse2));
            lanes_store(m + i, first);
            lanes_store(v + i, second);
        } else {
            const size_t rest = n - i;
            lanes_f first = lanes_load_some(m + i, rest), second = lanes_load_some(v + i, rest);
            const lanes_f value = adamw_lanes(lanes_load_some(p + i, rest), lanes_load_some(g + i, rest) * g_scale, &first, &second, lr,
                                              beta1, beta2, epsilon, decay, inverse1, inverse2);
            lanes_store_some(p + i, value, rest);
            lanes_store_some(m + i, first, rest);
            lanes_store_some(v + i, second, rest);
        }
    }
}

static void column_sums(const float *x, size_t rows, size_t stride, size_t n, float *y) {
    size_t i = 0;
    for (; i + UK_LANES <= n; i += UK_LANES) {
        lanes_f sum = lanes_load(y + i);
        for (size_t r = 0; r < rows; r++) sum += lanes_load(x + r * stride + i);
        lanes_store(y + i, sum);
    }
    for (; i < n; i++)
        for (size_t r = 0; r < rows; r++) y[i] += x[r * stride + i];
}

// As many sums side by side as keep both units busy; nothing is loaded or stored.
static float multiply_adds(size_t repeats) {
    enum { CHAINS = UK_PEAK_CHAINS };
    lanes_f sum[CHAINS];
    lanes_f factor = lanes_all(0.999f), addend = lanes_all(0.001f);
    for (size_t i = 0; i < CHAINS; i++) sum[i] = lanes_all((float)i);
    for (size_t r = 0; r < repeats; r++) {
#pragma clang loop unroll(full)
        for (size_t i = 0; i < CHAINS; i++) sum[i] = sum[i] * factor + addend;
    }
    for (size_t i = 1; i < CHAINS; i++) sum[0] += sum[i];
    return lanes_sum(sum[0]);
}

static size_t multiply_adds_count(void) { return UK_PEAK_CHAINS * UK_LANES; }

#pragma clang assume_nonnull end
#include "dense_attention.h"
#pragma clang assume_nonnull begin

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
    .column_sums = column_sums,
    .multiply_adds = multiply_adds,
    .multiply_adds_count = multiply_adds_count,
};

#pragma clang assume_nonnull end
