// The product with F32 tiles in vectors. Included after lanes.h, inside the target's pragma.

static void matmul_f32(const uk_matmul *a, size_t tile_begin, size_t tile_end) {
    enum { PARTS = UK_TILE_ROWS / UK_LANES };
    for (size_t tile = tile_begin; tile < tile_end; tile++) {
        const float *w = (const float *)a->weights + tile * UK_TILE_ROWS * a->k;
        const size_t first = tile * UK_TILE_ROWS, rows = a->rows - first < UK_TILE_ROWS ? a->rows - first : UK_TILE_ROWS;
        for (size_t t = 0; t < a->tokens; t++) {
            const float *x = a->x + t * a->x_stride;
            lanes_f total[PARTS];
            for (size_t part = 0; part < PARTS; part++) total[part] = (lanes_f){0};
            for (size_t i = 0; i < a->k; i++) {
                const float value = x[i];
                for (size_t part = 0; part < PARTS; part++) total[part] += lanes_load(w + i * UK_TILE_ROWS + part * UK_LANES) * value;
            }
            float values[UK_TILE_ROWS];
            for (size_t part = 0; part < PARTS; part++) lanes_store(values + part * UK_LANES, total[part]);
            float *y = a->y + t * a->y_stride + first;
            for (size_t r = 0; r < rows; r++) y[r] = a->accumulate ? y[r] + values[r] : values[r];
        }
    }
}
