#include "attention_kernels.h"

#include <math.h>
#include <string.h>

/// Element i of the key or value of the token at `position`.
static float element(const uk_attention *a, const uint8_t *rows, size_t position, size_t i, bool is_key) {
    const size_t d = a->head_dimension, row = position % UK_PAGE_TOKENS;
    const size_t at = is_key ? i * UK_PAGE_TOKENS + row : row * d + i;
    if (a->format == UK_CACHE_F16) {
        uint16_t half;
        memcpy(&half, rows + at * 2, 2);
        return uk_f16_to_f32(half);
    }
    if (a->format == UK_CACHE_F32) return ((const float *)(const void *)rows)[at];
    float scale;
    memcpy(&scale, rows + UK_PAGE_TOKENS * d + row * sizeof scale, sizeof scale);
    return scale * (float)((const int8_t *)rows)[at];
}

static void attention(const uk_attention *a, size_t kv_head, size_t token_begin, size_t token_end, float *scratch) {
    const size_t d = a->head_dimension, group = a->heads / a->kv_heads;
    float *scores = uk_attention_layout(a, scratch).scores;
    for (size_t t = token_begin; t < token_end; t++) {
        for (size_t head = kv_head * group; head < (kv_head + 1) * group; head++) {
            const float *q = a->q + t * a->q_stride + head * d;
            float *out = a->out + t * a->out_stride + head * d;
            float largest = -INFINITY, total = 0;
            for (size_t i = 0; i < d; i++) out[i] = 0;
            const size_t count = a->start + t + 1, seen = uk_first_seen(a, a->start + t);
            for (size_t first = seen / UK_ATTENTION_KEYS * UK_ATTENTION_KEYS; first < count; first += UK_ATTENTION_KEYS) {
                const size_t n = count - first < UK_ATTENTION_KEYS ? count - first : UK_ATTENTION_KEYS;
                const size_t begin = seen > first ? seen - first : 0;
                float top = largest;
                for (size_t j = begin; j < n; j++) {
                    const uint8_t *rows = uk_page_rows(a, a->key_offset, kv_head, first + j);
                    float sum = 0;
                    for (size_t i = 0; i < d; i++) sum += q[i] * element(a, rows, first + j, i, true);
                    scores[j] = a->scale * sum;
                    if (!(scores[j] <= top)) top = scores[j];
                }
                const float correction = largest == top ? 1 : expf(largest - top);
                largest = top;
                total *= correction;
                for (size_t i = 0; i < d; i++) out[i] *= correction;
                for (size_t j = begin; j < n; j++) {
                    const float p = expf(scores[j] - top);
                    const uint8_t *rows = uk_page_rows(a, a->value_offset, kv_head, first + j);
                    total += p;
                    for (size_t i = 0; i < d; i++) out[i] += p * element(a, rows, first + j, i, false);
                }
            }
            for (size_t i = 0; i < d; i++) out[i] /= total;
        }
    }
}

static void rms_norm(const float *x, const float *w, size_t n, float epsilon, float *y) {
    float squares = 0;
    for (size_t i = 0; i < n; i++) squares += x[i] * x[i];
    const float inverse = n ? 1 / sqrtf(squares / (float)n + epsilon) : 0;
    for (size_t i = 0; i < n; i++) y[i] = x[i] * inverse * w[i];
}

static void rope(float *x, size_t heads, size_t head_dimension, const float *cos, const float *sin) {
    const size_t half = head_dimension / 2;
    for (size_t h = 0; h < heads; h++) {
        float *low = x + h * head_dimension, *high = low + half;
        for (size_t i = 0; i < half; i++) {
            const float u = low[i], v = high[i];
            low[i] = u * cos[i] - v * sin[i];
            high[i] = v * cos[i] + u * sin[i];
        }
    }
}

static void swiglu(const float *gate, const float *up, size_t n, float *y) {
    for (size_t i = 0; i < n; i++) y[i] = gate[i] / (1 + expf(-gate[i])) * up[i];
}

static void geglu(const float *gate, const float *up, size_t n, float *y) {
    for (size_t i = 0; i < n; i++) {
        const float g = gate[i];
        y[i] = 0.5f * g * (1 + tanhf(0.7978845608028654f * (g + 0.044715f * g * g * g))) * up[i];
    }
}

static float exp_weights(const float *x, size_t n, float top, float factor, float *w) {
    float total = 0;
    for (size_t i = 0; i < n; i++) {
        w[i] = x[i] == x[i] ? expf((x[i] - top) * factor) : 0;
        total += w[i];
    }
    return total;
}

static void add(float *x, const float *y, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] += y[i];
}

static void axpy(float a, const float *y, size_t n, float *x) {
    for (size_t i = 0; i < n; i++) x[i] += a * y[i];
}

static float softmax(float *x, size_t n) {
    float largest = -INFINITY, total = 0;
    for (size_t i = 0; i < n; i++)
        if (!(x[i] <= largest)) largest = x[i];
    for (size_t i = 0; i < n; i++) {
        x[i] = expf(x[i] - largest);
        total += x[i];
    }
    for (size_t i = 0; i < n; i++) x[i] /= total;
    return largest + logf(total);
}

static void convert_f16(const float *x, size_t n, uint16_t *y) {
    for (size_t i = 0; i < n; i++) y[i] = uk_f32_to_f16(x[i]);
}

const uk_attention_kernels uk_attention_scalar = {attention, rms_norm, rope, swiglu, geglu, exp_weights, add, axpy, softmax, convert_f16};
