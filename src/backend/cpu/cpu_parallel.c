/* Own kernels' loops over the device's threads. */
#include "backend/cpu/cpu.h"

#include <omp.h>

void graft_cpu_parallel(void *self, size_t n, void (*piece)(void *self, size_t i)) {
    if (omp_get_max_threads() ==
        1) { /* libgomp allocates every team of one anew, and a step allocates nothing */
        for (size_t i = 0; i < n; i++) piece(self, i);
        return;
    }
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++) piece(self, i);
}
