// What inference needs beside the products: attention over an f16 cache, RMS norm, RoPE, SwiGLU, softmax.
#ifndef UK_ATTENTION_H
#define UK_ATTENTION_H
#include <stddef.h>
#include <stdint.h>

#if defined(__clang__)
#pragma clang assume_nonnull begin
#endif

typedef struct uk_attention {
    size_t heads, kv_heads, head_dimension;  // heads a multiple of kv_heads; head_dimension a multiple of 8
    size_t tokens;                           // new tokens, at positions start ..< start + tokens
    size_t start;
    const float *q;                          // [tokens, q_stride], a token's heads side by side
    size_t q_stride;
    const uint16_t *keys;                    // f16, [kv_heads, capacity, head_dimension]; rows 0 ..< start + tokens are filled
    const uint16_t *values;                  // f16, the same
    size_t capacity;                         // rows a kv head has room for
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
