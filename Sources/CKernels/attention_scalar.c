#include "attention_kernels.h"

#include <math.h>

static float dot(const float *x, const uint16_t *h, size_t n) {
    float total = 0;
    for (size_t i = 0; i < n; i++) total += x[i] * uk_f16_to_f32(h[i]);
    return total;
}

static void attention(const uk_attention *a, size_t kv_head, size_t token_begin, size_t token_end, float *scratch) {
    const size_t d = a->head_dimension, group = a->heads / a->kv_heads;
    const uint16_t *keys = a->keys + kv_head * a->capacity * d, *values = a->values + kv_head * a->capacity * d;
    float *scores = uk_attention_layout(a, scratch).scores;
    for (size_t t = token_begin; t < token_end; t++) {
        for (size_t head = kv_head * group; head < (kv_head + 1) * group; head++) {
            const float *q = a->q + t * a->q_stride + head * d;
            float *out = a->out + t * a->out_stride + head * d;
            float largest = -INFINITY, total = 0;
            for (size_t i = 0; i < d; i++) out[i] = 0;
            const size_t count = a->start + t + 1;
            for (size_t first = 0; first < count; first += UK_ATTENTION_KEYS) {
                const size_t n = count - first < UK_ATTENTION_KEYS ? count - first : UK_ATTENTION_KEYS;
                float top = largest;
                for (size_t j = 0; j < n; j++) {
                    scores[j] = a->scale * dot(q, keys + (first + j) * d, d);
                    if (!(scores[j] <= top)) top = scores[j];
                }
                const float correction = largest == top ? 1 : expf(largest - top);
                largest = top;
                total *= correction;
                for (size_t i = 0; i < d; i++) out[i] *= correction;
                for (size_t j = 0; j < n; j++) {
                    const float p = expf(scores[j] - top);
                    const uint16_t *v = values + (first + j) * d;
                    total += p;
                    for (size_t i = 0; i < d; i++) out[i] += p * uk_f16_to_f32(v[i]);
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

const uk_attention_kernels uk_attention_scalar = {attention, rms_norm, rope, swiglu, add, axpy, softmax, convert_f16};
