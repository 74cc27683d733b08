// dense.h for AVX-512.
#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
#define UK_LANES 16
#define UK_GEMM_ROWS 12
#define UK_PEAK_CHAINS 24
#define UK_DENSE_TABLE uk_dense_avx512
#include "dense_lanes.h"
#pragma clang attribute pop
#endif
