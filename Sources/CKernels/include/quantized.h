// Packed weights and the products with them that inference is made of.
//
// Weights are packed once, at load, into tiles of 16 output rows by groups of 32 inputs, so that one
// 64-byte load holds four consecutive inputs of sixteen rows. Integers are stored without sign:
//   value = d·u + m   with u in 0…15 (P4) or 0…255 (P8), d and m per row and group, stored as f16.
// Activations are quantised to int8 by groups of 32 (scale = max|x| / 127).
// F32 keeps floats, tiled by 16 rows ([k][16]), for exact runs.
#ifndef UK_QUANTIZED_H
#define UK_QUANTIZED_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__clang__)
#pragma clang assume_nonnull begin
#endif

enum { UK_TILE_ROWS = 16, UK_GROUP = 32 };

typedef enum uk_packed {
    UK_PACKED_F32 = 0,
    UK_PACKED_P4_0 = 1,  // 4 bits, d; m = -8d            (from Q4_0)
    UK_PACKED_P4_1 = 2,  // 4 bits, d, m                  (from Q4_1, Q4_K)
    UK_PACKED_P8_0 = 3,  // 8 bits, d; m = -128d          (from Q8_0, Q5_0; other types requantised)
    UK_PACKED_P8_1 = 4,  // 8 bits, d, m                  (from Q5_1, Q5_K)
} uk_packed;

/// Bytes of one tile of 16 rows by k inputs (k a multiple of 32 for the integer formats). A multiple of 64.
size_t uk_packed_tile_bytes(uk_packed format, size_t k);
/// The format that holds rows of GGML type `type` without loss, or with the least (P8_0).
uk_packed uk_packed_for_type(int type);
/// Packs 16 rows of k elements of GGML type `type` into `tile` (64-byte aligned). A NULL row is zeros.
void uk_pack_tile(uk_packed format, int type, const void *_Nullable const rows[_Nonnull UK_TILE_ROWS], size_t k, void *tile);
/// dst[k] = row `row` of the packed matrix (rows counted over all tiles).
void uk_unpack_row(uk_packed format, const void *packed, size_t k, size_t row, float *dst);

/// q[k] = round(x / scale), scale[k/32] = max|x| / 127 of the group, sum[k/32] = scale · Σ q of the group.
void uk_quantize_activations(const float *x, size_t k, int8_t *q, float *scale, float *sum);

typedef struct uk_matmul {
    uk_packed format;
    const void *weights;              // tiles, as packed
    size_t rows, k;                   // [rows, k]; rows need not be a multiple of 16
    size_t tokens;
    const float *_Nullable x;         // F32: [tokens, x_stride]
    size_t x_stride;
    const int8_t *_Nullable q;        // else [tokens, k]
    const float *_Nullable scale;     // [tokens, k/32]
    const float *_Nullable sum;       // [tokens, k/32]
    float *y;                         // [tokens, y_stride], must not alias the inputs
    size_t y_stride;
    bool accumulate;                  // y += instead of y =
} uk_matmul;

/// y[t, n] = Σ_k x[t, k] · w[n, k] for the rows of tiles tile_begin ..< tile_end.
/// Each output's sum is formed in one fixed order whatever `tokens` is: batched equals single, bit for bit.
void uk_matmul_packed(const uk_matmul *arguments, size_t tile_begin, size_t tile_end);

#if defined(__clang__)
#pragma clang assume_nonnull end
#endif
#endif
