// dense.h for AVX2 and FMA.
#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#define UK_LANES 8
#define UK_GEMM_ROWS 6
#define UK_PEAK_CHAINS 12
#define UK_DENSE_TABLE uk_dense_avx2
#include "dense_lanes.h"
#include "dense_int16.h"
#pragma clang attribute pop
#endif
