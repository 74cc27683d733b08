// quantized.h for every AArch64 processor.
#if defined(__aarch64__)
#define UK_QUANTIZED_TABLE uk_quantized_neon
#include "quantized_neon_body.h"
#endif
