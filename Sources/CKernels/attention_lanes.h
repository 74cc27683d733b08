// attention.h in vectors. Included with UK_LANES, UK_ATTENTION_TABLE (the table's name) and the two f16 conversions
// `half_load` (UK_LANES f16 to floats) and `half_store` defined, inside the target's pragma.
#include "attention_kernels.h"
#include "lanes.h"

#pragma clang assume_nonnull begin

typedef int8_t lanes_b __attribute__((vector_size(UK_LANES)));

/// to[padded] = row `position` of the cache as floats, zeros behind.
UK_INLINE void load_row(const uk_attention *a, const uint8_t *rows, size_t position, size_t padded, float *to) {
    const size_t d = a->head_dimension, row = position % UK_PAGE_TOKENS;
    size_t i = 0;
    if (a->format == UK_CACHE_F16) {
        const uint16_t *from = (const uint16_t *)(const void *)rows + row * d;
        for (; i + UK_LANES <= d; i += UK_LANES) lanes_store(to + i, half_load(from + i));
        for (; i < d; i++) to[i] = uk_f16_to_f32(from[i]);
    } else if (a->format == UK_CACHE_F32) {
        memcpy(to, (const float *)(const void *)rows + row * d, d * sizeof(float));
        i = d;
    } else {
        const int8_t *from = (const int8_t *)rows + row * d;
        float scale;
        memcpy(&scale, rows + UK_PAGE_TOKENS * d + row * sizeof scale, sizeof scale);
        for (; i + UK_LANES <= d; i += UK_LANES) {
            lanes_b bytes;
            memcpy(&bytes, from + i, sizeof bytes);
            lanes_store(to + i, scale * __builtin_convertvector(bytes, lanes_f));
        }
        for (; i < d; i++) to[i] = scale * (float)from[i];
    }
    for (; i < padded; i++) to[i] = 0;
}

// One token at a time, all the query heads of the kv head together: each key and value is converted once for them.
// Scores of a block of keys first, then the online softmax, then the values: in an order that depends on the token's own
// position only.
static void attention(const uk_attention *a, size_t kv_head, size_t token_begin, size_t token_end, float *scratch) {
    const size_t d = a->head_dimension, group = a->heads / a->kv_heads;
    const uk_attention_buffers buffers = uk_attention_layout(a, scratch);
    const size_t padded = buffers.padded;
    size_t converted = SIZE_MAX;  // the block whose keys and values the buffers hold, as floats
    size_t converted_rows = 0;
    for (size_t t = token_begin; t < token_end; t++) {
        float *largest = buffers.largest, *total = buffers.total;
        for (size_t h = 0; h < group; h++) {
            largest[h] = -INFINITY;
            total[h] = 0;
            memset(a->out + t * a->out_stride + (kv_head * group + h) * d, 0, d * sizeof(float));
        }
        const size_t count = a->start + t + 1, seen = uk_first_seen(a, a->start + t);
        for (size_t first = seen / UK_ATTENTION_KEYS * UK_ATTENTION_KEYS; first < count; first += UK_ATTENTION_KEYS) {
            const size_t n = count - first < UK_ATTENTION_KEYS ? count - first : UK_ATTENTION_KEYS;
            const size_t begin = seen > first ? seen - first : 0;
            if (converted != first) converted_rows = 0;
            converted = first;
            for (; converted_rows < n; converted_rows++) {
                const size_t position = first + converted_rows;
                load_row(a, uk_page_rows(a, a->key_offset, kv_head, position), position, padded,
                         buffers.keys + converted_rows * padded);
                load_row(a, uk_page_rows(a, a->value_offset, kv_head, position), position, padded,
                         buffers.values + converted_rows * padded);
            }
            for (size_t h = 0; h < group; h++) {
                const float *q = a->q + t * a->q_stride + (kv_head * group + h) * d;
                float *out = a->out + t * a->out_stride + (kv_head * group + h) * d;
                float *scores = buffers.scores;
                float top = largest[h];
                for (size_t j = begin; j < n; j++) {
                    scores[j] = a->scale * lanes_dot(q, buffers.keys + j * padded, d);
                    if (!(scores[j] <= top)) top = scores[j];
                }
                const float correction = largest[h] == top ? 1 : expf(largest[h] - top);
                largest[h] = top;
                float sum = 0;
                for (size_t j = begin; j < n; j += UK_LANES) {
                    if (n - j >= UK_LANES) {
                        const lanes_f p = lanes_exp(lanes_load(scores + j) - top);
                        lanes_store(scores + j, p);
                        sum += lanes_sum(p);
                    } else {
                        lanes_store_some(scores + j, lanes_exp(lanes_load_some(scores + j, n - j) - top), n - j);
                        for (size_t i = j; i < n; i++) sum += scores[i];
                    }
                }
                total[h] = total[h] * correction + sum;
                size_t i = 0;
                for (; i + UK_LANES <= d; i += UK_LANES) {
                    lanes_f even = lanes_load(out + i) * correction, odd = {0};
                    const float *value = buffers.values + i;
                    size_t j = begin;
                    for (; j + 2 <= n; j += 2) {
                        even += scores[j] * lanes_load(value + j * padded);
                        odd += scores[j + 1] * lanes_load(value + (j + 1) * padded);
                    }
                    if (j < n) even += scores[j] * lanes_load(value + j * padded);
                    lanes_store(out + i, even + odd);
                }
                for (; i < d; i++) {
                    float value = out[i] * correction;
                    for (size_t j = begin; j < n; j++) value += scores[j] * buffers.values[j * padded + i];
                    out[i] = value;
                }
            }
        }
        for (size_t h = 0; h < group; h++) {
            float *out = a->out + t * a->out_stride + (kv_head * group + h) * d;
            for (size_t i = 0; i < d; i++) out[i] /= total[h];
        }
    }
}

static void rms_norm(const float *x, const float *w, size_t n, float epsilon, float *y) {
    const float inverse = n ? 1 / sqrtf(lanes_dot(x, x, n) / (float)n + epsilon) : 0;
    size_t i = 0;
    for (; i + UK_LANES <= n; i += UK_LANES) lanes_store(y + i, lanes_load(x + i) * inverse * lanes_load(w + i));
    for (; i < n; i++) y[i] = x[i] * inverse * w[i];
}

static void rope(float *x, size_t heads, size_t head_dimension, const float *cos, const float *sin) {
    const size_t half = head_dimension / 2;
    for (size_t h = 0; h < heads; h++) {
        float *low = x + h * head_dimension, *high = low + half;
        size_t i = 0;
        for (; i + UK_LANES <= half; i += UK_LANES) {
            const lanes_f u = lanes_load(low + i), v = lanes_load(high + i), c = lanes_load(cos + i), s = lanes_load(sin + i);
            lanes_store(low + i, u * c - v * s);
            lanes_store(high + i, v * c + u * s);
        }
        for (; i < half; i++) {
            const float u = low[i], v = high[i];
            low[i] = u * cos[i] - v * sin[i];
            high[i] = v * cos[i] + u * sin[i];
        }
    }
}

static void swiglu(const float *gate, const float *up, size_t n, float *y) {
    for (size_t i = 0; i < n; i += UK_LANES) {
        if (n - i >= UK_LANES) {
            const lanes_f g = lanes_load(gate + i);
            lanes_store(y + i, g * lanes_sigmoid(g) * lanes_load(up + i));
        } else {
            const lanes_f g = lanes_load_some(gate + i, n - i);
            lanes_store_some(y + i, g * lanes_sigmoid(g) * lanes_load_some(up + i, n - i), n - i);
        }
    }
}

/// gelu with tanh(u) = 2·sigmoid(2u) - 1, so that 0.5·(1 + tanh(u)) is one sigmoid.
UK_INLINE lanes_f gelu(lanes_f g) { return g * lanes_sigmoid(1.5957691216057308f * (g + 0.044715f * g * g * g)); }

static void geglu(const float *gate, const float *up, size_t n, float *y) {
    for (size_t i = 0; i < n; i += UK_LANES) {
        const size_t count = n - i < UK_LANES ? n - i : UK_LANES;
        if (count == UK_LANES) lanes_store(y + i, gelu(lanes_load(gate + i)) * lanes_load(up + i));
        else lanes_store_some(y + i, gelu(lanes_load_some(gate + i, count)) * lanes_load_some(up + i, count), count);
    }
}

static float exp_weights(const float *x, size_t n, float top, float factor, float *w) {
    lanes_f total = {0};
    float rest = 0;
    for (size_t i = 0; i < n; i += UK_LANES) {
        const size_t count = n - i < UK_LANES ? n - i : UK_LANES;
        const lanes_f v = count == UK_LANES ? lanes_load(x + i) : lanes_load_some(x + i, count);
        const lanes_f e = lanes_select(v == v, lanes_exp((v - top) * factor), lanes_all(0));
        if (count == UK_LANES) {
            lanes_store(w + i, e);
            total += e;
        } else {
            lanes_store_some(w + i, e, count);
            for (size_t j = 0; j < count; j++) rest += w[i + j];
        }
    }
    return lanes_sum(total) + rest;
}

static void add(float *x, const float *y, size_t n) {
    size_t i = 0;
    for (; i + UK_LANES <= n; i += UK_LANES) lanes_store(x + i, lanes_load(x + i) + lanes_load(y + i));
    for (; i < n; i++) x[i] += y[i];
}

static void axpy(float a, const float *y, size_t n, float *x) { lanes_axpy(a, y, n, x); }

static float softmax(float *x, size_t n) {
    float largest = -INFINITY;
    for (size_t i = 0; i < n; i++)
        if (!(x[i] <= largest)) largest = x[i];
    float total = 0;
    for (size_t i = 0; i < n; i += UK_LANES) {
        if (n - i >= UK_LANES) {
            const lanes_f e = lanes_exp(lanes_load(x + i) - largest);
            lanes_store(x + i, e);
            total += lanes_sum(e);
        } else {
            lanes_store_some(x + i, lanes_exp(lanes_load_some(x + i, n - i) - largest), n - i);
            for (size_t j = i; j < n; j++) total += x[j];
        }
    }
    for (size_t i = 0; i < n; i++) x[i] /= total;
    return largest + logf(total);
}

static void convert_f16(const float *x, size_t n, uint16_t *y) {
    size_t i = 0;
    for (; i + UK_LANES <= n; i += UK_LANES) half_store(y + i, lanes_load(x + i));
    for (; i < n; i++) y[i] = uk_f32_to_f16(x[i]);
}

const uk_attention_kernels UK_ATTENTION_TABLE = {attention, rms_norm, rope, swiglu, geglu, exp_weights, add, axpy, softmax, convert_f16};

#pragma clang assume_nonnull end
