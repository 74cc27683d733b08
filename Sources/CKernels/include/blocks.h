// GGML's block formats: their sizes, to float and back. Numbers are GGUF's type ids.
#ifndef UK_BLOCKS_H
#define UK_BLOCKS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__clang__)
#pragma clang assume_nonnull begin
#endif

typedef enum uk_type {
    UK_TYPE_F32 = 0, UK_TYPE_F16 = 1, UK_TYPE_Q4_0 = 2, UK_TYPE_Q4_1 = 3, UK_TYPE_Q5_0 = 6, UK_TYPE_Q5_1 = 7,
    UK_TYPE_Q8_0 = 8, UK_TYPE_Q4_K = 12, UK_TYPE_Q5_K = 13, UK_TYPE_Q6_K = 14, UK_TYPE_BF16 = 30,
} uk_type;

/// Elements in one block (1 for the float types), or 0 for a type this library does not read.
size_t uk_block_elements(int type);
/// Bytes of one block, or 0 for a type this library does not read.
size_t uk_block_bytes(int type);
/// dst[k] = the values of a row of k elements (k a multiple of the block's elements). `src` needs no alignment.
void uk_dequantize_row(int type, const void *src, size_t k, float *dst);
/// The row as blocks of F32, F16, BF16, Q8_0, Q4_0 or Q4_1, rounding to nearest even. False for another type.
bool uk_quantize_row(int type, const float *src, size_t k, void *dst);
/// The row as blocks of Q8_0, Q4_0, Q4_1, Q4_K or Q6_K with the least square error a search finds, each element's error
/// weighted by weights[k] (not negative; NULL: all alike) times its size; float types as `uk_quantize_row`. False for another
/// type.
bool uk_quantize_row_weighted(int type, const float *src, size_t k, const float *_Nullable weights, void *dst);
float uk_f16_to_f32(uint16_t h);
uint16_t uk_f32_to_f16(float f);

#if defined(__clang__)
#pragma clang assume_nonnull end
#endif
#endif
