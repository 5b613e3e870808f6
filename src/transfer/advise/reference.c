/* Pooled features of some training samples, which graft leaves beside every model it trains: what the model
 * knows, in its own terms. A later advise holds new data against them. */
#include "transfer/advise/advise.h"
#include "transfer/advise/auto.h"
#include "transfer/use.h"

#include <string.h>

enum { MOST_ROWS = 400, FEWEST_ROWS = 64, MOST_FLOATS = 1 << 18 };

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

/* Training samples, spread evenly over their order; a megabyte of rows at most, but for very wide ones. */
static int64_t pick(int64_t **out, const graft_job *j, int64_t width) {
    int64_t n = 0, most = MOST_FLOATS / (width > 0 ? width : 1);
    const int64_t *members = graft_data_members(j->data, GRAFT_TRAIN, &n);
    most = most > MOST_ROWS ? MOST_ROWS : most < FEWEST_ROWS ? FEWEST_ROWS : most;
    int64_t wanted = n < most ? n : most;
    *out = graft_arena_array(j->arena, (size_t)wanted + 1, sizeof **out);
    for (int64_t i = 0; *out && i < wanted; i++) (*out)[i] = members[i * n / wanted];
    return wanted;
}

/* Features of a head alone that was trained lie in the cache already. */
static int take_rows(graft_tensor *out, graft_job *j, const int64_t *samples, int64_t n, int64_t width,
                     graft_err *err) {
    graft_use_options o = GRAFT_USE_OPTIONS_INIT;
    graft_use_rows rows;
    int64_t kept = 0;
    o.precision = j->options.precision;
    o.no_cache = strcmp(j->plan, "head") != 0 || j->options.cache_variants < 0;
    float *values = graft_arena_array(j->arena, (size_t)(n * width) + 1, sizeof *values);
    if (!values) return graft_err_nomem(err);
    int rc = graft_use_features_open(&rows, j->env, j->model, j->data, samples, n, false, &o, err);
    for (int64_t i = 0; i < n && rc == 0; i++) {
        const float *row = graft_features_row(rows.features, samples[i], -1);
        if (row) memcpy(values + kept++ * width, row, (size_t)width * sizeof *values);
    }
    graft_use_rows_close(&rows);
    *out = (graft_tensor){.name = "features",
                          .dtype = GRAFT_F32,
                          .shape = {2, {kept, width}},
                          .data = values,
                          .size = (size_t)(kept * width) * sizeof *values};
    return rc;
}

int graft_job_reference(graft_tensor *out, size_t *n, graft_job *j, graft_err *err) {
    int64_t *samples = NULL, width = graft_model_feature_width(j->model);
    *n = 0;
    if (graft_model_task(j->model) == GRAFT_TASK_TAGGING) return 0;
    int64_t wanted = pick(&samples, j, width);
    if (!samples) return graft_err_nomem(err);
    if (wanted < 2) return 0;
    int rc = take_rows(out, j, samples, wanted, width, err);
    *n = rc == 0;
    return rc;
}
