// What inference needs beside the products: attention over a paged cache, RMS norm, RoPE, gated activations, softmax.
#ifndef UK_ATTENTION_H
#define UK_ATTENTION_H
#include <stddef.h>
#include <stdint.h>

#if defined(__clang__)
#pragma clang assume_nonnull begin
#endif

enum { UK_PAGE_TOKENS = 16 };

/// How a page keeps the keys (or values) of one head's 16 tokens: values [16, head_dimension], keys the other way round,
/// [head_dimension, 16], so that one load has the same element of many keys.
typedef enum uk_cache_format {
    UK_CACHE_F16 = 0,  // f16
    UK_CACHE_Q8 = 1,   // int8, then [16] f32 scales: a token's elements are scale · q, scale = max|x| / 127
    UK_CACHE_F32 = 2,  // f32, for exact runs
} uk_cache_format;

/// Bytes of one head's keys (or values) of 16 tokens. A multiple of 64 when head_dimension is one of 4 (Q8) or 2 (F16).
size_t uk_cache_rows_bytes(uk_cache_format format, size_t head_dimension);
/// Stores x[head_dimension] as that of token `row` (0 ..< 16) in the page's part at `rows` (4-byte aligned).
void uk_cache_store_key(uk_cache_format format, const float *x, size_t head_dimension, void *rows, size_t row);
void uk_cache_store_value(uk_cache_format format, const float *x, size_t head_dimension, void *rows, size_t row);

typedef struct uk_attention {
    size_t heads, kv_heads, head_dimension;  // heads a multiple of kv_heads; head_dimension a multiple of 8
    size_t tokens;                           // new tokens, at positions start ..< start + tokens
    size_t start;
    const float *q;                          // [tokens, q_stride], a token's heads side by side
    size_t q_stride;
    uk_cache_format format;
    const void *_Nonnull const *_Nonnull pages;  // page p holds positions 16p ..< 16p + 16; all up to start + tokens are filled
    size_t key_offset, value_offset;         // bytes from a page's begin to kv head 0's rows
    size_t head_stride;                      // bytes from one kv head's rows to the next one's
    size_t window;                           // a token sees this many positions, its own included; 0: all before it
    float scale;                             // usually 1 / sqrt(head_dimension)
    float *out;                              // [tokens, out_stride]
    size_t out_stride;
} uk_attention;

/// Floats of scratch that one call needs.
size_t uk_attention_scratch(const uk_attention *arguments);
/// Causal softmax attention of tokens token_begin ..< token_end for the query heads of one kv head, with an online
/// softmax (Dao et al. 2022) in fp32. A token's result does not depend on which tokens share the call, bit for bit.
void uk_attention_forward(const uk_attention *arguments, size_t kv_head, size_t token_begin, size_t token_end, float *scratch);

/// y[n] = x[n] / sqrt(mean(x²) + epsilon) · w[n]. y may be x.
void uk_rms_norm(const float *x, const float *w, size_t n, float epsilon, float *y);
/// Rotates `heads` heads of [head_dimension] in place; pairs are (i, i + half); cos, sin: [half] of the position.
void uk_rope(float *x, size_t heads, size_t head_dimension, const float *cos, const float *sin);
/// y[n] = silu(gate[n]) · up[n]. y may be gate or up.
void uk_swiglu(const float *gate, const float *up, size_t n, float *y);
/// y[n] = gelu(gate[n]) · up[n], with the tanh approximation (Hendrycks & Gimpel 2016). y may be gate or up.
void uk_geglu(const float *gate, const float *up, size_t n, float *y);
/// log Σ exp(x); the place of the greatest (the first of equals) goes to *best. NaN counts as -infinity.
float uk_log_sum_exp(const float *x, size_t n, size_t *best);
/// w[n] = exp((x[n] - top) · factor), 0 where x is not a number; returns Σ w.
float uk_exp_weights(const float *x, size_t n, float top, float factor, float *w);
/// x += y, both [n].
void uk_add(float *x, const float *y, size_t n);
/// x += a·y, both [n].
void uk_axpy(float a, const float *y, size_t n, float *x);
/// x = softmax(x), with the maximum subtracted; returns log Σ exp(x).
float uk_softmax(float *x, size_t n);
/// f32 → f16, round to nearest even.
void uk_convert_f16(const float *x, size_t n, uint16_t *y);

#if defined(__clang__)
#pragma clang assume_nonnull end
#endif
#endif
