// attention.h for AArch64 Advanced SIMD.
#if defined(__aarch64__)
#include <arm_neon.h>
#define UK_LANES 4
#define UK_ATTENTION_TABLE uk_attention_neon
#include "lanes.h"
UK_INLINE lanes_f half_load(const uint16_t *p) { return (lanes_f)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
UK_INLINE void half_store(uint16_t *p, lanes_f v) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32((float32x4_t)v))); }
#include "attention_lanes.h"
#endif
