#include "quantized_kernels.h"

#include <math.h>

static void quantize(const float *x, size_t k, int8_t *q, float *scale, float *sum) {
    for (size_t g = 0; g < k / UK_GROUP; g++) {
        const float *v = x + g * UK_GROUP;
        int8_t *out = q + g * UK_GROUP;
        float largest = 0;
        bool finite = true;
        for (size_t i = 0; i < UK_GROUP; i++) {
            finite = finite && isfinite(v[i]);
            if (fabsf(v[i]) > largest) largest = fabsf(v[i]);
        }
        if (!finite || largest < UK_SMALLEST_ACTIVATION) {
            for (size_t i = 0; i < UK_GROUP; i++) out[i] = 0;
            scale[g] = sum[g] = finite ? 0 : NAN;
            continue;
        }
        const float inverse = 127.0f / largest;
        int total = 0;
        for (size_t i = 0; i < UK_GROUP; i++) {
            const int rounded = (int)lrintf(v[i] * inverse);
            out[i] = (int8_t)rounded;
            total += rounded;
        }
        scale[g] = largest / 127.0f;
        sum[g] = scale[g] * (float)total;
    }
}

static float half_at(const uint8_t *p, size_t i) { return uk_f16_to_f32((uint16_t)(p[2 * i] | p[2 * i + 1] << 8)); }

static void store(const uk_matmul *a, size_t tile, size_t token, const float *values) {
    const size_t first = tile * UK_TILE_ROWS, rows = a->rows - first < UK_TILE_ROWS ? a->rows - first : UK_TILE_ROWS;
    float *y = a->y + token * a->y_stride + first;
    for (size_t r = 0; r < rows; r++) y[r] = a->accumulate ? y[r] + values[r] : values[r];
}

static void matmul_f32(const uk_matmul *a, size_t tile_begin, size_t tile_end) {
    for (size_t tile = tile_begin; tile < tile_end; tile++) {
        const float *w = (const float *)a->weights + tile * UK_TILE_ROWS * a->k;
        for (size_t t = 0; t < a->tokens; t++) {
            const float *x = a->x + t * a->x_stride;
            float total[UK_TILE_ROWS] = {0};
            for (size_t i = 0; i < a->k; i++)
                for (size_t r = 0; r < UK_TILE_ROWS; r++) total[r] += w[i * UK_TILE_ROWS + r] * x[i];
            store(a, tile, t, total);
        }
    }
}

static void matmul_integer(const uk_matmul *a, size_t tile_begin, size_t tile_end, uk_packed format) {
    const bool four = format == UK_PACKED_P4_0 || format == UK_PACKED_P4_1;
    const bool offset = format == UK_PACKED_P4_1 || format == UK_PACKED_P8_1;
    const float factor = offset ? 1 : four ? -8 : -128;
    const size_t groups = a->k / UK_GROUP, bytes = uk_packed_group_bytes(format);
    const size_t tile_bytes = uk_packed_tile_bytes(format, a->k);
    for (size_t tile = tile_begin; tile < tile_end; tile++) {
        for (size_t t = 0; t < a->tokens; t++) {
            float total[UK_TILE_ROWS] = {0}, rest[UK_TILE_ROWS] = {0};
            for (size_t g = 0; g < groups; g++) {
                const uint8_t *d = (const uint8_t *)a->weights + tile * tile_bytes + g * bytes;
                const uint8_t *m = offset ? d + 32 : d, *u = m + 32;
                const int8_t *q = a->q + t * a->k + g * UK_GROUP;
                const float scale = a->scale[t * groups + g], sum = a->sum[t * groups + g];
                for (size_t r = 0; r < UK_TILE_ROWS; r++) {
                    int dot = 0;
                    for (size_t i = 0; i < UK_GROUP; i++) {
                        const size_t at = 4 * r + i % 4;
                        const int level = !four ? u[i / 4 * 64 + at]
                            : i < 16 ? u[i / 4 * 64 + at] & 15 : u[(i - 16) / 4 * 64 + at] >> 4;
                        dot += level * q[i];
                    }
                    total[r] += scale * half_at(d, r) * (float)dot;
                    rest[r] += sum * half_at(m, r);
                }
            }
            for (size_t r = 0; r < UK_TILE_ROWS; r++) total[r] += factor * rest[r];
            store(a, tile, t, total);
        }
    }
}

static void matmul_p4_0(const uk_matmul *a, size_t begin, size_t end) { matmul_integer(a, begin, end, UK_PACKED_P4_0); }
static void matmul_p4_1(const uk_matmul *a, size_t begin, size_t end) { matmul_integer(a, begin, end, UK_PACKED_P4_1); }
static void matmul_p8_0(const uk_matmul *a, size_t begin, size_t end) { matmul_integer(a, begin, end, UK_PACKED_P8_0); }
static void matmul_p8_1(const uk_matmul *a, size_t begin, size_t end) { matmul_integer(a, begin, end, UK_PACKED_P8_1); }

const uk_quantized_kernels uk_quantized_scalar = {
    quantize,
    {matmul_f32, matmul_p4_0, matmul_p4_1, matmul_p8_0, matmul_p8_1},
};
