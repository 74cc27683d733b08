// Dispatch of dense.h to the instruction set in use.
#include "dense.h"
#include "dense_internal.h"
#include "isa.h"
#include <string.h>

static const uk_dense_functions *functions(void) {
    switch (uk_isa_active()) {
#if defined(__x86_64__)
    case UK_ISA_AVX512:
        return &uk_dense_avx512;
    case UK_ISA_AVX2:
        return &uk_dense_avx2;
#endif
#if defined(__aarch64__)
    case UK_ISA_NEON:
        return &uk_dense_neon;
#endif
    default:
        return &uk_dense_scalar;
    }
}

size_t uk_gemm_scratch(void) {
    return UK_GEMM_SCRATCH;
}

/// Whether there is nothing to add up: what is not accumulated is then zero.
static bool is_empty(const uk_gemm *g, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end) {
    if (g->k > 0) return false;
    if (!g->accumulate)
        for (size_t i = m_begin; i < m_end; i++) memset(g->c + i * g->c_row + n_begin, 0, (n_end - n_begin) * sizeof(float));
    return true;
}

void uk_gemm_f32(const uk_gemm *g, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end, float *scratch) {
    if (is_empty(g, m_begin, m_end, n_begin, n_end)) return;
    functions()->gemm(g, m_begin, m_end, n_begin, n_end, scratch);
}

bool uk_has_bf16_products(void) {
#if defined(__x86_64__)
    return uk_isa_active() == UK_ISA_AVX512 && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

void uk_gemm_bf16(const uk_gemm *g, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end, float *scratch) {
    if (is_empty(g, m_begin, m_end, n_begin, n_end)) return;
#if defined(__x86_64__)
    if (uk_has_bf16_products()) {
        uk_gemm_bf16_avx512(g, m_begin, m_end, n_begin, n_end, scratch);
        return;
    }
#endif
    (void)scratch;
    uk_gemm_bf16_scalar(g, m_begin, m_end, n_begin, n_end);
}

bool uk_has_int16_products(void) {
#if defined(__x86_64__)
    return uk_isa_active() == UK_ISA_AVX2 || uk_isa_active() == UK_ISA_AVX512;
#else
    return false;
#endif
}

void uk_gemm_int16(const uk_gemm *g, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end, float *scratch) {
    if (is_empty(g, m_begin, m_end, n_begin, n_end)) return;
#if defined(__x86_64__)
    if (uk_has_int16_products()) {
        uk_gemm_int16_avx2(g, m_begin, m_end, n_begin, n_end, scratch);
        return;
    }
#endif
    (void)scratch;
    uk_gemm_int16_scalar(g, m_begin, m_end, n_begin, n_end);
}

void uk_rms_norm_forward(const float *x, const float *w, size_t rows, size_t n, float epsilon, float *y, float *inverse) {
    functions()->rms_norm_forward(x, w, rows, n, epsilon, y, inverse);
}

void uk_rms_norm_backward(const float *x, const float *w, const float *inverse, const float *dy, size_t rows, size_t n,
                          float *dx, float *_Nullable dw) {
    functions()->rms_norm_backward(x, w, inverse, dy, rows, n, dx, dw);
}

void uk_swiglu_forward(const float *g, const float *u, size_t n, float *h) {
    functions()->swiglu_forward(g, u, n, h);
}

void uk_swiglu_backward(const float *g, const float *u, const float *dh, size_t n, float *dg, float *du) {
    functions()->swiglu_backward(g, u, dh, n, dg, du);
}

void uk_rope_rows(float *x, size_t rows, size_t stride, size_t heads, size_t head_dimension, const int32_t *positions,
                  const float *cos, const float *sin, bool inverse) {
    functions()->rope_rows(x, rows, stride, heads, head_dimension, positions, cos, sin, inverse);
}

size_t uk_sequence_attention_scratch(size_t tokens, size_t head_dimension) {
    (void)head_dimension;
    return UK_GEMM_SCRATCH + 2 * UK_ATTENTION_BLOCK * ((tokens + 15) / 16 * 16);
}

void uk_sequence_attention_forward(const uk_sequence_attention *a, size_t head_begin, size_t head_end, float *scratch) {
    functions()->attention_forward(a, head_begin, head_end, scratch);
}

void uk_sequence_attention_backward(const uk_sequence_attention *a, const float *d_out, size_t kv_head, float *dq, float *dk, float *dv,
                                    float *scratch) {
    functions()->attention_backward(a, d_out, kv_head, dq, dk, dv, scratch);
}

float uk_softmax_row(float *logits, size_t n) {
    return functions()->softmax_row(logits, n);
}

void uk_adamw(float *p, const float *g, float *m, float *v, size_t n, float lr, float beta1, float beta2, float epsilon, float decay,
              float correction1, float correction2, float g_scale) {
    functions()->adamw(p, g, m, v, n, lr, beta1, beta2, epsilon, decay, correction1, correction2, g_scale);
}

double uk_sum_of_squares(const float *x, size_t n) {
    return functions()->sum_of_squares(x, n);
}

float uk_dot(const float *x, const float *y, size_t n) {
    return functions()->dot(x, y, n);
}

void uk_scale(float *x, size_t n, float a) {
    functions()->scale(x, n, a);
}

void uk_column_sums(const float *x, size_t rows, size_t stride, size_t n, float *y) {
    functions()->column_sums(x, rows, stride, n, y);
}

float uk_multiply_adds(size_t repeats) {
    return functions()->multiply_adds(repeats);
}

size_t uk_multiply_adds_count(void) {
    return functions()->multiply_adds_count();
}
