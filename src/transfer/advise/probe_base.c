#define PROBE_TABLE graft_probe_base
#include "transfer/advise/probe_body.h"

const graft_probe_loops *graft_probe_loops_choose(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return &graft_probe_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &graft_probe_avx2;
#endif
    return &graft_probe_base;
}
