/* Which instruction sets own kernels may use here: what the processor has and the system lets programs use.
 */
#include "backend/cpu/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool is_intel(void) {
    unsigned a, b, c, d;
    return __get_cpuid(0, &a, &b, &c, &d) && b == signature_INTEL_ebx;
}

/* Linux gives a process the 8 KB of tiles only when it asks: ARCH_REQ_XCOMP_PERM for XTILEDATA. */
static bool has_amx(void) {
    enum { REQUEST = 0x1023, TILE_DATA = 18, TILES = 1 << 24, BF16 = 1 << 22 };
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & TILES) || !(d & BF16)) return false;
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
}
#endif

graft_cpu_isa graft_cpu_find_isa(void) {
    graft_cpu_isa isa = {0};
#if defined(__x86_64__)
    isa.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    isa.avx512 = isa.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    isa.avx512bf16 = isa.avx512 && __builtin_cpu_supports("avx512bf16");
    isa.amx = isa.avx512bf16 && has_amx();
    isa.slow_bf16 = is_intel();
#endif
    return isa;
}
