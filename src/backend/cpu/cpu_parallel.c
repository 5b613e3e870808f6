/* Own kernels' loops over the device's threads. A step allocates nothing, and the OpenMP libraries have to be
 * kept from it: libgomp allocates every team of one anew, libomp a record for every `omp for`. */
#include "backend/cpu/cpu.h"

#include <omp.h>
#include <stdatomic.h>
#include <string.h>

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

void graft_cpu_clear_rest(void *result, size_t row_size, const graft_cpu_own *own,
                          graft_tokens (*tokens_of)(const graft_cpu_own *own, size_t sample), size_t samples,
                          size_t rows) {
    unsigned char *to = result;
    size_t done = 0;
    for (size_t n = 0; n <= samples; n++) {
        graft_tokens t = {(int64_t)rows, 0};
        if (n < samples && (t = tokens_of(own, n)).count == 0) continue;
        if ((size_t)t.first > done) memset(to + done * row_size, 0, ((size_t)t.first - done) * row_size);
        if ((size_t)(t.first + t.count) > done) done = (size_t)(t.first + t.count);
    }
}
