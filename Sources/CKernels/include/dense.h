// fp32 kernels for training: matrix products in every orientation, and forward/backward pairs of the small layers.
// All matrices are row-major with explicit strides, in elements. Sums are fp32 unless said otherwise. Every result
// is the same, bit for bit, whatever how many threads split the work along m or n.
#ifndef UK_DENSE_H
#define UK_DENSE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__clang__)
#pragma clang assume_nonnull begin
#endif

typedef struct uk_gemm {
    size_t m, n, k;
    const float *a;                       // element (i, p) at a[i * a_row + p * a_column]
    size_t a_row, a_column;               // one of the two is 1
    const float *b;                       // element (p, j) at b[p * b_row + j * b_column]
    size_t b_row, b_column;               // one of the two is 1
    float *c;                             // element (i, j) at c[i * c_row + j]; aliases neither a nor b
    size_t c_row;
    bool accumulate;                      // c += instead of c =
} uk_gemm;

/// Floats of scratch (64-byte aligned) that one thread needs for any product.
size_t uk_gemm_scratch(void);
/// c[i, j] (+)= Σ_p a[i, p] · b[p, j] for rows i in m_begin ..< m_end and columns j in n_begin ..< n_end.
/// k = 0 gives zero (or leaves c when accumulating).
void uk_gemm_f32(const uk_gemm *g, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end, float *scratch);
/// Whether the instruction set in use multiplies bfloat16 (AVX512-BF16).
bool uk_has_bf16_products(void);
/// uk_gemm_f32 with a and b rounded to bfloat16 (to nearest even; subnormal numbers count as zero) and sums in fp32. Where the
/// instruction set in use does not multiply them a scalar twin does, for tests: that is slow.
void uk_gemm_bf16(const uk_gemm *g, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end, float *scratch);
/// Whether the instruction set in use multiplies integers of 16 bits for uk_gemm_int16 (AVX2).
bool uk_has_int16_products(void);
/// uk_gemm_f32 in block floating point: in each block of at most 384 of k, each row of a and each column of b is rounded to
/// integers of 16 bits with a scale of its own, which makes its Euclidean norm 46,300, or its greatest element 32,766 where
/// that is less. Then no sum of a block leaves 32 bits; blocks add up in fp32. A block's sum is off by at most
/// √k · |a| · |b| / 32,766, with |a|, |b| for the norms of row and column. Rows and columns whose elements are all below
/// 1e-30 are zero there; one with an element that is not finite gives what is not finite. Where the instruction set in use
/// does not multiply so a scalar twin does, for tests: that is slow.
void uk_gemm_int16(const uk_gemm *g, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end, float *scratch);

/// Row by row: y = x · inverse · w with inverse = 1 / sqrt(mean(x²) + epsilon), which is kept in inverse[rows].
void uk_rms_norm_forward(const float *x, const float *w, size_t rows, size_t n, float epsilon, float *y, float *inverse);
/// dx += gradient of the norm (dx may already hold the residual's); dw[n] += when not NULL.
void uk_rms_norm_backward(const float *x, const float *w, const float *inverse, const float *dy, size_t rows, size_t n,
                          float *dx, float *_Nullable dw);
/// h = silu(g) · u over n elements.
void uk_swiglu_forward(const float *g, const float *u, size_t n, float *h);
/// dg, du from dh; dg may alias dh or g, du may alias u.
void uk_swiglu_backward(const float *g, const float *u, const float *dh, size_t n, float *dg, float *du);
/// Rotates rows of heads in place, pairs (i, i + half); row r uses cos/sin[positions[r] * half ..]. inverse: the backward rotation.
void uk_rope_rows(float *x, size_t rows, size_t stride, size_t heads, size_t head_dimension, const int32_t *positions,
                  const float *cos, const float *sin, bool inverse);

typedef struct uk_sequence_attention {
    size_t tokens;                        // of one sequence; attention is causal within it
    size_t queries;                       // of its tokens, the last so many attend: at most tokens
    size_t heads, kv_heads, head_dimension;
    const float *q, *k, *v;               // query i's heads side by side at q + i * q_stride, token t's at k/v + t * kv_stride
    size_t q_stride, kv_stride;
    float scale;
    float *out;                           // [queries, out_stride]
    size_t out_stride;
    float *lse;                           // [heads, queries]: log Σ exp of each query's scores
} uk_sequence_attention;

/// Floats of scratch (64-byte aligned) for a sequence of this many tokens (forward and backward).
size_t uk_sequence_attention_scratch(size_t tokens, size_t head_dimension);
/// Causal softmax attention of one sequence, query heads head_begin ..< head_end.
void uk_sequence_attention_forward(const uk_sequence_attention *a, size_t head_begin, size_t head_end, float *scratch);
/// The gradients, one kv head (with all its query heads) at a time: dq, dk, dv have the strides of q, k, v and are written (not added to)
/// for that head. d_out has out_stride; `a->out` and `a->lse` are the forward's results.
void uk_sequence_attention_backward(const uk_sequence_attention *a, const float *d_out, size_t kv_head, float *dq, float *dk, float *dv,
                                    float *scratch);

/// In place: logits[n] → exp(logits - lse); returns lse = log Σ exp(logits).
float uk_softmax_row(float *logits, size_t n);
/// p -= lr · (m̂ / (sqrt(v̂) + epsilon) + decay · p), AdamW (Loshchilov & Hutter 2019); g is multiplied by g_scale first.
/// correction1 = 1 - beta1^t, correction2 = 1 - beta2^t.
void uk_adamw(float *p, const float *g, float *m, float *v, size_t n, float lr, float beta1, float beta2, float epsilon, float decay,
              float correction1, float correction2, float g_scale);
/// Σ x², in double.
double uk_sum_of_squares(const float *x, size_t n);
/// Σ x · y.
float uk_dot(const float *x, const float *y, size_t n);
/// x *= a.
void uk_scale(float *x, size_t n, float a);
/// y[j] += Σ_r x[r * stride + j] for n columns, row after row.
void uk_column_sums(const float *x, size_t rows, size_t stride, size_t n, float *y);
/// Multiply-adds in registers alone, for measuring what a core can do: repeats times as many as uk_multiply_adds_count says.
float uk_multiply_adds(size_t repeats);
/// Multiply-adds of one repeat.
size_t uk_multiply_adds_count(void);

#if defined(__clang__)
#pragma clang assume_nonnull end
#endif
#endif
