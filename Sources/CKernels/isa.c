#include "CKernels.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

// -1: not detected yet. Detection has no side effects, so two threads may both do it.
static atomic_int active_isa = -1;

bool uk_isa_supported(uk_isa isa) {
    switch (isa) {
    case UK_ISA_SCALAR:
        return true;
#if defined(__x86_64__)
    case UK_ISA_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    case UK_ISA_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512vnni") && uk_isa_supported(UK_ISA_AVX2);
#endif
#if defined(__aarch64__)
    case UK_ISA_NEON:
        return true;
#endif
    default:
        return false;
    }
}

const char *uk_isa_name(uk_isa isa) {
    switch (isa) {
    case UK_ISA_AVX2: return "avx2";
    case UK_ISA_AVX512: return "avx512";
    case UK_ISA_NEON: return "neon";
    default: return "scalar";
    }
}

bool uk_isa_has_dot_product(void) {
#if defined(__aarch64__)
    // -1: not detected yet.
    static atomic_int known = -1;
    int has = atomic_load_explicit(&known, memory_order_relaxed);
    if (has < 0) {
        const char *forced = getenv("UNDERSTUDY_DOT");
#if defined(__linux__)
        has = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#elif defined(__APPLE__)
        has = 1;
#else
        has = 0;
#endif
        if (forced && forced[0] == '0') has = 0;
        atomic_store_explicit(&known, has, memory_order_relaxed);
    }
    return has;
#else
    return false;
#endif
}

static uk_isa detect(void) {
    static const uk_isa best_first[] = {UK_ISA_AVX512, UK_ISA_NEON, UK_ISA_AVX2, UK_ISA_SCALAR};
    const size_t count = sizeof best_first / sizeof *best_first;
    const char *forced = getenv("UNDERSTUDY_ISA");
    if (forced) {
        for (size_t i = 0; i < count; i++)
            if (strcmp(forced, uk_isa_name(best_first[i])) == 0 && uk_isa_supported(best_first[i])) return best_first[i];
    }
    for (size_t i = 0; i < count; i++)
        if (uk_isa_supported(best_first[i])) return best_first[i];
    return UK_ISA_SCALAR;
}

// What the calling thread was told to use; -1: nothing.
static _Thread_local int chosen_isa = -1;

uk_isa uk_isa_active(void) {
    if (chosen_isa >= 0) return (uk_isa)chosen_isa;
    int isa = atomic_load_explicit(&active_isa, memory_order_relaxed);
    if (isa < 0) {
        isa = (int)detect();
        atomic_store_explicit(&active_isa, isa, memory_order_relaxed);
    }
    return (uk_isa)isa;
}

bool uk_isa_select(uk_isa isa) {
    if (!uk_isa_supported(isa)) return false;
    chosen_isa = (int)isa;
    return true;
}
