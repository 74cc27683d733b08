// Inside CKernels: the layout of packed tiles, and the table of each instruction set's kernels.
//
// A tile of an integer format is k/32 groups, one after the other, then zeros up to a multiple of 64 bytes. A group:
//   d     16 × f16, one for each row
//   m     16 × f16                               (P4_1, P8_1)
//   P4    4 × 64 bytes: byte 4·row + j of the i-th holds input 4i + j in its low and 16 + 4i + j in its high nibble
//   P8    8 × 64 bytes: byte 4·row + j of the i-th holds input 4i + j
//
// For one output, with a = scale[t, g], s = sum[t, g] and dot = Σ u · q over the group, every kernel forms
//   main += (a · d) · dot,   rest += s · m           (P4_0: rest += s · d, P8_0: rest += s · d)
// over the groups in order, and then main + rest (P4_0: main - 8 · rest, P8_0: main - 128 · rest).
#ifndef UK_QUANTIZED_KERNELS_H
#define UK_QUANTIZED_KERNELS_H
#include "CKernels.h"

enum {
    UK_P4_0_GROUP_BYTES = 32 + 256,
    UK_P4_1_GROUP_BYTES = 64 + 256,
    UK_P8_0_GROUP_BYTES = 32 + 512,
    UK_P8_1_GROUP_BYTES = 64 + 512,
};

typedef struct uk_quantized_kernels {
    void (*quantize)(const float *x, size_t k, int8_t *q, float *scale, float *sum);
    void (*matmul[5])(const uk_matmul *arguments, size_t tile_begin, size_t tile_end);  // by uk_packed
} uk_quantized_kernels;

extern const uk_quantized_kernels uk_quantized_scalar;
#if defined(__x86_64__)
extern const uk_quantized_kernels uk_quantized_avx2;
extern const uk_quantized_kernels uk_quantized_avx512;
#endif

#if defined(__aarch64__)
extern const uk_quantized_kernels uk_quantized_neon;
extern const uk_quantized_kernels uk_quantized_neon_dot;
#endif

/// Bytes of one group of an integer format.
static inline size_t uk_packed_group_bytes(uk_packed format) {
    switch (format) {
    case UK_PACKED_P4_0: return UK_P4_0_GROUP_BYTES;
    case UK_PACKED_P4_1: return UK_P4_1_GROUP_BYTES;
    case UK_PACKED_P8_0: return UK_P8_0_GROUP_BYTES;
    case UK_PACKED_P8_1: return UK_P8_1_GROUP_BYTES;
    default: return 0;
    }
}

/// Groups whose largest value is below this become zeros: 127 / largest would overflow soon after.
#define UK_SMALLEST_ACTIVATION 0x1p-100f
#endif
