// Inside CKernels: the table of each instruction set's attention and small layers.
#ifndef UK_ATTENTION_KERNELS_H
#define UK_ATTENTION_KERNELS_H
#include "CKernels.h"

enum {
    UK_ATTENTION_KEYS = 64,      // keys in one block of the online softmax, counted from position 0
    UK_ATTENTION_QUERIES = 4,    // queries worked on at once
    UK_ATTENTION_TOKENS = 32,    // tokens for which a block of keys and values is converted once
};

typedef struct uk_attention_kernels {
    void (*attention)(const uk_attention *arguments, size_t kv_head, size_t token_begin, size_t token_end, float *scratch);
    void (*rms_norm)(const float *x, const float *w, size_t n, float epsilon, float *y);
    void (*rope)(float *x, size_t heads, size_t head_dimension, const float *cos, const float *sin);
    void (*swiglu)(const float *gate, const float *up, size_t n, float *y);
    void (*geglu)(const float *gate, const float *up, size_t n, float *y);
    float (*exp_weights)(const float *x, size_t n, float top, float factor, float *w);
    void (*add)(float *x, const float *y, size_t n);
    void (*axpy)(float a, const float *y, size_t n, float *x);
    float (*softmax)(float *x, size_t n);
    void (*convert_f16)(const float *x, size_t n, uint16_t *y);
} uk_attention_kernels;

extern const uk_attention_kernels uk_attention_scalar;
#if defined(__x86_64__)
extern const uk_attention_kernels uk_attention_avx2;
extern const uk_attention_kernels uk_attention_avx512;
#endif
#if defined(__aarch64__)
extern const uk_attention_kernels uk_attention_neon;
#endif

/// Queries of a kv head for which running sums are kept at a time.
static inline size_t uk_attention_rows(const uk_attention *a) {
    const size_t tokens = a->tokens < UK_ATTENTION_TOKENS ? a->tokens : UK_ATTENTION_TOKENS;
    return a->kv_heads ? tokens * (a->heads / a->kv_heads) : 0;
}

/// The scratch of one call, each part but the last two 64-byte aligned.
typedef struct uk_attention_buffers {
    size_t padded;                     // head_dimension rounded up to a multiple of 16
    float *keys;                       // [head_dimension, UK_ATTENTION_KEYS]
    float *values;                     // [UK_ATTENTION_KEYS, padded]
    float *scores;                     // [UK_ATTENTION_QUERIES, UK_ATTENTION_KEYS]
    float *sums;                       // [rows, padded]: Σ exp(score - largest) · value
    float *largest, *total;            // [rows]
} uk_attention_buffers;

static inline uk_attention_buffers uk_attention_layout(const uk_attention *a, float *scratch) {
    uk_attention_buffers b;
    const size_t rows = uk_attention_rows(a);
    b.padded = (a->head_dimension + 15) / 16 * 16;
    b.keys = (float *)(((uintptr_t)scratch + 63) / 64 * 64);
    b.values = b.keys + UK_ATTENTION_KEYS * a->head_dimension;
    b.scores = b.values + UK_ATTENTION_KEYS * b.padded;
    b.sums = b.scores + UK_ATTENTION_QUERIES * UK_ATTENTION_KEYS;
    b.largest = b.sums + rows * b.padded;
    b.total = b.largest + rows;
    return b;
}

/// The rows of kv head `kv_head` in page `position / 16` that hold `position`; `offset` is that of keys or values.
static inline const uint8_t *uk_page_rows(const uk_attention *a, size_t offset, size_t kv_head, size_t position) {
    return (const uint8_t *)a->pages[position / UK_PAGE_TOKENS] + offset + kv_head * a->head_stride;
}

/// The first position that the token at `position` sees.
static inline size_t uk_first_seen(const uk_attention *a, size_t position) {
    return a->window && position + 1 > a->window ? position + 1 - a->window : 0;
}
#endif
