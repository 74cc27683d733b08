#include "CKernels.h"

#include <math.h>
#include <string.h>

float uk_f16_to_f32(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    const uint32_t exponent = (h >> 10) & 0x1f;
    const uint32_t mantissa = h & 0x3ff;
    uint32_t bits;
    if (exponent == 0x1f) {
        bits = sign | 0x7f800000u | (mantissa << 13);
    } else if (exponent != 0) {
        bits = sign | ((exponent + 112) << 23) | (mantissa << 13);
    } else {
        const float value = (float)mantissa * 0x1p-24f;  // subnormal or zero: exact
        memcpy(&bits, &value, 4);
        bits |= sign;
    }
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

uint16_t uk_f32_to_f16(float f) {
    uint32_t bits;
    memcpy(&bits, &f, 4);
    const uint16_t sign = (uint16_t)((bits >> 16) & 0x8000);
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return sign | 0x7e00;          // NaN
    if (magnitude >= 0x477ff000u) return sign | 0x7c00;         // 65520 and above round to infinity
    if (magnitude < 0x38800000u) {                              // below 2^-14: subnormal
        float a;
        memcpy(&a, &magnitude, 4);
        const float shifted = a + 0x1p-1f;                      // 0.5 has units of 2^-24: the add rounds to even
        uint32_t r;
        memcpy(&r, &shifted, 4);
        return sign | (uint16_t)(r - 0x3f000000u);
    }
    const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1);
    return sign | (uint16_t)((rounded - 0x38000000u) >> 13);
}

static float bf16_to_f32(uint16_t h) {
    const uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static uint16_t f32_to_bf16(float f) {
    uint32_t bits;
    memcpy(&bits, &f, 4);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((bits >> 16) | 0x40);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
}

static uint16_t load16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static float load_half(const uint8_t *p) { return uk_f16_to_f32(load16(p)); }
static void store16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

size_t uk_block_elements(int type) {
    switch (type) {
    case UK_TYPE_F32: case UK_TYPE_F16: case UK_TYPE_BF16: return 1;
    case UK_TYPE_Q4_0: case UK_TYPE_Q4_1: case UK_TYPE_Q5_0: case UK_TYPE_Q5_1: case UK_TYPE_Q8_0: return 32;
    case UK_TYPE_Q4_K: case UK_TYPE_Q5_K: case UK_TYPE_Q6_K: return 256;
    default: return 0;
    }
}

size_t uk_block_bytes(int type) {
    switch (type) {
    case UK_TYPE_F32: return 4;
    case UK_TYPE_F16: case UK_TYPE_BF16: return 2;
    case UK_TYPE_Q4_0: return 2 + 16;
    case UK_TYPE_Q4_1: return 4 + 16;
    case UK_TYPE_Q5_0: return 2 + 4 + 16;
    case UK_TYPE_Q5_1: return 4 + 4 + 16;
    case UK_TYPE_Q8_0: return 2 + 32;
    case UK_TYPE_Q4_K: return 4 + 12 + 128;
    case UK_TYPE_Q5_K: return 4 + 12 + 32 + 128;
    case UK_TYPE_Q6_K: return 128 + 64 + 16 + 2;
    default: return 0;
    }
}

// The 6-bit scale and minimum of sub-block j (0…7) of a K block: 12 bytes, the high bits of the last four in the top of the first eight.
static void k_scale(const uint8_t *scales, int j, uint8_t *scale, uint8_t *minimum) {
    if (j < 4) {
        *scale = scales[j] & 63;
        *minimum = scales[j + 4] & 63;
    } else {
        *scale = (uint8_t)((scales[j + 4] & 15) | ((scales[j - 4] >> 6) << 4));
        *minimum = (uint8_t)((scales[j + 4] >> 4) | ((scales[j] >> 6) << 4));
    }
}

static void dequantize_block(int type, const uint8_t *b, float *y) {
    switch (type) {
    case UK_TYPE_Q4_0: {
        const float d = load_half(b);
        for (int i = 0; i < 16; i++) {
            y[i] = d * (float)((b[2 + i] & 15) - 8);
            y[i + 16] = d * (float)((b[2 + i] >> 4) - 8);
        }
        break;
    }
    case UK_TYPE_Q4_1: {
        const float d = load_half(b), m = load_half(b + 2);
        for (int i = 0; i < 16; i++) {
            y[i] = d * (float)(b[4 + i] & 15) + m;
            y[i + 16] = d * (float)(b[4 + i] >> 4) + m;
        }
        break;
    }
    case UK_TYPE_Q5_0: case UK_TYPE_Q5_1: {
        const bool offset = type == UK_TYPE_Q5_1;
        const float d = load_half(b), m = offset ? load_half(b + 2) : 0;
        const uint8_t *h = b + (offset ? 4 : 2), *q = h + 4;
        const uint32_t high = (uint32_t)h[0] | (uint32_t)h[1] << 8 | (uint32_t)h[2] << 16 | (uint32_t)h[3] << 24;
        for (int i = 0; i < 16; i++) {
            const int low = (q[i] & 15) | (int)((high >> i) & 1) << 4;
            const int up = (q[i] >> 4) | (int)((high >> (i + 16)) & 1) << 4;
            y[i] = offset ? d * (float)low + m : d * (float)(low - 16);
            y[i + 16] = offset ? d * (float)up + m : d * (float)(up - 16);
        }
        break;
    }
    case UK_TYPE_Q8_0: {
        const float d = load_half(b);
        for (int i = 0; i < 32; i++) y[i] = d * (float)(int8_t)b[2 + i];
        break;
    }
    case UK_TYPE_Q4_K: case UK_TYPE_Q5_K: {
        const bool five = type == UK_TYPE_Q5_K;
        const float d = load_half(b), dmin = load_half(b + 2);
        const uint8_t *scales = b + 4, *high = b + 16, *q = b + (five ? 48 : 16);
        for (int j = 0; j < 8; j++) {
            uint8_t scale, minimum;
            k_scale(scales, j, &scale, &minimum);
            const float step = d * (float)scale, floor = dmin * (float)minimum;
            for (int i = 0; i < 32; i++) {
                const uint8_t byte = q[(j / 2) * 32 + i];
                int value = j % 2 ? byte >> 4 : byte & 15;
                if (five) value |= ((high[i] >> j) & 1) << 4;
                y[j * 32 + i] = step * (float)value - floor;
            }
        }
        break;
    }
    case UK_TYPE_Q6_K: {
        const uint8_t *low = b, *high = b + 128;
        const int8_t *scales = (const int8_t *)(b + 192);
        const float d = load_half(b + 208);
        for (int n = 0; n < 2; n++) {  // halves of 128
            for (int i = 0; i < 32; i++) {
                const uint8_t h = high[n * 32 + i], a = low[n * 64 + i], c = low[n * 64 + 32 + i];
                const int values[4] = {(a & 15) | (h & 3) << 4, (c & 15) | ((h >> 2) & 3) << 4,
                                       (a >> 4) | ((h >> 4) & 3) << 4, (c >> 4) | ((h >> 6) & 3) << 4};
                for (int j = 0; j < 4; j++)
                    y[n * 128 + j * 32 + i] = d * (float)scales[n * 8 + j * 2 + i / 16] * (float)(values[j] - 32);
            }
        }
        break;
    }
    default: break;
    }
}

void uk_dequantize_row(int type, const void *src, size_t k, float *dst) {
    const uint8_t *p = src;
    switch (type) {
    case UK_TYPE_F32: memcpy(dst, p, k * 4); return;
    case UK_TYPE_F16:
        for (size_t i = 0; i < k; i++) dst[i] = load_half(p + 2 * i);
        return;
    case UK_TYPE_BF16:
        for (size_t i = 0; i < k; i++) dst[i] = bf16_to_f32(load16(p + 2 * i));
        return;
    default: break;
    }
    const size_t elements = uk_block_elements(type), bytes = uk_block_bytes(type);
    if (elements == 0) return;
    for (size_t i = 0; i + elements <= k; i += elements, p += bytes) dequantize_block(type, p, dst + i);
}

static int clamp(int v, int low, int high) { return v < low ? low : v > high ? high : v; }

// Rounds to nearest even; NaN becomes 0 and a value outside the range is clamped by the caller.
static int nearest(float v) {
    if (!(v > -1e6f)) return v < 0 ? -1000000 : 0;
    if (v > 1e6f) return 1000000;
    return (int)lrintf(v);
}

static void quantize_block(int type, const float *x, uint8_t *b) {
    float largest = 0, low = x[0], high = x[0];
    for (int i = 0; i < 32; i++) {
        if (fabsf(x[i]) > fabsf(largest)) largest = x[i];
        if (x[i] < low) low = x[i];
        if (x[i] > high) high = x[i];
    }
    if (type == UK_TYPE_Q8_0) {
        const uint16_t scale = uk_f32_to_f16(fabsf(largest) / 127);
        const float d = uk_f16_to_f32(scale), inverse = d > 0 ? 1 / d : 0;
        store16(b, scale);
        for (int i = 0; i < 32; i++) b[2 + i] = (uint8_t)(int8_t)clamp(nearest(x[i] * inverse), -127, 127);
    } else if (type == UK_TYPE_Q4_0) {
        const uint16_t scale = uk_f32_to_f16(largest / -8);
        const float d = uk_f16_to_f32(scale), inverse = d != 0 ? 1 / d : 0;
        store16(b, scale);
        for (int i = 0; i < 16; i++) {
            const int a = clamp(nearest(x[i] * inverse) + 8, 0, 15);
            const int c = clamp(nearest(x[i + 16] * inverse) + 8, 0, 15);
            b[2 + i] = (uint8_t)(a | c << 4);
        }
    } else {
        const uint16_t scale = uk_f32_to_f16((high - low) / 15), minimum = uk_f32_to_f16(low);
        const float d = uk_f16_to_f32(scale), m = uk_f16_to_f32(minimum), inverse = d > 0 ? 1 / d : 0;
        store16(b, scale);
        store16(b + 2, minimum);
        for (int i = 0; i < 16; i++) {
            const int a = clamp(nearest((x[i] - m) * inverse), 0, 15);
            const int c = clamp(nearest((x[i + 16] - m) * inverse), 0, 15);
            b[4 + i] = (uint8_t)(a | c << 4);
        }
    }
}

bool uk_quantize_row(int type, const float *src, size_t k, void *dst) {
    uint8_t *p = dst;
    switch (type) {
    case UK_TYPE_F32: memcpy(p, src, k * 4); return true;
    case UK_TYPE_F16:
        for (size_t i = 0; i < k; i++) store16(p + 2 * i, uk_f32_to_f16(src[i]));
        return true;
    case UK_TYPE_BF16:
        for (size_t i = 0; i < k; i++) store16(p + 2 * i, f32_to_bf16(src[i]));
        return true;
    case UK_TYPE_Q8_0: case UK_TYPE_Q4_0: case UK_TYPE_Q4_1:
        for (size_t i = 0; i + 32 <= k; i += 32, p += uk_block_bytes(type)) quantize_block(type, src + i, p);
        return true;
    default: return false;
    }
}
