// dense.h for AArch64 Advanced SIMD, which every such processor has.
#if defined(__aarch64__)
#define UK_LANES 4
#define UK_GEMM_ROWS 8
#define UK_PEAK_CHAINS 24
#define UK_DENSE_TABLE uk_dense_neon
#include "dense_lanes.h"
#endif
