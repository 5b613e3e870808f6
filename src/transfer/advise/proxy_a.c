#include "transfer/advise/linalg.h"
#include "transfer/advise/scores.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* As many of each side, so that a large sample does not make the other one look alike. */
int graft_proxy_a(double *out, const float *a, int64_t n_a, const float *b, int64_t n_b, int64_t width,
                  graft_err *err) {
    int64_t n = n_a < n_b ? n_a : n_b;
    graft_arena *arena = graft_arena_new(NULL);
    const graft_probe_options o = {.decay = 1e-2};
    graft_labelled f;
    graft_probe_result r = {0};
    float *x = arena && n > 0 ? graft_arena_array(arena, (size_t)(2 * n * width), sizeof *x) : NULL;
    int32_t *y = x ? graft_arena_array(arena, (size_t)(2 * n), sizeof *y) : NULL;
    int rc = y ? 0 : graft_err_nomem(err);
    for (int64_t i = 0; i < n && rc == 0; i++) {
        memcpy(x + i * width, a + i * n_a / n * width, (size_t)width * sizeof *x);
        memcpy(x + (n + i) * width, b + i * n_b / n * width, (size_t)width * sizeof *x);
        y[n + i] = 1;
    }
    if (rc == 0) rc = graft_labelled_make(&f, arena, x, 2 * n, width, y, 2, NULL, 0, err);
    if (rc == 0) rc = graft_probe_cross_validate(&r, &f, &o, err);
    *out = rc == 0 ? fmax(0.0, 2.0 * (1.0 - 2.0 * (1.0 - r.accuracy))) : 0.0;
    graft_arena_free(arena);
    return rc;
}
