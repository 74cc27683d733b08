// Vectors of UK_LANES floats (4, 8 or 16) in the compiler's own vector types, so that one text serves every instruction
// set. Included after UK_LANES is defined, inside the target's pragma; everything is inlined.
#ifndef UK_LANES_H
#define UK_LANES_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define UK_INLINE static inline __attribute__((always_inline))

typedef float lanes_f __attribute__((vector_size(UK_LANES * 4)));
typedef int32_t lanes_i __attribute__((vector_size(UK_LANES * 4)));

UK_INLINE lanes_f lanes_load(const float *p) {
    lanes_f v;
    memcpy(&v, p, sizeof v);
    return v;
}

UK_INLINE void lanes_store(float *p, lanes_f v) { memcpy(p, &v, sizeof v); }

UK_INLINE lanes_f lanes_all(float x) { return x - (lanes_f){0}; }

/// The first n floats, zeros behind them.
UK_INLINE lanes_f lanes_load_some(const float *p, size_t n) {
    float buffer[UK_LANES] = {0};
    for (size_t i = 0; i < n; i++) buffer[i] = p[i];
    return lanes_load(buffer);
}

UK_INLINE void lanes_store_some(float *p, lanes_f v, size_t n) {
    for (size_t i = 0; i < n; i++) p[i] = v[i];
}

/// mask ? a : b, lane by lane; a mask's lanes are 0 or -1.
UK_INLINE lanes_f lanes_select(lanes_i mask, lanes_f a, lanes_f b) {
    return (lanes_f)((mask & (lanes_i)a) | (~mask & (lanes_i)b));
}

/// The lanes' sum, halves first.
UK_INLINE float lanes_sum(lanes_f v) {
    float part[UK_LANES];
    lanes_store(part, v);
    for (size_t width = UK_LANES / 2; width; width /= 2)
        for (size_t i = 0; i < width; i++) part[i] += part[i + width];
    return part[0];
}

/// The greatest lane; not a number if one is.
UK_INLINE float lanes_greatest(lanes_f v) {
    float greatest = v[0];
    for (size_t i = 1; i < UK_LANES; i++)
        if (!(v[i] <= greatest)) greatest = v[i];
    return greatest;
}

/// e^x within about one unit in the last place: x = n·ln 2 + r, then a polynomial in r (coefficients of Cephes' expf).
/// Below -87.3 zero, above 88.7 infinity, not a number stays so.
UK_INLINE lanes_f lanes_exp(lanes_f x) {
    const lanes_f magic = lanes_all(12582912.0f);  // 1.5 · 2^23: adding it rounds to a whole number
    lanes_f clamped = lanes_select(x < lanes_all(-87.3f), lanes_all(-87.3f), x);
    clamped = lanes_select(clamped > lanes_all(88.7f), lanes_all(88.7f), clamped);
    const lanes_f rounded = clamped * 1.44269504088896341f + magic;
    const lanes_f n = rounded - magic;
    lanes_f r = clamped - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    lanes_f p = lanes_all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1;
    // Twice 2^(n/2), so that n = 128 does not overflow the exponent.
    const lanes_i whole = (lanes_i)rounded - (lanes_i)magic;
    const lanes_i low = whole >> 1;
    const lanes_f a = (lanes_f)((low + 127) << 23), b = (lanes_f)((whole - low + 127) << 23);
    lanes_f y = p * a * b;
    y = lanes_select(x < lanes_all(-87.3f), lanes_all(0), y);
    y = lanes_select(x > lanes_all(88.7f), lanes_all(INFINITY), y);
    return lanes_select(x != x, x, y);
}

/// 1 / (1 + e^-x).
UK_INLINE lanes_f lanes_sigmoid(lanes_f x) { return 1 / (1 + lanes_exp(-x)); }

/// Σ x·y.
UK_INLINE float lanes_dot(const float *x, const float *y, size_t n) {
    lanes_f a = {0}, b = {0};
    size_t i = 0;
    for (; i + 2 * UK_LANES <= n; i += 2 * UK_LANES) {
        a += lanes_load(x + i) * lanes_load(y + i);
        b += lanes_load(x + i + UK_LANES) * lanes_load(y + i + UK_LANES);
    }
    for (; i + UK_LANES <= n; i += UK_LANES) a += lanes_load(x + i) * lanes_load(y + i);
    if (i < n) b += lanes_load_some(x + i, n - i) * lanes_load_some(y + i, n - i);
    return lanes_sum(a + b);
}

/// y += a·x.
UK_INLINE void lanes_axpy(float a, const float *x, size_t n, float *y) {
    size_t i = 0;
    for (; i + UK_LANES <= n; i += UK_LANES) lanes_store(y + i, lanes_load(y + i) + a * lanes_load(x + i));
    for (; i < n; i++) y[i] += a * x[i];
}
#endif
