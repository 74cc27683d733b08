// One set of dense.h's functions per instruction set, and the table dense.c calls them through.
#ifndef UK_DENSE_INTERNAL_H
#define UK_DENSE_INTERNAL_H
#include "dense.h"

#pragma clang assume_nonnull begin

// The longest block of k, and the floats of the largest packed blocks of b and a.
enum { UK_GEMM_SCRATCH_K = 384, UK_GEMM_SCRATCH = UK_GEMM_SCRATCH_K * (768 + 96) };
/// Blocks of n of about equal length, a multiple of `unit`, at most `most`, which is one, too. n is not 0.
static inline size_t uk_gemm_block(size_t n, size_t most, size_t unit) {
    const size_t blocks = (n + most - 1) / most;
    return ((n + blocks - 1) / blocks + unit - 1) / unit * unit;
}
/// Blocks of k, which is not 0.
static inline size_t uk_gemm_step(size_t k) {
    return uk_gemm_block(k, UK_GEMM_SCRATCH_K, 8);
}
// Queries whose scores are held at a time: a multiple of every tile's rows.
enum { UK_ATTENTION_BLOCK = 48 };

typedef struct uk_dense_functions {
    void (*gemm)(const uk_gemm *g, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end, float *scratch);
    void (*rms_norm_forward)(const float *x, const float *w, size_t rows, size_t n, float epsilon, float *y, float *inverse);
    void (*rms_norm_backward)(const float *x, const float *w, const float *inverse, const float *dy, size_t rows, size_t n,
                              float *dx, float *_Nullable dw);
    void (*swiglu_forward)(const float *g, const float *u, size_t n, float *h);
    void (*swiglu_backward)(const float *g, const float *u, const float *dh, size_t n, float *dg, float *du);
    void (*rope_rows)(float *x, size_t rows, size_t stride, size_t heads, size_t head_dimension, const int32_t *positions,
                      const float *cos, const float *sin, bool inverse);
    void (*attention_forward)(const uk_sequence_attention *a, size_t head_begin, size_t head_end, float *scratch);
    void (*attention_backward)(const uk_sequence_attention *a, const float *d_out, size_t kv_head, float *dq, float *dk, float *dv,
                               float *scratch);
    float (*softmax_row)(float *logits, size_t n);
    void (*adamw)(float *p, const float *g, float *m, float *v, size_t n, float lr, float beta1, float beta2, float epsilon, float decay,
                  float correction1, float correction2, float g_scale);
    double (*sum_of_squares)(const float *x, size_t n);
    float (*dot)(const float *x, const float *y, size_t n);
    void (*scale)(float *x, size_t n, float a);
    void (*column_sums)(const float *x, size_t rows, size_t stride, size_t n, float *y);
    float (*multiply_adds)(size_t repeats);
    size_t (*multiply_adds_count)(void);
} uk_dense_functions;

extern const uk_dense_functions uk_dense_scalar;
void uk_gemm_bf16_scalar(const uk_gemm *g, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end);
void uk_gemm_int16_scalar(const uk_gemm *g, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end);
#if defined(__x86_64__)
extern const uk_dense_functions uk_dense_avx2;
extern const uk_dense_functions uk_dense_avx512;
void uk_gemm_bf16_avx512(const uk_gemm *g, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end, float *scratch);
void uk_gemm_int16_avx2(const uk_gemm *g, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end, float *scratch);
#endif
#if defined(__aarch64__)
extern const uk_dense_functions uk_dense_neon;
#endif

#pragma clang assume_nonnull end
#endif
