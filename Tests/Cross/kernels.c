// Kernels of another processor against their scalar twins, for running under an emulator: Scripts/cross-check.
#include "CKernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 1;

static float draw(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(state >> 32) * 0x1p-31f;
}

static float *floats(size_t n) {
    float *x = aligned_alloc(64, (n * 4 + 127) / 64 * 64);
    for (size_t i = 0; i < n; i++) x[i] = draw();
    return x;
}

static int failures = 0;

static void compare(const char *what, const float *a, const float *b, size_t n, float tolerance) {
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(a[i] - b[i]) <= tolerance * (1 + fabsf(b[i])))) {
            printf("%s: element %zu is %g, the scalar twin has %g\n", what, i, a[i], b[i]);
            failures++;
            return;
        }
}

static void products(uk_isa isa, uk_packed format, int type, size_t rows, size_t k, size_t tokens) {
    const size_t tiles = (rows + 15) / 16, bytes = uk_packed_tile_bytes(format, k);
    uint8_t *packed = aligned_alloc(64, tiles * bytes);
    float *weights = floats(rows * k), *x = floats(tokens * k);
    for (size_t tile = 0; tile < tiles; tile++) {
        const void *pointers[16];
        for (size_t r = 0; r < 16; r++) pointers[r] = tile * 16 + r < rows ? weights + (tile * 16 + r) * k : NULL;
        uk_pack_tile(format, type, pointers, k, packed + tile * bytes);
    }
    float *results[2];
    for (int side = 0; side < 2; side++) {
        uk_isa_select(side ? UK_ISA_SCALAR : isa);
        int8_t *q = malloc(tokens * k);
        float *scale = floats(tokens * k / 32), *sum = floats(tokens * k / 32), *y = results[side] = floats(tokens * rows);
        for (size_t t = 0; t < tokens; t++) uk_quantize_activations(x + t * k, k, q + t * k, scale + t * k / 32, sum + t * k / 32);
        const uk_matmul arguments = {format, packed, rows, k, tokens, x, k, q, scale, sum, y, rows, false};
        uk_matmul_packed(&arguments, 0, tiles);
    }
    char what[80];
    snprintf(what, sizeof what, "product, format %d, [%zu, %zu], %zu tokens", format, rows, k, tokens);
    compare(what, results[0], results[1], tokens * rows, 2e-5f);
}

static void attention(uk_isa isa, uk_cache_format format, size_t heads, size_t kv_heads, size_t d, size_t start, size_t tokens, size_t window) {
    const size_t bytes = (uk_cache_rows_bytes(format, d) + 63) / 64 * 64, pages = (start + tokens + 15) / 16;
    uint8_t *memory = aligned_alloc(64, pages * 2 * kv_heads * bytes);
    const void **places = malloc(pages * sizeof *places);
    for (size_t p = 0; p < pages; p++) places[p] = memory + p * 2 * kv_heads * bytes;
    float *q = floats(tokens * heads * d), *results[2];
    const uint64_t seed = state;
    for (int side = 0; side < 2; side++) {
        uk_isa_select(side ? UK_ISA_SCALAR : isa);
        state = seed;
        for (size_t j = 0; j < start + tokens; j++)
            for (size_t head = 0; head < kv_heads; head++) {
                uint8_t *place = (uint8_t *)places[j / 16] + head * bytes;
                float *key = floats(d), *value = floats(d);
                uk_cache_store_key(format, key, d, place, j % 16);
                uk_cache_store_value(format, value, d, place + kv_heads * bytes, j % 16);
                free(key);
                free(value);
            }
        results[side] = floats(tokens * heads * d);
        const uk_attention a = {heads, kv_heads, d, tokens, start, q, heads * d, format, places, 0, kv_heads * bytes, bytes, window,
                                1 / sqrtf((float)d), results[side], heads * d};
        float *scratch = floats(uk_attention_scratch(&a));
        for (size_t head = 0; head < kv_heads; head++) uk_attention_forward(&a, head, 0, tokens, scratch);
    }
    compare("attention", results[0], results[1], tokens * heads * d, 1e-4f);
}

int main(int count, char **names) {
    const uk_isa isa = uk_isa_active();
    printf("%s%s against scalar\n", uk_isa_name(isa), uk_isa_has_dot_product() ? " with dot products" : "");
    if (count > 1 && strcmp(names[1], uk_isa_name(isa)) != 0) return printf("expected %s\n", names[1]), 1;
    for (int format = UK_PACKED_F32; format <= UK_PACKED_P8_1; format++)
        for (size_t tokens = 1; tokens <= 9; tokens += 2)
            for (size_t rows = 5; rows < 50; rows += 13) products(isa, (uk_packed)format, UK_TYPE_F32, rows, 96, tokens);
    for (int format = UK_CACHE_F16; format <= UK_CACHE_F32; format++) {
        attention(isa, (uk_cache_format)format, 9, 3, 64, 0, 70, 0);
        attention(isa, (uk_cache_format)format, 4, 4, 24, 100, 3, 0);
        attention(isa, (uk_cache_format)format, 6, 2, 40, 130, 1, 33);
    }
    for (size_t n = 0; n < 70; n++) {
        float *x = floats(n + 1), *w = floats(n + 1), *results[2];
        for (int side = 0; side < 2; side++) {
            uk_isa_select(side ? UK_ISA_SCALAR : isa);
            float *y = results[side] = calloc(4 * n + 8, 4);
            uk_rms_norm(x, w, n, 1e-5f, y);
            uk_swiglu(x, w, n, y + n);
            uk_geglu(x, w, n, y + 2 * n);
            y[4 * n] = uk_exp_weights(x, n, 0.5f, 0.7f, y + 3 * n);
        }
        compare("small layers", results[0], results[1], 4 * n + 1, 2e-5f);
    }
    printf("%d failures\n", failures);
    return failures != 0;
}
