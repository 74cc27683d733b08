// Transposes of 32-bit elements, for packing the operands of products. Included inside the target's pragma.
#ifndef UK_DENSE_TRANSPOSE_H
#define UK_DENSE_TRANSPOSE_H
#include "lanes.h"

#pragma clang assume_nonnull begin

typedef float quad __attribute__((vector_size(16)));

/// dst[p][j] = src[j][p] for 4 × 4.
UK_INLINE void transpose_quad(const float *src, size_t stride, float *dst, size_t dst_stride) {
    quad r0, r1, r2, r3;
    memcpy(&r0, src, 16);
    memcpy(&r1, src + stride, 16);
    memcpy(&r2, src + 2 * stride, 16);
    memcpy(&r3, src + 3 * stride, 16);
    const quad a = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), b = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
    const quad c = __builtin_shufflevector(r0, r1, 2, 6, 3, 7), d = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
    r0 = __builtin_shufflevector(a, b, 0, 1, 4, 5);
    r1 = __builtin_shufflevector(a, b, 2, 3, 6, 7);
    r2 = __builtin_shufflevector(c, d, 0, 1, 4, 5);
    r3 = __builtin_shufflevector(c, d, 2, 3, 6, 7);
    memcpy(dst, &r0, 16);
    memcpy(dst + dst_stride, &r1, 16);
    memcpy(dst + 2 * dst_stride, &r2, 16);
    memcpy(dst + 3 * dst_stride, &r3, 16);
}

/// Four values of each row j, j + 4, j + 8 … side by side.
UK_INLINE lanes_f load_quads(const float *src, size_t stride) {
    quad q[UK_LANES / 4];
    for (size_t i = 0; i < UK_LANES / 4; i++) memcpy(&q[i], src + 4 * i * stride, 16);
#if UK_LANES == 4
    return q[0];
#elif UK_LANES == 8
    return __builtin_shufflevector(q[0], q[1], 0, 1, 2, 3, 4, 5, 6, 7);
#else
    return __builtin_shufflevector(__builtin_shufflevector(q[0], q[1], 0, 1, 2, 3, 4, 5, 6, 7),
                                   __builtin_shufflevector(q[2], q[3], 0, 1, 2, 3, 4, 5, 6, 7), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
                                   12, 13, 14, 15);
#endif
}

// In every quad, with values w, x … of its four: a's w and x, then b's y and z; or a's w, b's w, a's x, b's x.
#if UK_LANES == 4
#define UK_QUADS(a, b, w, x, y, z) __builtin_shufflevector(a, b, w, x, (y) + 4, (z) + 4)
#define UK_TURNS(a, b, w, x) __builtin_shufflevector(a, b, w, (w) + 4, x, (x) + 4)
#elif UK_LANES == 8
#define UK_QUADS(a, b, w, x, y, z) \
    __builtin_shufflevector(a, b, w, x, (y) + 8, (z) + 8, (w) + 4, (x) + 4, (y) + 12, (z) + 12)
#define UK_TURNS(a, b, w, x) __builtin_shufflevector(a, b, w, (w) + 8, x, (x) + 8, (w) + 4, (w) + 12, (x) + 4, (x) + 12)
#else
#define UK_QUADS(a, b, w, x, y, z)                                                                                             \
    __builtin_shufflevector(a, b, w, x, (y) + 16, (z) + 16, (w) + 4, (x) + 4, (y) + 20, (z) + 20, (w) + 8, (x) + 8, (y) + 24,  \
                            (z) + 24, (w) + 12, (x) + 12, (y) + 28, (z) + 28)
#define UK_TURNS(a, b, w, x)                                                                                                   \
    __builtin_shufflevector(a, b, w, (w) + 16, x, (x) + 16, (w) + 4, (w) + 20, (x) + 4, (x) + 20, (w) + 8, (w) + 24, (x) + 8,  \
                            (x) + 24, (w) + 12, (w) + 28, (x) + 12, (x) + 28)
#endif

/// dst[p][j] = src[j][p] for a vector of j and four p: the 4 × 4 transposes of all quads at once.
UK_INLINE void transpose_quads(const float *src, size_t stride, float *dst, size_t dst_stride) {
    const lanes_f r0 = load_quads(src, stride), r1 = load_quads(src + stride, stride);
    const lanes_f r2 = load_quads(src + 2 * stride, stride), r3 = load_quads(src + 3 * stride, stride);
    const lanes_f a = UK_TURNS(r0, r1, 0, 1), b = UK_TURNS(r2, r3, 0, 1), c = UK_TURNS(r0, r1, 2, 3), d = UK_TURNS(r2, r3, 2, 3);
    lanes_store(dst, UK_QUADS(a, b, 0, 1, 0, 1));
    lanes_store(dst + dst_stride, UK_QUADS(a, b, 2, 3, 2, 3));
    lanes_store(dst + 2 * dst_stride, UK_QUADS(c, d, 0, 1, 0, 1));
    lanes_store(dst + 3 * dst_stride, UK_QUADS(c, d, 2, 3, 2, 3));
}

#undef UK_QUADS
#undef UK_TURNS

#pragma clang assume_nonnull end
#endif
