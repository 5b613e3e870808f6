/* graft inspect: what a model is, and what a plan would train of it. */
#include "transfer/use.h"

#include <string.h>

typedef struct inspection {
    const graft_env *env;
    graft_arena *arena;
    graft_model *model;
    graft_phase *phases; /* of the plan; NULL: none was given */
    size_t n_phases;
    const char *plan;
} inspection;

static int64_t n_values(const graft_param *p) {
    int64_t count = 0;
    return graft_shape_count(&p->shape, &count) ? count : 0;
}

/* Of each phase, whether all, some or none of a stage trains. */
static json_t *trained_json(const inspection *x, size_t stage, json_int_t parameters) {
    json_t *a = json_array();
    for (size_t i = 0; i < x->n_phases; i++) {
        int64_t n = graft_phase_trained_in(&x->phases[i], x->model, stage);
        json_array_append_new(a, json_string(n == 0 ? "frozen" : n == parameters ? "trained" : "partly"));
    }
    return a;
}

/* Parameters as they are counted everywhere: running statistics apart. */
static json_t *stage_json(const inspection *x, size_t stage) {
    json_int_t parameters = 0, statistics = 0, tensors = 0;
    for (size_t i = 0; i < graft_model_n_params(x->model); i++) {
        const graft_param *p = graft_model_param(x->model, i);
        if (p->stage != (int)stage) continue;
        tensors++;
        *(p->kind == GRAFT_PARAM_STATISTIC ? &statistics : &parameters) += n_values(p);
    }
    json_t *o = json_pack("{s:s,s:I,s:I,s:I}", "name", graft_model_stage_name(x->model, stage), "parameters",
                          parameters, "statistics", statistics, "tensors", tensors);
    if (o && x->phases) json_object_set_new(o, "phases", trained_json(x, stage, parameters));
    return o;
}

static json_t *stages_json(const inspection *x, json_int_t *total) {
    json_t *stages = json_array();
    for (size_t i = 0; i < graft_model_n_stages(x->model); i++) {
        json_t *stage = stage_json(x, i);
        *total += json_integer_value(json_object_get(stage, "parameters"));
        if (json_array_append_new(stages, stage) < 0) {
            json_decref(stages);
            return NULL;
        }
    }
    return stages;
}

static json_t *labels_json(const graft_model *m) {
    size_t n = 0;
    const char *const *labels = graft_model_labels(m, &n);
    json_t *a = json_array();
    for (size_t i = 0; i < n && a; i++) json_array_append_new(a, graft_json_string(labels[i]));
    return a;
}

/* What is kept of a sample: places of the values that cross from the frozen part, those that programs read
 * themselves apart. A value of tokens has so many a token. */
static json_t *kept_json(const graft_graph *g, const graft_plan *plan) {
    json_int_t sample = 0, token = 0;
    for (size_t i = 0; i < plan->n_boundary; i++) {
        const graft_value_info *info = graft_graph_value(g, plan->boundary[i]);
        graft_shape one = info->shape;
        int64_t count = 0;
        if (info->kind == GRAFT_INPUT || one.rank == 0) continue;
        bool by_token = one.dims[0] == GRAFT_DIM_TOKENS;
        one.dims[0] = 1;
        if (graft_shape_count(&one, &count)) *(by_token ? &token : &sample) += count;
    }
    return json_pack("{s:I,s:I}", "values_a_sample", sample, "values_a_token", token);
}

/* What is frozen, kept and computed in a step of a phase. False where the model cannot be built without data:
 * the size of its pictures is not known. */
static bool add_cost(json_t *o, const inspection *x, size_t phase) {
    graft_graph *whole = NULL, *g = NULL;
    graft_plan plan;
    const graft_output *outputs;
    graft_output *kept = NULL;
    size_t n_kept = 0;
    int rc = graft_model_graph(&whole, x->arena, x->model, 0, 0, NULL);
    if (rc == 0) rc = graft_mark_trained(whole, x->model, &x->phases[phase], false, NULL);
    size_t n = rc == 0 ? graft_graph_outputs(whole, &outputs) : 0;
    if (rc == 0 && !(kept = graft_arena_array(x->arena, n + 1, sizeof *kept))) rc = GRAFT_ENOMEM;
    for (size_t i = 0; rc == 0 && i < n; i++) /* what only looks back does not count */
        if (strcmp(outputs[i].name, "features") != 0) kept[n_kept++] = outputs[i];
    if (rc == 0) rc = graft_graph_extract(&g, x->arena, whole, NULL, NULL, 0, kept, n_kept, NULL);
    if (rc == 0) rc = graft_plan_derive(&plan, x->arena, g, NULL);
    if (rc < 0) return false;
    graft_cost cost = graft_graph_cost(g, &plan);
    json_object_set_new(o, "multiply_adds",
                        json_pack("{s:f,s:f,s:f}", "frozen", cost.frozen, "forward", cost.forward, "backward",
                                  cost.backward));
    if (plan.n_prefix) json_object_set_new(o, "kept", kept_json(g, &plan));
    return true;
}

/* Of a parameter's norm: where its own name begins. */
static size_t module_size(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot ? (size_t)(dot - name) : 0;
}

static bool ends_in(const char *name, const char *end) {
    size_t n = strlen(name), k = strlen(end);
    return n >= k && strcmp(name + n - k, end) == 0;
}

/* Norm layers, how many have a scale or shift that trains, and how many have running statistics that may:
 * those of norms whose scale trains do, if --norm says so, and no others. */
static json_t *norms_json(const inspection *x, const graft_phase *phase) {
    json_int_t n = 0, trained = 0, statistics = 0, moving = 0;
    const char *last = "", *counted = "";
    for (size_t i = 0; i < graft_model_n_params(x->model); i++) {
        const graft_param *p = graft_model_param(x->model, i);
        size_t size = module_size(p->name);
        if (p->kind == GRAFT_PARAM_STATISTIC && ends_in(p->name, ".running_mean")) {
            statistics++;
            moving += phase->trains[i];
        }
        if (p->kind != GRAFT_PARAM_NORM) continue;
        bool again = module_size(last) == size && strncmp(last, p->name, size) == 0;
        n += !again;
        last = p->name;
        if (!phase->trains[i]) continue;
        trained += !(module_size(counted) == size && strncmp(counted, p->name, size) == 0);
        counted = p->name;
    }
    return json_pack("{s:I,s:I,s:I,s:I}", "layers", n, "trained", trained, "with_statistics", statistics,
                     "statistics_may_move", moving);
}

static json_t *phase_json(const inspection *x, size_t i, json_int_t total) {
    const graft_phase *phase = &x->phases[i];
    json_int_t trained = 0;
    for (size_t s = 0; s < graft_model_n_stages(x->model); s++)
        trained += graft_phase_trained_in(phase, x->model, s);
    json_t *o = json_pack("{s:s,s:I,s:I,s:o}", "plan", phase->plan, "trained_parameters", trained,
                          "frozen_parameters", total - trained, "norms", norms_json(x, phase));
    if (o && phase->epochs) json_object_set_new(o, "epochs", json_integer(phase->epochs));
    if (o) (void)add_cost(o, x, i);
    return o;
}

static json_t *plan_json(const inspection *x, json_int_t total) {
    json_t *phases = json_array();
    for (size_t i = 0; i < x->n_phases; i++) json_array_append_new(phases, phase_json(x, i, total));
    return json_pack("{s:s,s:o}", "train", x->plan, "phases", phases);
}

/* How pictures become input. */
static bool add_pictures(json_t *o, const graft_model *m) {
    char how[320];
    int height = 0, width = 0;
    graft_preprocess_explain(graft_model_preprocess(m), how, sizeof how);
    return json_object_set_new(o, "preprocessing", json_string(how)) == 0 &&
           json_object_set_new(o, "channels", json_integer(graft_model_channels(m))) == 0 &&
           (!graft_model_input_size(m, &height, &width) ||
            json_object_set_new(o, "input", json_pack("[i,i]", height, width)) == 0);
}

/* How texts become input and features, and what the head answers. A text is cut at max_length tokens, or read
 * in windows of as many that share stride; pooling
 * says nothing where each word is answered for. */
static bool add_texts(json_t *o, const graft_model *m) {
    static const char *const tasks[] = {[GRAFT_TASK_CLASSES] = "classes",
                                        [GRAFT_TASK_MULTILABEL] = "multilabel",
                                        [GRAFT_TASK_REGRESSION] = "regression",
                                        [GRAFT_TASK_TAGGING] = "tagging"};
    const graft_text_rules *rules = graft_model_text(m);
    const graft_tokenizer *tokenizer = NULL;
    graft_task task = graft_model_task(m);
    bool found = graft_model_tokenizer(&tokenizer, m, NULL) == 0;
    const char *pooling = task == GRAFT_TASK_TAGGING ? "none" : graft_pooling_name(rules->pooling);
    return json_object_set_new(o, "text",
                               json_pack("{s:s,s:s,s:b,s:I,s:I,s:I,s:b}", "task", tasks[task], "pooling",
                                         pooling, "unit", rules->unit, "max_length",
                                         (json_int_t)rules->max_length, "stride", (json_int_t)rules->stride,
                                         "vocabulary", (json_int_t)rules->vocabulary, "tokenizer", found)) ==
           0;
}

/* What stands beside the layers, and on what. */
static bool add_adapter(json_t *o, const graft_model *m) {
    const graft_lora *l = graft_model_lora(m);
    if (!l) return true;
    return json_object_set_new(o, "adapter",
                               json_pack("{s:I,s:f,s:f,s:b,s:I,s:o}", "r", (json_int_t)l->r, "alpha",
                                         l->alpha, "dropout", l->dropout, "rslora", l->rslora, "layers",
                                         (json_int_t)graft_model_n_adapted(m), "base",
                                         graft_json_string(graft_model_base(m)))) == 0;
}

static int describe(char **result, const inspection *x, graft_err *err) {
    const graft_model *m = x->model;
    json_int_t total = 0;
    size_t n_labels = 0;
    graft_model_labels(m, &n_labels);
    json_t *stages = stages_json(x, &total);
    json_t *o = json_pack(
        "{s:o,s:s,s:s,s:o,s:I,s:I,s:o,s:b,s:I,s:b,s:b}", "model", graft_json_string(graft_model_path(m)),
        "family", graft_model_family(m), "description", graft_model_description(m), "stages", stages,
        "parameters", total, "features", (json_int_t)graft_model_feature_width(m), "labels", labels_json(m),
        "labels_known", graft_model_labels_are_known(m), "n_labels", (json_int_t)n_labels, "from_scratch",
        graft_model_is_scratch(m), "head_is_new", graft_model_head_is_new(m));
    bool ok = o && (graft_model_modality(m) == GRAFT_TEXTS ? add_texts(o, m) : add_pictures(o, m));
    ok = ok && add_adapter(o, m);
    if (ok && x->phases) ok = json_object_set_new(o, "plan", plan_json(x, total)) == 0;
    if (!ok) {
        json_decref(o);
        return graft_err_nomem(err);
    }
    return graft_print_json(result, o, err);
}

int graft_inspect(char **result, graft_env *env, const char *model, const char *family, const char *train,
                  graft_err *err) {
    inspection x = {.env = env, .arena = graft_arena_new(NULL)};
    graft_model_options o = GRAFT_MODEL_OPTIONS_INIT;
    const graft_evidence evidence = {0};
    *result = NULL;
    o.family = family;
    if (!x.arena) return graft_err_nomem(err);
    int rc = graft_model_open(&x.model, env, model, &o, err);
    if (rc == 0 && train) rc = graft_strategy_prepare(x.model, train, 0, err);
    if (rc == 0 && train)
        rc = graft_strategy_phases(&x.phases, &x.n_phases, &x.plan, x.arena, x.model, train, &evidence, err);
    if (rc == 0) rc = describe(result, &x, err);
    graft_model_close(x.model);
    graft_arena_free(x.arena);
    return rc;
}
