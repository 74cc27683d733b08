// Which instruction set the kernels use: detected once, forced by UNDERSTUDY_ISA=scalar|avx2|avx512|neon.
#ifndef UK_ISA_H
#define UK_ISA_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__clang__)
#pragma clang assume_nonnull begin
#endif

typedef enum uk_isa {
    UK_ISA_SCALAR = 0,
    UK_ISA_AVX2 = 1,    // AVX2, FMA, F16C
    UK_ISA_AVX512 = 2,  // AVX-512 F, BW, DQ, VL and VNNI
    UK_ISA_NEON = 3,    // AArch64 Advanced SIMD
} uk_isa;

/// The instruction set in use. The first call detects it; later calls are a load.
uk_isa uk_isa_active(void);
/// Whether this build and this processor can run `isa`.
bool uk_isa_supported(uk_isa isa);
/// Switches the kernels that the calling thread runs to `isa`. False, with nothing changed, when it is not supported.
/// For tests: other threads, those of a worker pool too, go on as before.
bool uk_isa_select(uk_isa isa);
/// Whether this processor has AArch64's dot product instructions (false elsewhere). UNDERSTUDY_DOT=0 says it has not.
bool uk_isa_has_dot_product(void);
/// "scalar", "avx2", "avx512" or "neon".
const char *uk_isa_name(uk_isa isa);

/// Tells the processor that the calling thread spins.
static inline void uk_spin_hint(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#if defined(__clang__)
#pragma clang assume_nonnull end
#endif
#endif
