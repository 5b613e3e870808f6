/* Own kernels' loops over the device's threads. A step allocates nothing, and the OpenMP libraries have to be
 * kept from it: libgomp allocates every team of one anew, libomp a record for every `omp for`. */
#include "backend/cpu/cpu.h"

#include <omp.h>
#include <stdatomic.h>

void graft_cpu_parallel(void *self, size_t n, void (*piece)(void *self, size_t i)) {
    if (omp_get_max_threads() == 1) {
        for (size_t i = 0; i < n; i++) piece(self, i);
        return;
    }
#pragma omp parallel
    {
        size_t threads = (size_t)omp_get_num_threads(), me = (size_t)omp_get_thread_num();
        for (size_t i = n * me / threads; i < n * (me + 1) / threads; i++) piece(self, i);
    }
}

void graft_cpu_parallel_uneven(void *self, size_t n, void (*piece)(void *self, size_t i, size_t thread)) {
    if (omp_get_max_threads() == 1) {
        for (size_t i = 0; i < n; i++) piece(self, i, 0);
        return;
    }
    atomic_size_t next = 0;
#pragma omp parallel
    {
        size_t me = (size_t)omp_get_thread_num(), i;
        while ((i = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed)) < n) piece(self, i, me);
    }
}

graft_cpu_isa graft_cpu_isa_of_processor(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        return GRAFT_CPU_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return GRAFT_CPU_AVX2;
#endif
    return GRAFT_CPU_BASE;
}
