/* graft embed: what the backbone sees in each picture, one row an input. */
#include "transfer/use.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct embedding {
    graft_env *env;
    const graft_use_options *options;
    graft_model *model;
    graft_data *data;
    graft_use_rows rows;
    float *values; /* [n, width] */
    int64_t n, width, cached, n_bad;
} embedding;

/* The mean over a text's windows; of length 1 where its features have to be. */
static void close_row(const embedding *e, float *row, int64_t windows) {
    double sum = 0;
    if (windows < 2) return;
    for (int64_t j = 0; j < e->width; j++) {
        row[j] /= (float)windows;
        sum += (double)row[j] * (double)row[j];
    }
    if (!graft_model_text(e->model)->unit || !(sum > 0)) return;
    for (int64_t j = 0; j < e->width; j++) row[j] = (float)((double)row[j] / sqrt(sum));
}

static int make_room(embedding *e, graft_err *err) {
    int64_t n_samples = graft_data_n_samples(e->data);
    size_t size = 0;
    e->n = 0;
    for (int64_t i = 0; i < n_samples; i++) e->n += graft_data_sample(e->data, i)->window == 0;
    e->width = graft_model_feature_width(e->model);
    if (!graft_size_mul((size_t)e->n, (size_t)e->width * sizeof *e->values, &size) || size == 0 ||
        !(e->values = malloc(size)))
        return graft_err_nomem(err);
    return 0;
}

/* A row that cannot be had is an error: rows and inputs have to stay side by side. Where a share of bad ones
 * is allowed their rows are NaN, and said. */
static int gather(embedding *e, graft_err *err) {
    int64_t all = 0, n = 0, windows = 0, n_samples = graft_data_n_samples(e->data);
    int rc = make_room(e, err);
    for (int64_t i = 0; i < n_samples && rc == 0; i++) {
        const graft_sample *s = graft_data_sample(e->data, i);
        const float *row = s->state == GRAFT_BAD ? NULL : graft_features_row(e->rows.features, i, -1);
        float *to = e->values + (s->window ? n - 1 : n) * e->width;
        if (s->window) {
            for (int64_t j = 0; j < e->width; j++) to[j] += row ? row[j] : NAN;
            windows++;
            continue;
        }
        if (n) close_row(e, to - e->width, windows);
        n++;
        windows = 1;
        if (row) {
            memcpy(to, row, (size_t)e->width * sizeof *row);
            continue;
        }
        e->n_bad++;
        graft_env_log(e->env, GRAFT_LOG_WARNING, "row %lld is not a number: %s: %s", (long long)n - 1,
                      s->origin, s->reason ? s->reason : "not readable");
        for (int64_t j = 0; j < e->width; j++) to[j] = NAN;
    }
    if (rc == 0 && n) close_row(e, e->values + (n - 1) * e->width, windows);
    if (rc == 0) graft_features_counts(e->rows.features, &e->cached, &all);
    return rc;
}

static bool is_npy(const char *path) {
    return strcasecmp(graft_path_extension(path), "npy") == 0;
}

static int check_name(const char *path, graft_err *err) {
    if (is_npy(path) || strcasecmp(graft_path_extension(path), "safetensors") == 0) return 0;
    return graft_err_set(err, GRAFT_EUSAGE, "'%s': features are written as .npy or .safetensors", path);
}

static int write_rows(const embedding *e, const char *path, graft_err *err) {
    graft_tensor t = {.name = "features",
                      .dtype = GRAFT_F32,
                      .shape = {2, {e->n, e->width}},
                      .data = e->values,
                      .size = (size_t)e->n * (size_t)e->width * sizeof *e->values};
    return is_npy(path) ? graft_npy_write(path, &t, err) : graft_safetensors_write(path, &t, 1, NULL, err);
}

static int embed(embedding *e, const char *const *inputs, size_t n_inputs, const char *out, graft_err *err) {
    int rc = graft_use_inputs(&e->data, e->env, e->model, inputs, n_inputs, -1, e->options, err);
    if (rc == 0)
        rc = graft_use_features_open(&e->rows, e->env, e->model, e->data, NULL, 0, false, e->options, err);
    if (rc == 0) rc = gather(e, err);
    return rc == 0 ? write_rows(e, out, err) : rc;
}

/* Of a model that answers for each token the features are those of the whole text all the same. */
static int make_whole(graft_model *m, graft_err *err) {
    static const char *const names[] = {"0"};
    if (graft_model_task(m) != GRAFT_TASK_TAGGING) return 0;
    int rc = graft_model_set_task(m, GRAFT_TASK_CLASSES, err);
    return rc < 0 ? rc : graft_model_head(m, "linear", names, 1, 0, NULL, err);
}

int graft_embed(char **result, graft_env *env, const char *model, const char *const *inputs, size_t n_inputs,
                const char *out, const graft_use_options *options, graft_err *err) {
    static const graft_use_options none = GRAFT_USE_OPTIONS_INIT;
    embedding e = {.env = env, .options = options ? options : &none};
    if (result) *result = NULL;
    const char *adapter = NULL;
    int rc = check_name(out, err);
    if (rc == 0) rc = graft_use_one_adapter(&adapter, e.options, err);
    if (rc == 0) rc = graft_use_model(&e.model, env, model, adapter, e.options, false, err);
    if (rc == 0) rc = make_whole(e.model, err);
    if (rc == 0) graft_precision_tell(env, e.options->precision);
    if (rc == 0) rc = embed(&e, inputs, n_inputs, out, err);
    if (rc == 0 && result) {
        rc = graft_print_json(result,
                              json_pack("{s:o,s:I,s:I,s:I,s:I}", "out", graft_json_string(out), "n",
                                        (json_int_t)e.n, "width", (json_int_t)e.width, "cached",
                                        (json_int_t)e.cached, "n_bad", (json_int_t)e.n_bad),
                              err);
    }
    free(e.values);
    graft_use_rows_close(&e.rows);
    graft_data_close(e.data);
    graft_model_close(e.model);
    return rc;
}
