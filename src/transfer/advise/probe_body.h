/* The loops of probe_loops.h; included by one file an instruction set, which names the table PROBE_TABLE.
 * Sums have their lanes and order in the source and nothing is contracted, so that every table gives the same
 * bits. No include guard: it is a body, not a declaration. */
#include "transfer/advise/probe_loops.h"

#include <string.h>

typedef double lanes __attribute__((vector_size(8 * GRAFT_PROBE_LANES)));
typedef lanes loose __attribute__((aligned(8), may_alias)); /* where numbers begin anywhere */

enum { TOGETHER = 4 }; /* rows: their sums wait for each other no longer than an addition takes */

#define AT(p) (*(const loose *)(p))

static double sum_of(const lanes *x) {
    double sums[GRAFT_PROBE_LANES];
    memcpy(sums, x, sizeof sums);
    for (int half = GRAFT_PROBE_LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) sums[i] += sums[i + half];
    return sums[0];
}

static double dot(const double *a, const double *b, int64_t size) {
    lanes sum = {0};
    for (int64_t j = 0; j < size; j += GRAFT_PROBE_LANES) sum += AT(a + j) * AT(b + j);
    return sum_of(&sum);
}

static void logits(double *z, const double *x, const double *w, int64_t n, int64_t k, int64_t size) {
    int64_t i = 0;
    for (; i + TOGETHER <= n; i += TOGETHER)
        for (int64_t c = 0; c < k; c++) {
            const double *row = x + i * size, *own = w + c * size;
            lanes sums[TOGETHER] = {{0}};
            for (int64_t j = 0; j < size; j += GRAFT_PROBE_LANES) {
                lanes weights = AT(own + j);
                sums[0] += weights * AT(row + j);
                sums[1] += weights * AT(row + size + j);
                sums[2] += weights * AT(row + 2 * size + j);
                sums[3] += weights * AT(row + 3 * size + j);
            }
            for (int r = 0; r < TOGETHER; r++) z[(i + r) * k + c] = sum_of(&sums[r]);
        }
    for (; i < n; i++)
        for (int64_t c = 0; c < k; c++) z[i * k + c] = dot(x + i * size, w + c * size, size);
}

static void gather(double *g, const double *x, const double *e, int64_t n, int64_t k, int64_t size) {
    int64_t i = 0;
    for (; i + TOGETHER <= n; i += TOGETHER)
        for (int64_t c = 0; c < k; c++) {
            const double *row = x + i * size, *share = e + i * k + c;
            double *restrict own = g + c * size;
            const double s[TOGETHER] = {share[0], share[k], share[2 * k], share[3 * k]};
            for (int64_t j = 0; j < size; j += GRAFT_PROBE_LANES) {
                lanes sum = AT(own + j) + s[0] * AT(row + j);
                sum += s[1] * AT(row + size + j);
                sum += s[2] * AT(row + 2 * size + j);
                sum += s[3] * AT(row + 3 * size + j);
                *(loose *)(own + j) = sum;
            }
        }
    for (; i < n; i++)
        for (int64_t c = 0; c < k; c++)
            for (int64_t j = 0; j < size; j++) g[c * size + j] += e[i * k + c] * x[i * size + j];
}

const graft_probe_loops PROBE_TABLE = {logits, gather, dot};
