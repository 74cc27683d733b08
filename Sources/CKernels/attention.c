// The choice of kernel for attention and the small layers.
#include "attention_kernels.h"

#include <math.h>
#include <string.h>

static const uk_attention_kernels *kernels(void) {
    switch (uk_isa_active()) {
#if defined(__x86_64__)
    case UK_ISA_AVX512: return &uk_attention_avx512;
    case UK_ISA_AVX2: return &uk_attention_avx2;
#endif
#if defined(__aarch64__)
    case UK_ISA_NEON: return &uk_attention_neon;
#endif
    default: return &uk_attention_scalar;
    }
}

size_t uk_attention_scratch(const uk_attention *a) {
    const size_t padded = (a->head_dimension + 15) / 16 * 16, rows = uk_attention_rows(a);
    return 16 + UK_ATTENTION_KEYS * (a->head_dimension + padded + UK_ATTENTION_QUERIES) + rows * (padded + 2);
}

void uk_attention_forward(const uk_attention *a, size_t kv_head, size_t token_begin, size_t token_end, float *scratch) {
    kernels()->attention(a, kv_head, token_begin, token_end, scratch);
}

void uk_rms_norm(const float *x, const float *w, size_t n, float epsilon, float *y) { kernels()->rms_norm(x, w, n, epsilon, y); }

void uk_rope(float *x, size_t heads, size_t head_dimension, const float *cos, const float *sin) {
    kernels()->rope(x, heads, head_dimension, cos, sin);
}

void uk_swiglu(const float *gate, const float *up, size_t n, float *y) { kernels()->swiglu(gate, up, n, y); }

void uk_geglu(const float *gate, const float *up, size_t n, float *y) { kernels()->geglu(gate, up, n, y); }

float uk_log_sum_exp(const float *x, size_t n, size_t *best) {
    // Blocks keep the running maximum exact and the sum in double.
    enum { BLOCK = 1024 };
    float weights[BLOCK], top = -INFINITY;
    size_t place = 0;
    for (size_t i = 0; i < n; i++)
        if (x[i] > top) {
            top = x[i];
            place = i;
        }
    *best = place;
    if (!(top > -INFINITY) || top == INFINITY) return top;
    double total = 0;
    for (size_t i = 0; i < n; i += BLOCK) total += uk_exp_weights(x + i, n - i < BLOCK ? n - i : BLOCK, top, 1, weights);
    return top + (float)log(total);
}

float uk_exp_weights(const float *x, size_t n, float top, float factor, float *w) {
    return kernels()->exp_weights(x, n, top, factor, w);
}

size_t uk_cache_rows_bytes(uk_cache_format format, size_t d) {
    switch (format) {
    case UK_CACHE_F16: return UK_PAGE_TOKENS * d * 2;
    case UK_CACHE_Q8: return UK_PAGE_TOKENS * (d + sizeof(float));
    default: return UK_PAGE_TOKENS * d * sizeof(float);
    }
}

/// Stores with `step` elements from one of the token's elements to the next, the first at `first`.
static void store(uk_cache_format format, const float *x, size_t d, void *rows, size_t first, size_t step, size_t row) {
    if (format == UK_CACHE_F32) {
        for (size_t i = 0; i < d; i++) ((float *)rows)[first + i * step] = x[i];
        return;
    }
    if (format == UK_CACHE_F16) {
        enum { PART = 64 };
        uint16_t halves[PART];
        for (size_t i = 0; i < d; i += PART) {
            const size_t n = d - i < PART ? d - i : PART;
            kernels()->convert_f16(x + i, n, halves);
            for (size_t j = 0; j < n; j++) ((uint16_t *)rows)[first + (i + j) * step] = halves[j];
        }
        return;
    }
    float greatest = 0;
    for (size_t i = 0; i < d; i++) {
        const float size = fabsf(x[i]);
        if (size > greatest) greatest = size;
    }
    const float scale = greatest < INFINITY ? greatest / 127 : 0, inverse = scale > 0 ? 1 / scale : 0;
    for (size_t i = 0; i < d; i++) {
        const float level = rintf(x[i] * inverse);
        ((int8_t *)rows)[first + i * step] = level == level ? (int8_t)(level > 127 ? 127 : level < -127 ? -127 : level) : 0;
    }
    memcpy((uint8_t *)rows + UK_PAGE_TOKENS * d + row * sizeof scale, &scale, sizeof scale);
}

void uk_cache_store_key(uk_cache_format format, const float *x, size_t d, void *rows, size_t row) {
    store(format, x, d, rows, row, UK_PAGE_TOKENS, row);
}

void uk_cache_store_value(uk_cache_format format, const float *x, size_t d, void *rows, size_t row) {
    store(format, x, d, rows, row * d, 1, row);
}

void uk_add(float *x, const float *y, size_t n) { kernels()->add(x, y, n); }

void uk_axpy(float a, const float *y, size_t n, float *x) { kernels()->axpy(a, y, n, x); }

/// Of no values: log of an empty sum.
float uk_softmax(float *x, size_t n) { return n ? kernels()->softmax(x, n) : -INFINITY; }

void uk_convert_f16(const float *x, size_t n, uint16_t *y) { kernels()->convert_f16(x, n, y); }
