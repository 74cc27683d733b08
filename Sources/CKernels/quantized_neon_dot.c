// quantized.h for AArch64 processors with the dot product instructions (Armv8.2 and later).
#if defined(__aarch64__)
#include <arm_neon.h>
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#define UK_DOT 1
#define UK_QUANTIZED_TABLE uk_quantized_neon_dot
#include "quantized_neon_body.h"
#pragma clang attribute pop
#endif
