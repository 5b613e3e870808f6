/* A model opened for use, and its features over data. */
#include "transfer/use.h"

int graft_use_one_adapter(const char **out, const graft_use_options *options, graft_err *err) {
    *out = options->n_adapters ? options->adapters[0] : NULL;
    if (options->n_adapters < 2) return 0;
    return graft_err_set(err, GRAFT_EUSAGE, "one --adapter at a time; graft predict takes several");
}

int graft_use_model(graft_model **out, const graft_env *env, const char *path, const char *adapter,
                    const graft_use_options *options, bool needs_head, graft_err *err) {
    graft_model_options o = GRAFT_MODEL_OPTIONS_INIT;
    o.family = options->family;
    o.labels_file = options->data.labels_file;
    o.needs_head = needs_head;
    o.pooling = options->pooling;
    o.else_pooling =
        needs_head ? NULL : "mean"; /* what is only embedded is spoken for by all of its tokens */
    o.max_length = options->max_length;
    o.stride = options->stride;
    o.adapter = adapter;
    int rc = graft_model_open(out, env, path, &o, err);
    if (rc == 0 && (rc = graft_model_merge(*out, err)) < 0) {
        graft_model_close(*out);
        *out = NULL;
    }
    return rc;
}

graft_precision graft_use_dtype(const graft_use_options *options) {
    return graft_backend_precision(options->precision);
}

void graft_precision_tell(const graft_env *env, graft_precision asked) {
    if (graft_backend_precision(asked) == asked) return;
    graft_env_log(env, GRAFT_LOG_WARNING, "this processor has no %s: computing in float32",
                  asked == GRAFT_PRECISION_BF16 ? "bf16" : "AMX, which bf16x3 needs");
}

graft_data_options graft_use_data_options(const graft_data_choice *choice, const graft_model *m) {
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    o.modality = graft_model_modality(m);
    o.task = graft_model_task(m);
    o.pair_column = choice->pair_column;
    o.input_column = choice->input_column;
    o.label_column = choice->label_column;
    o.max_bad = choice->max_bad;
    o.strict = choice->strict;
    o.labels = GRAFT_LABELS_IGNORED;
    o.validation = -1;
    return o;
}

int graft_use_inputs(graft_data **out, const graft_env *env, const graft_model *m, const char *const *inputs,
                     size_t n_inputs, double max_bad, const graft_use_options *options, graft_err *err) {
    graft_data_options o = graft_use_data_options(&options->data, m);
    if (!(o.max_bad > 0)) o.max_bad = max_bad;
    if (!options->inputs_are_texts) {
        int rc = graft_data_open_inputs(out, env, inputs, n_inputs, &o, err);
        return rc < 0 ? rc : graft_data_cut(*out, m, err);
    }
    if (graft_model_modality(m) != GRAFT_TEXTS)
        return graft_err_set(err, GRAFT_EUSAGE, "%s is a model of pictures: --text is for models of texts",
                             graft_model_path(m));
    int rc = graft_data_open_texts(out, env, inputs, n_inputs, &o, err);
    return rc < 0 ? rc : graft_data_cut(*out, m, err);
}

/* Only the head is trained: all below it is the prefix. */
static int split(graft_use_rows *r, const graft_env *env, const graft_model *m, graft_precision dtype,
                 graft_err *err) {
    const graft_evidence evidence = {0};
    graft_graph *graph = NULL;
    graft_phase *phases = NULL;
    const char *plan;
    size_t n_phases = 0;
    int rc = graft_model_graph(&graph, r->arena, m, 0, 0, err);
    if (rc == 0) rc = graft_strategy_phases(&phases, &n_phases, &plan, r->arena, m, "head", &evidence, err);
    if (rc == 0) rc = graft_mark_trained(graph, m, &phases[0], false, err);
    if (rc == 0)
        rc = graft_prefix_split(&r->prefix, &r->suffix, r->arena, env, graph, dtype, 0,
                                graft_model_longest(m), err);
    if (rc == 0 && !r->prefix)
        rc = graft_err_set(err, GRAFT_EINTERNAL, "nothing of %s lies below its head", graft_model_path(m));
    return rc;
}

/* The pooled features, whatever else the head may read. */
static int split_features(graft_use_rows *r, const graft_env *env, const graft_model *m,
                          graft_precision dtype, graft_err *err) {
    graft_graph *graph = NULL;
    int rc = graft_model_graph(&graph, r->arena, m, 0, 0, err);
    if (rc < 0) return rc;
    const graft_value features = graft_graph_find(graph, "features");
    return graft_prefix_of_values(&r->prefix, env, graph, &features, 1, dtype, graft_model_longest(m), err);
}

static int open_rows(graft_use_rows *out, const graft_env *env, const graft_model *m, graft_data *data,
                     const int64_t *samples, int64_t n, bool with_head, bool partial,
                     const graft_use_options *options, graft_err *err) {
    graft_features_options o = {.dtype = graft_use_dtype(options),
                                .use_cache = !options->no_cache,
                                .check = true,
                                .partial = partial,
                                .samples = samples,
                                .n_samples = n};
    *out = (graft_use_rows){.arena = graft_arena_new(NULL)};
    if (!out->arena) return graft_err_nomem(err);
    int rc = graft_transform_of(&out->transform, m, NULL, err);
    if (rc == 0) rc = (with_head ? split : split_features)(out, env, m, o.dtype, err);
    if (rc == 0) rc = graft_features_new(&out->features, env, data, &out->transform, out->prefix, &o, err);
    return rc;
}

int graft_use_rows_open(graft_use_rows *out, const graft_env *env, const graft_model *m, graft_data *data,
                        const int64_t *samples, int64_t n, const graft_use_options *options, graft_err *err) {
    return open_rows(out, env, m, data, samples, n, true, false, options, err);
}

int graft_use_features_open(graft_use_rows *out, const graft_env *env, const graft_model *m, graft_data *data,
                            const int64_t *samples, int64_t n, bool partial, const graft_use_options *options,
                            graft_err *err) {
    return open_rows(out, env, m, data, samples, n, false, partial, options, err);
}

void graft_use_rows_close(graft_use_rows *r) {
    graft_features_free(r->features);
    graft_prefix_free(r->prefix);
    graft_arena_free(r->arena);
}

int graft_print_json(char **out, json_t *o, graft_err *err) {
    graft_buf text;
    *out = NULL;
    graft_buf_init(&text, 0);
    if (o) {
        graft_json_print(&text, o);
        *out = graft_buf_take(&text);
    }
    graft_buf_done(&text);
    json_decref(o);
    return *out ? 0 : graft_err_nomem(err);
}
