// The choice of kernel for attention and the small layers.
#include "attention_kernels.h"

#include <math.h>

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
    const size_t padded = (a->head_dimension + 15) / 16 * 16, queries = a->kv_heads ? a->tokens * (a->heads / a->kv_heads) : 0;
    return 16 + (2 * UK_ATTENTION_KEYS + UK_ATTENTION_QUERIES) * padded + UK_ATTENTION_QUERIES * UK_ATTENTION_KEYS + 2 * queries;
}

void uk_attention_forward(const uk_attention *a, size_t kv_head, size_t token_begin, size_t token_end, float *scratch) {
    kernels()->attention(a, kv_head, token_begin, token_end, scratch);
}

void uk_rms_norm(const float *x, const float *w, size_t n, float epsilon, float *y) { kernels()->rms_norm(x, w, n, epsilon, y); }

void uk_rope(float *x, size_t heads, size_t head_dimension, const float *cos, const float *sin) {
    kernels()->rope(x, heads, head_dimension, cos, sin);
}

void uk_swiglu(const float *gate, const float *up, size_t n, float *y) { kernels()->swiglu(gate, up, n, y); }

void uk_add(float *x, const float *y, size_t n) { kernels()->add(x, y, n); }

void uk_axpy(float a, const float *y, size_t n, float *x) { kernels()->axpy(a, y, n, x); }

/// Of no values: log of an empty sum.
float uk_softmax(float *x, size_t n) { return n ? kernels()->softmax(x, n) : -INFINITY; }

void uk_convert_f16(const float *x, size_t n, uint16_t *y) { kernels()->convert_f16(x, n, y); }
