/* Pooled features of some training samples, which graft leaves beside every model it trains: what the model
 * knows, in its own terms. A later advise holds new data against them. */
#include "transfer/advise/advise.h"

#include <string.h>

enum { MOST_ROWS = 400 };

int graft_reference_read(const float **rows, int64_t *n, graft_arena *arena, const char *folder,
                         int64_t width, graft_err *err) {
    graft_tensors ts;
    const char *path = graft_path_join(arena, folder, GRAFT_REFERENCE_FILE);
    *n = 0;
    if (!path) return graft_err_nomem(err);
    if (!graft_path_is_dir(folder) || !graft_path_is_file(path)) return 0;
    int rc = graft_safetensors_open(&ts, arena, path, err);
    if (rc < 0) return rc;
    const graft_tensor *t = graft_tensors_find(&ts, "features");
    if (!t || t->dtype != GRAFT_F32 || t->shape.rank != 2 || t->shape.dims[1] != width ||
        t->shape.dims[0] < 2)
        return 0;
    float *copy = graft_arena_array(arena, t->size / sizeof *copy + 1, sizeof *copy);
    if (!copy) return graft_err_nomem(err);
    memcpy(copy, t->data, t->size);
    *rows = copy;
    *n = t->shape.dims[0];
    return 0;
}

/* Every so-manieth row, at most MOST_ROWS. */
static const float *thin(graft_arena *arena, const float *rows, int64_t *n, int64_t width) {
    if (*n <= MOST_ROWS) return rows;
    float *kept = graft_arena_array(arena, (size_t)(MOST_ROWS * width), sizeof *kept);
    for (int64_t i = 0; kept && i < MOST_ROWS; i++)
        memcpy(kept + i * width, rows + i * *n / MOST_ROWS * width, (size_t)width * sizeof *kept);
    *n = MOST_ROWS;
    return kept;
}

int graft_likeness_measure(graft_likeness_evidence *out, const float *rows, int64_t n, int64_t width,
                           const char *folder, graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    const float *reference = NULL;
    int64_t n_reference = 0;
    double scale = 0;
    *out = (graft_likeness_evidence){0};
    int rc = arena && rows ? graft_reference_read(&reference, &n_reference, arena, folder, width, err)
                           : graft_err_nomem(err);
    if (rc == 0 && n_reference) {
        reference = thin(arena, reference, &n_reference, width);
        rows = thin(arena, rows, &n, width);
        rc = reference && rows ? 0 : graft_err_nomem(err);
        if (rc == 0) rc = graft_frechet(&out->frechet, &scale, reference, n_reference, rows, n, width, err);
        if (rc == 0) rc = graft_mmd(&out->mmd, reference, n_reference, rows, n, width, err);
        if (rc == 0) rc = graft_proxy_a(&out->proxy_a, reference, n_reference, rows, n, width, err);
        out->frechet = scale > 0 ? out->frechet / scale : 0.0;
        out->known = rc == 0;
    }
    graft_arena_free(arena);
    return rc;
}
