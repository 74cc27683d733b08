// quantized.h for AArch64 Advanced SIMD. Included with UK_QUANTIZED_TABLE (the table's name) defined and, inside the
// target's pragma, UK_DOT where the processor has the dot product instructions.
#include <arm_neon.h>
#define UK_LANES 4
#include "lanes.h"
#include "quantized_kernels.h"

static void quantize(const float *x, size_t k, int8_t *q, float *scale, float *sum) {
    for (size_t g = 0; g < k / UK_GROUP; g++) {
        float32x4_t v[8], top = vdupq_n_f32(0), zeros = top;
        for (size_t i = 0; i < 8; i++) {
            v[i] = vld1q_f32(x + g * UK_GROUP + 4 * i);
            top = vmaxnmq_f32(top, vabsq_f32(v[i]));
            // 0 · x is zero for finite x only.
            zeros = vaddq_f32(zeros, vmulq_f32(v[i], vdupq_n_f32(0)));
        }
        const float largest = vmaxnmvq_f32(top), nothing = vaddvq_f32(zeros);
        const bool finite = nothing == nothing;
        if (!finite || largest < UK_SMALLEST_ACTIVATION) {
            memset(q + g * UK_GROUP, 0, UK_GROUP);
            scale[g] = sum[g] = finite ? 0 : NAN;
            continue;
        }
        const float step = largest / 127.0f, inverse = 127.0f / largest;
        int32x4_t total = vdupq_n_s32(0);
        for (size_t i = 0; i < 8; i += 2) {
            const int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(v[i], inverse)), high = vcvtnq_s32_f32(vmulq_n_f32(v[i + 1], inverse));
            total = vaddq_s32(total, vaddq_s32(low, high));
            vst1_s8(q + g * UK_GROUP + 4 * i, vmovn_s16(vcombine_s16(vmovn_s32(low), vmovn_s32(high))));
        }
        scale[g] = step;
        sum[g] = step * (float)vaddvq_s32(total);
    }
}

/// sum[r] += Σ_j w[4r + j] · x[4r + j].
UK_INLINE int32x4_t dot(int32x4_t sum, int8x16_t w, int8x16_t x) {
#if defined(UK_DOT)
    return vdotq_s32(sum, w, x);
#else
    const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(x))), high = vpaddlq_s16(vmull_high_s8(w, x));
    return vaddq_s32(sum, vpaddq_s32(low, high));
#endif
}

/// Outputs of `count` tokens (a constant where this is inlined) for one tile. Levels of eight bits are made signed first
/// (level - 128): their sum with the activations is put right by 128 times the activations' own.
UK_INLINE void tile_tokens(const uk_matmul *a, size_t tile, size_t token, const size_t count, uk_packed format) {
    const bool four = format == UK_PACKED_P4_0 || format == UK_PACKED_P4_1;
    const bool offset = format == UK_PACKED_P4_1 || format == UK_PACKED_P8_1;
    const size_t groups = a->k / UK_GROUP, bytes = uk_packed_group_bytes(format);
    const uint8_t *at = (const uint8_t *)a->weights + tile * uk_packed_tile_bytes(format, a->k);
    const int8_t *q = a->q + token * a->k;
    const float *scale = a->scale + token * groups, *sum = a->sum + token * groups;
    float32x4_t total[2][4], rest[2][4];
#pragma clang loop unroll(full)
    for (size_t t = 0; t < count; t++)
        for (size_t r = 0; r < 4; r++) total[t][r] = rest[t][r] = vdupq_n_f32(0);
    for (size_t g = 0; g < groups; g++, at += bytes) {
        const uint8_t *u = at + (offset ? 64 : 32);
        int8x16_t words[2][8];
        int32_t correction[2];
#pragma clang loop unroll(full)
        for (size_t t = 0; t < count; t++) {
            const int8_t *own = q + t * a->k + g * UK_GROUP;
            for (size_t i = 0; i < 8; i++) {
                int32_t word;
                memcpy(&word, own + 4 * i, 4);
                words[t][i] = vreinterpretq_s8_s32(vdupq_n_s32(word));
            }
            correction[t] = four ? 0 : 128 * (vaddlvq_s8(vld1q_s8(own)) + vaddlvq_s8(vld1q_s8(own + 16)));
        }
#pragma clang loop unroll(full)
        for (size_t r = 0; r < 4; r++) {
            const float32x4_t d = vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(at + 8 * r)));
            const float32x4_t m = offset ? vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(at + 32 + 8 * r))) : d;
            int32x4_t sums[2];
            for (size_t t = 0; t < count; t++) sums[t] = vdupq_n_s32(correction[t]);
#pragma clang loop unroll(full)
            for (size_t i = 0; i < (four ? 4 : 8); i++) {
                const uint8x16_t v = vld1q_u8(u + 64 * i + 16 * r);
                if (four) {
                    const int8x16_t low = vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(15)));
                    const int8x16_t high = vreinterpretq_s8_u8(vshrq_n_u8(v, 4));
                    for (size_t t = 0; t < count; t++) sums[t] = dot(dot(sums[t], low, words[t][i]), high, words[t][i + 4]);
                } else {
                    const int8x16_t w = vreinterpretq_s8_u8(veorq_u8(v, vdupq_n_u8(128)));
                    for (size_t t = 0; t < count; t++) sums[t] = dot(sums[t], w, words[t][i]);
                }
            }
#pragma clang loop unroll(full)
            for (size_t t = 0; t < count; t++) {
                total[t][r] = vfmaq_f32(total[t][r], vmulq_n_f32(d, scale[t * groups + g]), vcvtq_f32_s32(sums[t]));
                rest[t][r] = vfmaq_n_f32(rest[t][r], m, sum[t * groups + g]);
            }
        }
    }
    const float factor = offset ? 1 : four ? -8 : -128;
    const size_t first = tile * UK_TILE_ROWS, rows = a->rows - first < UK_TILE_ROWS ? a->rows - first : UK_TILE_ROWS;
    for (size_t t = 0; t < count; t++) {
        float values[UK_TILE_ROWS];
        for (size_t r = 0; r < 4; r++) vst1q_f32(values + 4 * r, vfmaq_n_f32(total[t][r], rest[t][r], factor));
        float *y = a->y + (token + t) * a->y_stride + first;
        for (size_t r = 0; r < rows; r++) y[r] = a->accumulate ? y[r] + values[r] : values[r];
    }
}

UK_INLINE void matmul(const uk_matmul *a, size_t tile_begin, size_t tile_end, uk_packed format) {
    for (size_t tile = tile_begin; tile < tile_end; tile++) {
        size_t t = 0;
        for (; t + 2 <= a->tokens; t += 2) tile_tokens(a, tile, t, 2, format);
        for (; t < a->tokens; t++) tile_tokens(a, tile, t, 1, format);
    }
}

static void matmul_p4_0(const uk_matmul *a, size_t begin, size_t end) { matmul(a, begin, end, UK_PACKED_P4_0); }
static void matmul_p4_1(const uk_matmul *a, size_t begin, size_t end) { matmul(a, begin, end, UK_PACKED_P4_1); }
static void matmul_p8_0(const uk_matmul *a, size_t begin, size_t end) { matmul(a, begin, end, UK_PACKED_P8_0); }
static void matmul_p8_1(const uk_matmul *a, size_t begin, size_t end) { matmul(a, begin, end, UK_PACKED_P8_1); }

#include "quantized_lanes.h"

const uk_quantized_kernels UK_QUANTIZED_TABLE = {
    quantize,
    {matmul_f32, matmul_p4_0, matmul_p4_1, matmul_p8_0, matmul_p8_1},
};
