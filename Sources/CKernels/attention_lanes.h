// attention.h in vectors. Included with UK_LANES, UK_ATTENTION_TABLE (the table's name) and the two f16 conversions
// `half_load` (UK_LANES f16 to floats) and `half_store` defined, inside the target's pragma.
#include "attention_kernels.h"
#include "lanes.h"

#pragma clang assume_nonnull begin

typedef int8_t lanes_b __attribute__((vector_size(UK_LANES)));

enum {
    KEYS = UK_ATTENTION_KEYS,
    VECTORS = UK_LANES == 8 ? 2 : 4,  // vectors of a query's sums held in registers at a time
};

UK_INLINE lanes_f bytes_load(const int8_t *from) {
    lanes_b bytes;
    memcpy(&bytes, from, sizeof bytes);
    return __builtin_convertvector(bytes, lanes_f);
}

/// keys[d, KEYS], column j being the key at first + j; `count` of them are there, the others are left.
UK_INLINE void load_keys(const uk_attention *a, size_t kv_head, size_t first, size_t count, float *keys) {
    const size_t d = a->head_dimension;
    for (size_t page = 0; page * UK_PAGE_TOKENS < count; page++) {
        const uint8_t *rows = uk_page_rows(a, a->key_offset, kv_head, first + page * UK_PAGE_TOKENS);
        float *to = keys + page * UK_PAGE_TOKENS;
        for (size_t part = 0; part < UK_PAGE_TOKENS; part += UK_LANES) {
            if (a->format == UK_CACHE_F16) {
                const uint16_t *from = (const uint16_t *)(const void *)rows + part;
                for (size_t i = 0; i < d; i++) lanes_store(to + i * KEYS + part, half_load(from + i * UK_PAGE_TOKENS));
            } else if (a->format == UK_CACHE_F32) {
                const float *from = (const float *)(const void *)rows + part;
                for (size_t i = 0; i < d; i++) lanes_store(to + i * KEYS + part, lanes_load(from + i * UK_PAGE_TOKENS));
            } else {
                const lanes_f scales = lanes_load((const float *)(const void *)(rows + UK_PAGE_TOKENS * d) + part);
                const int8_t *from = (const int8_t *)rows + part;
                for (size_t i = 0; i < d; i++) lanes_store(to + i * KEYS + part, scales * bytes_load(from + i * UK_PAGE_TOKENS));
            }
        }
    }
}

/// values[KEYS, padded], row j being the value at first + j, zeros behind the head's dimension.
UK_INLINE void load_values(const uk_attention *a, size_t kv_head, size_t first, size_t count, size_t padded, float *values) {
    const size_t d = a->head_dimension;
    for (size_t j = 0; j < count; j++) {
        const uint8_t *rows = uk_page_rows(a, a->value_offset, kv_head, first + j);
        const size_t row = (first + j) % UK_PAGE_TOKENS;
        float *to = values + j * padded;
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
            for (; i + UK_LANES <= d; i += UK_LANES) lanes_store(to + i, scale * bytes_load(from + i));
            for (; i < d; i++) to[i] = scale * (float)from[i];
        }
        for (; i < padded; i++) to[i] = 0;
    }
}

/// scores[n, count] = scale · q · keys for n queries, in steps of `vectors` vectors (constants where this is inlined).
UK_INLINE void score(const float *_Nonnull const *_Nonnull q, const size_t n, const size_t vectors, const float *keys, size_t count, size_t d,
                     float scale, float *scores) {
    for (size_t first = 0; first < count; first += vectors * UK_LANES) {
        lanes_f sums[UK_ATTENTION_QUERIES][VECTORS];
#pragma clang loop unroll(full)
        for (size_t r = 0; r < n; r++)
#pragma clang loop unroll(full)
            for (size_t v = 0; v < vectors; v++) sums[r][v] = (lanes_f){0};
        for (size_t i = 0; i < d; i++) {
            lanes_f key[VECTORS];
#pragma clang loop unroll(full)
            for (size_t v = 0; v < vectors; v++) key[v] = lanes_load(keys + i * KEYS + first + v * UK_LANES);
#pragma clang loop unroll(full)
            for (size_t r = 0; r < n; r++) {
                const lanes_f x = lanes_all(q[r][i]);
#pragma clang loop unroll(full)
                for (size_t v = 0; v < vectors; v++) sums[r][v] += x * key[v];
            }
        }
#pragma clang loop unroll(full)
        for (size_t r = 0; r < n; r++)
#pragma clang loop unroll(full)
            for (size_t v = 0; v < vectors; v++) lanes_store(scores + r * KEYS + first + v * UK_LANES, sums[r][v] * scale);
    }
}

/// sums[n, padded] += weights[n, begin ..< end] · values, key after key.
UK_INLINE void add_values(float *_Nonnull const *_Nonnull sums, const size_t n, const float *weights, const float *values, size_t padded, size_t begin,
                          size_t end) {
    if (begin >= end) return;
    size_t first = 0;
    for (; first + VECTORS * UK_LANES <= padded; first += VECTORS * UK_LANES) {
        lanes_f sum[UK_ATTENTION_QUERIES][VECTORS];
#pragma clang loop unroll(full)
        for (size_t r = 0; r < n; r++)
#pragma clang loop unroll(full)
            for (size_t v = 0; v < VECTORS; v++) sum[r][v] = lanes_load(sums[r] + first + v * UK_LANES);
        for (size_t j = begin; j < end; j++) {
            lanes_f value[VECTORS];
#pragma clang loop unroll(full)
            for (size_t v = 0; v < VECTORS; v++) value[v] = lanes_load(values + j * padded + first + v * UK_LANES);
#pragma clang loop unroll(full)
            for (size_t r = 0; r < n; r++) {
                const lanes_f p = lanes_all(weights[r * KEYS + j]);
#pragma clang loop unroll(full)
                for (size_t v = 0; v < VECTORS; v++) sum[r][v] += p * value[v];
            }
        }
#pragma clang loop unroll(full)
        for (size_t r = 0; r < n; r++)
#pragma clang loop unroll(full)
            for (size_t v = 0; v < VECTORS; v++) lanes_store(sums[r] + first + v * UK_LANES, sum[r][v]);
    }
    for (; first < padded; first += UK_LANES) {
        for (size_t r = 0; r < n; r++) {
            lanes_f sum = lanes_load(sums[r] + first);
            for (size_t j = begin; j < end; j++) sum += lanes_all(weights[r * KEYS + j]) * lanes_load(values + j * padded + first);
            lanes_store(sums[r] + first, sum);
        }
    }
}

/// The online softmax of one query: scores become weights, what was summed before is scaled to the new maximum.
UK_INLINE void weigh(float *scores, size_t begin, size_t end, float *sums, size_t padded, float *largest, float *total) {
    for (size_t j = 0; j < begin; j++) scores[j] = -INFINITY;
    for (size_t j = end; j < KEYS; j++) scores[j] = -INFINITY;
    lanes_f greatest = lanes_load(scores);
    for (size_t j = UK_LANES; j < KEYS; j += UK_LANES) {
        const lanes_f other = lanes_load(scores + j);
        greatest = lanes_select(other > greatest, other, greatest);
    }
    float top = *largest;
    for (size_t lane = 0; lane < UK_LANES; lane++)
        if (greatest[lane] > top) top = greatest[lane];
    lanes_f sum = {0};
    for (size_t j = 0; j < KEYS; j += UK_LANES) {
        const lanes_f p = lanes_exp(lanes_load(scores + j) - top);
        lanes_store(scores + j, p);
        sum += p;
    }
    if (top != *largest) {
        const float correction = expf(*largest - top);
        *total *= correction;
        for (size_t i = 0; i < padded; i += UK_LANES) lanes_store(sums + i, lanes_load(sums + i) * correction);
        *largest = top;
    }
    *total += lanes_sum(sum);
}

/// One block of keys for some queries at once (a constant where this is inlined).
UK_INLINE void attend(const uk_attention *a, const uk_attention_buffers *b, const float *_Nonnull const *_Nonnull q, const size_t *begins,
                      const size_t *ends, size_t row, const size_t n) {
    float *sums[UK_ATTENTION_QUERIES];
    size_t low = 0, high = KEYS;
    size_t count = 0;
    for (size_t r = 0; r < n; r++)
        if (ends[r] > count) count = ends[r];
    // Short sequences fill a part of the block only.
    if (count <= UK_LANES) score(q, n, 1, b->keys, count, a->head_dimension, a->scale, b->scores);
    else if (VECTORS > 2 && count <= 2 * UK_LANES) score(q, n, 2, b->keys, count, a->head_dimension, a->scale, b->scores);
    else score(q, n, VECTORS, b->keys, count, a->head_dimension, a->scale, b->scores);
    for (size_t r = 0; r < n; r++) {
        sums[r] = b->sums + (row + r) * b->padded;
        weigh(b->scores + r * KEYS, begins[r], ends[r], sums[r], b->padded, b->largest + row + r, b->total + row + r);
        if (begins[r] > low) low = begins[r];
        if (ends[r] < high) high = ends[r];
    }
    if (high < low) high = low;
    // Each query adds its values key after key, together with the others where they see the same ones.
    for (size_t r = 0; r < n; r++)
        add_values(sums + r, 1, b->scores + r * KEYS, b->values, b->padded, begins[r], ends[r] < low ? ends[r] : low);
    add_values(sums, n, b->scores, b->values, b->padded, low, high);
    for (size_t r = 0; r < n; r++)
        add_values(sums + r, 1, b->scores + r * KEYS, b->values, b->padded, begins[r] > high ? begins[r] : high, ends[r]);
}

// All queries of some tokens that share a kv head, block of keys by block: each block is converted once for them. Whatever
// queries are worked on together, each one's sums are formed in the same order.
static void attention(const uk_attention *a, size_t kv_head, size_t token_begin, size_t token_end, float *scratch) {
    const size_t d = a->head_dimension, group = a->heads / a->kv_heads;
    const uk_attention_buffers b = uk_attention_layout(a, scratch);
    for (size_t token = token_begin; token < token_end; token += UK_ATTENTION_TOKENS) {
        const size_t tokens = token_end - token < UK_ATTENTION_TOKENS ? token_end - token : UK_ATTENTION_TOKENS;
        const size_t rows = tokens * group, count = a->start + token + tokens;
        for (size_t r = 0; r < rows; r++) {
            b.largest[r] = -INFINITY;
            b.total[r] = 0;
        }
        memset(b.sums, 0, rows * b.padded * sizeof(float));
        for (size_t first = uk_first_seen(a, a->start + token) / KEYS * KEYS; first < count; first += KEYS) {
            const size_t filled = count - first < KEYS ? count - first : KEYS;
            load_keys(a, kv_head, first, filled, b.keys);
            load_values(a, kv_head, first, filled, b.padded, b.values);
            size_t row = 0;
            while (row < rows) {
                const float *q[UK_ATTENTION_QUERIES];
                size_t begins[UK_ATTENTION_QUERIES], ends[UK_ATTENTION_QUERIES], taken = 0;
                for (; taken < UK_ATTENTION_QUERIES && row + taken < rows; taken++) {
                    const size_t t = token + (row + taken) / group, position = a->start + t, seen = uk_first_seen(a, position);
                    if (position < first || seen >= first + KEYS) break;
                    q[taken] = a->q + t * a->q_stride + (kv_head * group + (row + taken) % group) * d;
                    begins[taken] = seen > first ? seen - first : 0;
                    ends[taken] = position + 1 - first < KEYS ? position + 1 - first : KEYS;
                }
                switch (taken) {
                case 0: row++; break;
                case 1: attend(a, &b, q, begins, ends, row, 1); break;
                case 2: attend(a, &b, q, begins, ends, row, 2); break;
                case 3: attend(a, &b, q, begins, ends, row, 3); break;
                default: attend(a, &b, q, begins, ends, row, 4); break;
                }
                row += taken;
            }
        }
        for (size_t r = 0; r < rows; r++) {
            float *out = a->out + (token + r / group) * a->out_stride + (kv_head * group + r % group) * d;
            for (size_t i = 0; i < d; i++) out[i] = b.sums[r * b.padded + i] / b.total[r];
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
