// Packing, and the choice of kernel. The layout is described in quantized_kernels.h.
#include "quantized_kernels.h"

#include <math.h>
#include <string.h>

static const uk_quantized_kernels *kernels(void) {
    switch (uk_isa_active()) {
#if defined(__x86_64__)
    case UK_ISA_AVX512: return &uk_quantized_avx512;
    case UK_ISA_AVX2: return &uk_quantized_avx2;
#endif
#if defined(__aarch64__)
    case UK_ISA_NEON: return uk_isa_has_dot_product() ? &uk_quantized_neon_dot : &uk_quantized_neon;
#endif
    default: return &uk_quantized_scalar;
    }
}

void uk_quantize_activations(const float *x, size_t k, int8_t *q, float *scale, float *sum) {
    kernels()->quantize(x, k, q, scale, sum);
}

void uk_matmul_packed(const uk_matmul *arguments, size_t tile_begin, size_t tile_end) {
    kernels()->matmul[arguments->format](arguments, tile_begin, tile_end);
}

size_t uk_packed_tile_bytes(uk_packed format, size_t k) {
    if (format == UK_PACKED_F32) return UK_TILE_ROWS * sizeof(float) * k;
    return (k / UK_GROUP * uk_packed_group_bytes(format) + 63) / 64 * 64;
}

uk_packed uk_packed_for_type(int type) {
    switch (type) {
    case UK_TYPE_Q4_0: return UK_PACKED_P4_0;
    case UK_TYPE_Q4_1: case UK_TYPE_Q4_K: return UK_PACKED_P4_1;
    case UK_TYPE_Q5_1: case UK_TYPE_Q5_K: return UK_PACKED_P8_1;
    default: return UK_PACKED_P8_0;
    }
}

// One row's part of a group: value = d · level + m, where m counts only in the formats that store it.
typedef struct row_group {
    uint8_t level[UK_GROUP];
    uint16_t d, m;
} row_group;

static uint16_t load16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

// The levels of group `index` of a row, as its blocks store them. False when `type` does not fit `format`.
static bool exact_levels(uk_packed format, int type, const uint8_t *row, size_t index, row_group *out) {
    if (format != uk_packed_for_type(type) || uk_block_elements(type) < UK_GROUP) return false;
    const uint8_t *b = row + index / (uk_block_elements(type) / UK_GROUP) * uk_block_bytes(type);
    out->d = load16(b);
    out->m = 0;
    switch (type) {
    case UK_TYPE_Q4_0: case UK_TYPE_Q4_1: {
        const uint8_t *q = b + (type == UK_TYPE_Q4_1 ? 4 : 2);
        if (type == UK_TYPE_Q4_1) out->m = load16(b + 2);
        for (int i = 0; i < 16; i++) {
            out->level[i] = q[i] & 15;
            out->level[i + 16] = q[i] >> 4;
        }
        return true;
    }
    case UK_TYPE_Q5_0: case UK_TYPE_Q5_1: {
        const uint8_t *high = b + (type == UK_TYPE_Q5_1 ? 4 : 2), *q = high + 4;
        const int bias = type == UK_TYPE_Q5_1 ? 0 : 128 - 16;
        if (type == UK_TYPE_Q5_1) out->m = load16(b + 2);
        for (int i = 0; i < 16; i++) {
            out->level[i] = (uint8_t)(((q[i] & 15) | ((high[i / 8] >> i % 8) & 1) << 4) + bias);
            out->level[i + 16] = (uint8_t)(((q[i] >> 4) | ((high[2 + i / 8] >> i % 8) & 1) << 4) + bias);
        }
        return true;
    }
    case UK_TYPE_Q8_0:
        for (int i = 0; i < 32; i++) out->level[i] = b[2 + i] ^ 0x80;
        return true;
    case UK_TYPE_Q4_K: case UK_TYPE_Q5_K: {
        // Eight groups with 6-bit scales and minima; their products with d and dmin are rounded to f16 here.
        const bool five = type == UK_TYPE_Q5_K;
        const size_t j = index % 8;
        const uint8_t *s = b + 4, *high = b + 16, *q = b + (five ? 48 : 16) + j / 2 * 32;
        const int step = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
        const int floor = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | s[j] >> 6 << 4;
        out->m = uk_f32_to_f16(-uk_f16_to_f32(load16(b + 2)) * (float)floor);
        out->d = uk_f32_to_f16(uk_f16_to_f32(load16(b)) * (float)step);
        for (int i = 0; i < 32; i++) {
            out->level[i] = j % 2 ? q[i] >> 4 : q[i] & 15;
            if (five) out->level[i] |= (uint8_t)(((high[i] >> j) & 1) << 4);
        }
        return true;
    }
    default: return false;
    }
}

static uint8_t nearest_level(float v, int top) { return v > 0 ? v < (float)top ? (uint8_t)lrintf(v) : (uint8_t)top : 0; }

// The nearest f16 to v ≥ 0 that is finite and, when rounding lost more than 1 part in 256, not below it.
static uint16_t step_f16(float v) {
    if (!(v < 65504)) return 0x7bff;
    const uint16_t h = uk_f32_to_f16(v);
    return uk_f16_to_f32(h) < v * (255.0f / 256) ? h + 1 : h;
}

static void rounded_levels(uk_packed format, const float *v, row_group *out) {
    float low = v[0], high = v[0];
    for (int i = 1; i < UK_GROUP; i++) {
        if (v[i] < low) low = v[i];
        if (v[i] > high) high = v[i];
    }
    const float largest = fmaxf(fabsf(low), fabsf(high));
    const int top = format == UK_PACKED_P4_0 || format == UK_PACKED_P4_1 ? 15 : 255;
    float bias = 0;
    out->m = 0;
    switch (format) {
    case UK_PACKED_P4_0:  // the largest value is level 0 or, with a negative step, too
        bias = 8;
        out->d = step_f16(largest / 8);
        if (high > -low) out->d |= 0x8000;
        break;
    case UK_PACKED_P8_0:
        bias = 128;
        out->d = step_f16(largest / 127);
        break;
    default:
        out->m = uk_f32_to_f16(fmaxf(fminf(low, 65504), -65504));
        out->d = step_f16((high - uk_f16_to_f32(out->m)) / (float)top);
    }
    const float d = uk_f16_to_f32(out->d), inverse = d != 0 ? 1 / d : 0, m = uk_f16_to_f32(out->m);
    for (int i = 0; i < UK_GROUP; i++) out->level[i] = nearest_level((v[i] - m) * inverse + bias, top);
}

static void put_group(uk_packed format, const row_group *g, size_t r, uint8_t *at) {
    const bool offset = format == UK_PACKED_P4_1 || format == UK_PACKED_P8_1;
    at[2 * r] = (uint8_t)g->d;
    at[2 * r + 1] = (uint8_t)(g->d >> 8);
    at += 32;
    if (offset) {
        at[2 * r] = (uint8_t)g->m;
        at[2 * r + 1] = (uint8_t)(g->m >> 8);
        at += 32;
    }
    if (format == UK_PACKED_P4_0 || format == UK_PACKED_P4_1) {
        for (size_t i = 0; i < 16; i++) at[i / 4 * 64 + 4 * r + i % 4] = (uint8_t)(g->level[i] | g->level[i + 16] << 4);
    } else {
        for (size_t i = 0; i < 32; i++) at[i / 4 * 64 + 4 * r + i % 4] = g->level[i];
    }
}

void uk_pack_tile(uk_packed format, int type, const void *const rows[UK_TILE_ROWS], size_t k, void *tile) {
    enum { CHUNK = 256 };  // a multiple of every type's block
    memset(tile, 0, uk_packed_tile_bytes(format, k));
    const size_t elements = uk_block_elements(type);
    if (elements == 0) return;
    for (size_t r = 0; r < UK_TILE_ROWS; r++) {
        if (!rows[r]) continue;
        const uint8_t *row = rows[r];
        float values[CHUNK];
        for (size_t i = 0; i < k; i++) {
            if (i % CHUNK == 0)
                uk_dequantize_row(type, row + i / elements * uk_block_bytes(type), k - i < CHUNK ? k - i : CHUNK, values);
            if (format == UK_PACKED_F32) {
                ((float *)tile)[i * UK_TILE_ROWS + r] = values[i % CHUNK];
            } else if (i % UK_GROUP == 0 && k - i >= UK_GROUP) {
                row_group g;
                if (!exact_levels(format, type, row, i / UK_GROUP, &g)) rounded_levels(format, values + i % CHUNK, &g);
                put_group(format, &g, r, (uint8_t *)tile + i / UK_GROUP * uk_packed_group_bytes(format));
            }
        }
    }
}

void uk_unpack_row(uk_packed format, const void *packed, size_t k, size_t row, float *dst) {
    const size_t tile_bytes = uk_packed_tile_bytes(format, k), r = row % UK_TILE_ROWS;
    const uint8_t *tile = (const uint8_t *)packed + row / UK_TILE_ROWS * tile_bytes;
    if (format == UK_PACKED_F32) {
        for (size_t i = 0; i < k; i++) dst[i] = ((const float *)(const void *)tile)[i * UK_TILE_ROWS + r];
        return;
    }
    const bool four = format == UK_PACKED_P4_0 || format == UK_PACKED_P4_1;
    const bool offset = format == UK_PACKED_P4_1 || format == UK_PACKED_P8_1;
    const int bias = offset ? 0 : four ? 8 : 128;
    for (size_t g = 0; g < k / UK_GROUP; g++) {
        const uint8_t *at = tile + g * uk_packed_group_bytes(format), *u = at + (offset ? 64 : 32);
        const float d = uk_f16_to_f32(load16(at + 2 * r)), m = offset ? uk_f16_to_f32(load16(at + 32 + 2 * r)) : 0;
        for (size_t i = 0; i < UK_GROUP; i++) {
            const size_t byte = 4 * r + i % 4;
            const int level = !four ? u[i / 4 * 64 + byte] : i < 16 ? u[i / 4 * 64 + byte] & 15 : u[(i - 16) / 4 * 64 + byte] >> 4;
            const float value = d * (float)(level - bias);
            dst[g * UK_GROUP + i] = offset ? value + m : value;
        }
    }
}
