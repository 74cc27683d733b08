// Rows of floats as GGML's blocks, with the least weighted square error found by a short search.
//
// For a group x with weights w, levels q and a step d (and a floor m): given the levels, the best d (and m) are a weighted
// least-squares fit; given those, the best levels are the nearest. A few starting steps around the range's are refined this
// way, and the one with the least error is kept, measured with d and m as they will be stored.
#include "CKernels.h"

#include <math.h>
#include <string.h>

static void store16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static float as_half(float v) { return uk_f16_to_f32(uk_f32_to_f16(v)); }

static int clamp(int v, int low, int high) { return v < low ? low : v > high ? high : v; }

static int nearest(float v) { return v > 1e6f ? 1000000 : v < -1e6f ? -1000000 : v == v ? (int)lrintf(v) : 0; }

/// Levels low ... high for x ≈ d·q. Returns d; levels are the nearest to it.
static float fit_step(const float *x, const float *w, int n, int low, int high, int8_t *q) {
    float largest = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(largest)) largest = x[i];
    memset(q, 0, (size_t)n);
    if (!(fabsf(largest) > 0) || !(fabsf(largest) < INFINITY)) return 0;
    float best = 0, best_error = INFINITY;
    for (int start = -9; start <= 9; start++) {
        // The largest value takes the longer side.
        float d = largest / ((float)low + 0.1f * (float)start);
        for (int round = 0; round < 3; round++) {
            float xq = 0, qq = 0;
            for (int i = 0; i < n; i++) {
                const float level = (float)clamp(nearest(x[i] / d), low, high);
                xq += w[i] * x[i] * level;
                qq += w[i] * level * level;
            }
            if (!(qq > 0) || xq == 0) break;
            d = xq / qq;
        }
        float error = 0;
        for (int i = 0; i < n; i++) {
            const float off = x[i] - d * (float)clamp(nearest(x[i] / d), low, high);
            error += w[i] * off * off;
        }
        if (error < best_error) {
            best_error = error;
            best = d;
        }
    }
    if (best != 0)
        for (int i = 0; i < n; i++) q[i] = (int8_t)clamp(nearest(x[i] / best), low, high);
    return best;
}

/// Levels 0 ... high for x ≈ d·q + m, with m at most `most`.
static void fit_range(const float *x, const float *w, int n, int high, float most, float *step, float *floor_) {
    float least = x[0], greatest = x[0];
    for (int i = 1; i < n; i++) {
        if (x[i] < least) least = x[i];
        if (x[i] > greatest) greatest = x[i];
    }
    if (least > most) least = most;
    *step = 0;
    *floor_ = least;
    if (!(greatest > least) || !(greatest - least < INFINITY)) return;
    float best_error = INFINITY;
    for (int start = -8; start <= 4; start++) {
        float d = (greatest - least) / ((float)high + 0.25f * (float)start), m = least;
        for (int round = 0; round < 4; round++) {
            // Weighted least squares of x = d·q + m.
            float sw = 0, sq = 0, sqq = 0, sx = 0, sxq = 0;
            for (int i = 0; i < n; i++) {
                const float level = (float)clamp(nearest((x[i] - m) / d), 0, high);
                sw += w[i];
                sq += w[i] * level;
                sqq += w[i] * level * level;
                sx += w[i] * x[i];
                sxq += w[i] * x[i] * level;
            }
            const float determinant = sw * sqq - sq * sq;
            if (!(determinant > 0)) break;
            float new_d = (sw * sxq - sq * sx) / determinant, new_m = (sx * sqq - sq * sxq) / determinant;
            if (new_m > most) {
                new_m = most;
                new_d = sqq > 0 ? (sxq - most * sq) / sqq : 0;
            }
            if (!(new_d > 0)) break;
            d = new_d;
            m = new_m;
        }
        float error = 0;
        for (int i = 0; i < n; i++) {
            const float off = x[i] - m - d * (float)clamp(nearest((x[i] - m) / d), 0, high);
            error += w[i] * off * off;
        }
        if (error < best_error) {
            best_error = error;
            *step = d;
            *floor_ = m;
        }
    }
}

static void quantize_32(int type, const float *x, const float *w, uint8_t *b) {
    int8_t q[32];
    if (type == UK_TYPE_Q4_1) {
        float d, m;
        fit_range(x, w, 32, 15, INFINITY, &d, &m);
        const float step = as_half(d), floor_ = as_half(m);
        store16(b, uk_f32_to_f16(d));
        store16(b + 2, uk_f32_to_f16(m));
        for (int i = 0; i < 32; i++) q[i] = (int8_t)(step > 0 ? clamp(nearest((x[i] - floor_) / step), 0, 15) : 0);
        for (int i = 0; i < 16; i++) b[4 + i] = (uint8_t)(q[i] | q[i + 16] << 4);
        return;
    }
    const int low = type == UK_TYPE_Q8_0 ? -127 : -8, high = type == UK_TYPE_Q8_0 ? 127 : 7;
    const float d = fit_step(x, w, 32, low, high, q), step = as_half(d);
    store16(b, uk_f32_to_f16(d));
    for (int i = 0; i < 32; i++) q[i] = (int8_t)(step != 0 ? clamp(nearest(x[i] / step), low, high) : 0);
    if (type == UK_TYPE_Q8_0)
        memcpy(b + 2, q, 32);
    else
        for (int i = 0; i < 16; i++) b[2 + i] = (uint8_t)((q[i] + 8) | (q[i + 16] + 8) << 4);
}

// Eight groups of 32: steps and floors of 6 bits under two f16 scales.
static void quantize_q4_k(const float *x, const float *w, uint8_t *b) {
    float steps[8], floors[8], most_step = 0, most_floor = 0;
    for (int j = 0; j < 8; j++) {
        float m;
        // The stored floor is subtracted and not negative.
        fit_range(x + 32 * j, w + 32 * j, 32, 15, 0, &steps[j], &m);
        floors[j] = -m;
        if (steps[j] > most_step) most_step = steps[j];
        if (floors[j] > most_floor) most_floor = floors[j];
    }
    const uint16_t d_bits = uk_f32_to_f16(most_step / 63), m_bits = uk_f32_to_f16(most_floor / 63);
    const float d = uk_f16_to_f32(d_bits), dmin = uk_f16_to_f32(m_bits);
    memset(b, 0, 144);
    store16(b, d_bits);
    store16(b + 2, m_bits);
    uint8_t *scales = b + 4, *q = b + 16;
    for (int j = 0; j < 8; j++) {
        const int s = clamp(nearest(d > 0 ? steps[j] / d : 0), 0, 63), f = clamp(nearest(dmin > 0 ? floors[j] / dmin : 0), 0, 63);
        if (j < 4) {
            scales[j] |= (uint8_t)s;
            scales[j + 4] |= (uint8_t)f;
        } else {
            scales[j + 4] = (uint8_t)((s & 15) | (f & 15) << 4);
            scales[j - 4] |= (uint8_t)((s >> 4) << 6);
            scales[j] |= (uint8_t)((f >> 4) << 6);
        }
        const float step = d * (float)s, floor_ = dmin * (float)f;
        for (int i = 0; i < 32; i++) {
            const int level = step > 0 ? clamp(nearest((x[32 * j + i] + floor_) / step), 0, 15) : 0;
            q[(j / 2) * 32 + i] |= (uint8_t)(j % 2 ? level << 4 : level);
        }
    }
}

// Sixteen groups of 16: signed steps of 8 bits under one f16 scale, levels -32 ... 31.
static void quantize_q6_k(const float *x, const float *w, uint8_t *b) {
    float steps[16], most = 0;
    int8_t levels[16];
    for (int j = 0; j < 16; j++) {
        steps[j] = fit_step(x + 16 * j, w + 16 * j, 16, -32, 31, levels);
        if (fabsf(steps[j]) > fabsf(most)) most = steps[j];
    }
    const uint16_t bits = uk_f32_to_f16(most / -128);
    const float d = uk_f16_to_f32(bits);
    memset(b, 0, 210);
    store16(b + 208, bits);
    int8_t *scales = (int8_t *)(b + 192);
    for (int j = 0; j < 16; j++) {
        scales[j] = (int8_t)clamp(nearest(d != 0 ? steps[j] / d : 0), -128, 127);
        const float step = d * (float)scales[j];
        for (int i = 0; i < 16; i++) {
            const int place = 16 * j + i, half = place / 128, within = place % 128, lane = within % 32, quarter = within / 32;
            const int level = (step != 0 ? clamp(nearest(x[place] / step), -32, 31) : 0) + 32;
            b[half * 64 + (quarter % 2) * 32 + lane] |= (uint8_t)((level & 15) << (quarter / 2 * 4));
            b[128 + half * 32 + lane] |= (uint8_t)((level >> 4) << (2 * quarter));
        }
    }
}

bool uk_quantize_row_weighted(int type, const float *src, size_t k, const float *weights, void *dst) {
    const size_t elements = uk_block_elements(type), bytes = uk_block_bytes(type);
    if (elements <= 1) return uk_quantize_row(type, src, k, dst);
    float w[256];
    uint8_t *p = dst;
    for (size_t i = 0; i + elements <= k; i += elements, p += bytes) {
        // Larger weights matter more by themselves, too; without data that is all there is to go by.
        for (size_t j = 0; j < elements; j++) {
            const float x = src[i + j], given = weights ? weights[i + j] : 1;
            w[j] = given * (fabsf(x) < INFINITY ? fabsf(x) : 0) + 1e-6f * (given + 1e-6f);
        }
        switch (type) {
        case UK_TYPE_Q4_0: case UK_TYPE_Q4_1: case UK_TYPE_Q8_0: quantize_32(type, src + i, w, p); break;
        case UK_TYPE_Q4_K: quantize_q4_k(src + i, w, p); break;
        case UK_TYPE_Q6_K: quantize_q6_k(src + i, w, p); break;
        default: return false;
        }
    }
    return true;
}
