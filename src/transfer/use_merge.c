/* graft merge: the adapters of a folder become part of the weights, and the folder an ordinary model. */
#include "transfer/use.h"

#include <string.h>

typedef struct merging {
    graft_env *env;
    graft_arena *arena;
    graft_model *model;
    size_t n_adapted;
    bool has_probe;
    graft_feed probe;
} merging;

/* The base would be lost with --adapter, and with it every other adapter that stands on it. */
static int check_place(const merging *x, const char *out, graft_err *err) {
    if (!graft_path_same(out, graft_model_base(x->model))) return 0;
    return graft_err_set(err, GRAFT_EUSAGE, "%s is the base model itself: write the merged one elsewhere",
                         out);
}

/* The merged model has to answer as the adapter did. */
static int verify(double *difference, const merging *x, const char *folder, graft_err *err) {
    graft_verification v;
    if (!x->has_probe) return 0;
    int rc = graft_model_replay(&v, x->env, x->model, folder, err);
    if (rc < 0) return rc;
    *difference = v.max_difference;
    if (v.n_differ == 0 && v.max_difference <= 1e-4 * (1.0 + v.max_logit)) return 0;
    return graft_err_set(err, GRAFT_EDATA,
                         "%s does not answer as it did when it was saved (logits differ by %g): its files or "
                         "those of %s were changed",
                         folder, v.max_difference, graft_model_base(x->model));
}

/* What an adapter's folder knows beside the weights goes with it: how it came about, its probes. */
static int save(merging *x, const char *folder, const char *out, double *difference, graft_err *err) {
    graft_save_info info = {.base_model = graft_path_name(graft_model_base(x->model))};
    json_t *record = NULL;
    const char *path = graft_path_join(x->arena, folder, "graft.json");
    if (!path) return graft_err_nomem(err);
    int rc = graft_path_is_file(path) ? graft_json_read(&record, x->arena, path, err) : 0;
    if (rc == 0) rc = graft_model_probes(&x->probe, &x->has_probe, x->model, x->arena, folder, err);
    info.record = json_is_object(record) ? record : NULL;
    info.probe = x->has_probe ? &x->probe : NULL;
    if (rc == 0) rc = graft_model_merge(x->model, err);
    if (rc == 0) rc = verify(difference, x, folder, err);
    if (rc == 0) rc = graft_model_save(x->model, x->env, out, &info, err);
    if (rc == 0) graft_answers_forget(out);
    return rc;
}

int graft_merge_adapter(char **result, graft_env *env, const char *model, const char *adapter,
                        const char *out, graft_err *err) {
    merging x = {.env = env, .arena = graft_arena_new(NULL)};
    graft_model_options o = GRAFT_MODEL_OPTIONS_INIT;
    double difference = 0;
    if (result) *result = NULL;
    if (!x.arena) return graft_err_nomem(err);
    o.adapter = adapter;
    o.needs_head = true;
    int rc = graft_model_open(&x.model, env, model, &o, err);
    if (rc == 0) x.n_adapted = graft_model_n_adapted(x.model);
    if (rc == 0 && !adapter && !strcmp(graft_model_base(x.model), model))
        rc = graft_err_set(err, GRAFT_EUSAGE, "%s is no adapter's folder: there is nothing to merge", model);
    if (rc == 0) rc = check_place(&x, out, err);
    if (rc == 0) rc = save(&x, adapter ? adapter : model, out, &difference, err);
    if (rc == 0 && result)
        rc = graft_print_json(result,
                              json_pack("{s:o,s:o,s:I,s:f,s:b}", "out", graft_json_string(out), "base",
                                        graft_json_string(graft_model_base(x.model)), "layers",
                                        (json_int_t)x.n_adapted, "verify_difference", difference, "verified",
                                        x.has_probe),
                              err);
    graft_model_close(x.model);
    graft_arena_free(x.arena);
    return rc;
}
