/* Training steps a second on noise: what a model's step costs, input pictures already in memory.
 *
 *     bench_train MODEL [--train head|top:N|full|lora:...] [--batch N] [--length TOKENS] [--dtype
 * fp32|bf16|bf16x3]
 * [--seconds S] [--threads T]
 * [--trace]
 *
 * The frozen prefix, where there is one, runs in front of every step, as it does without the bottleneck
 * cache. Prints one JSON object as bench_forward does; --trace prints the kernels of one step instead. */
#include "bench_inputs.h"

#include "learn/run.h"
#include "transfer/prefix.h"

typedef struct setup {
    graft_env *env;
    graft_model *model;
    graft_arena *arena;
    graft_prefix *prefix;
    graft_graph *suffix;
    graft_state *state;
    graft_recipe recipe;
    graft_stepper stepper;
    float **rows;
    bench_inputs inputs;
    graft_row_tensors tensors;
} setup;

static graft_param_group group_of(void *user, const char *name) {
    (void)user;
    (void)name;
    return (graft_param_group){1.0, 1e-4};
}

static int open_setup(setup *s, const bench_options *o, graft_err *err) {
    graft_env_options eo = GRAFT_ENV_OPTIONS_INIT;
    graft_phase *phases = NULL;
    size_t n_phases = 0, classes = 0;
    const char *plan = NULL;
    graft_evidence evidence = {0};
    graft_graph *graph = NULL;
    eo.threads = o->threads;
    int rc = graft_env_new(&s->env, &eo, err);
    if (rc == 0) rc = graft_model_open(&s->model, s->env, o->model, NULL, err);
    if (rc < 0) return rc;
    graft_model_labels(s->model, &classes);
    if (classes == 0) return graft_err_set(err, GRAFT_EDATA, "%s has no classes to train for", o->model);
    s->recipe = (graft_recipe){.loss = graft_loss_find("cross_entropy"),
                               .optimiser = graft_optimiser_find("sgd"),
                               .schedule = graft_schedule_find("constant"),
                               .lr = 1e-3,
                               .momentum = 0.9,
                               .epochs = 1,
                               .n_classes = (int64_t)classes,
                               .batch = o->batch,
                               .micro_batch = o->batch,
                               .dtype = o->dtype,
                               .group = group_of};
    if (graft_model_modality(s->model) == GRAFT_TEXTS) s->recipe.tokens = o->batch * o->length;
    rc = graft_strategy_prepare(s->model, o->train, 0, err);
    if (rc == 0) rc = graft_model_graph(&graph, s->arena, s->model, 0, 0, err);
    if (rc == 0)
        rc = graft_strategy_phases(&phases, &n_phases, &plan, s->arena, s->model, o->train, &evidence, err);
    if (rc == 0) rc = graft_mark_trained(graph, s->model, phases, true, err);
    if (rc == 0 && graft_model_n_adapted(s->model) && !graft_prefix_pays(graph, s->arena)) {
        rc = graft_prefix_none(&s->suffix, s->arena, graph, err);
    } else if (rc == 0) {
        rc = graft_prefix_split(&s->prefix, &s->suffix, s->arena, s->env, graph, s->recipe.dtype, o->batch,
                                graft_model_longest(s->model), err);
    }
    if (rc == 0) rc = graft_state_new(&s->state, s->env, err);
    if (rc == 0) rc = graft_stepper_init(&s->stepper, s->suffix, s->state, &s->recipe, err);
    return rc;
}

/* One step, the prefix included. */
static int step(setup *s, int64_t update, graft_err *err) {
    graft_batch b = s->inputs.batch;
    if (s->prefix) {
        int rc = graft_prefix_run(s->prefix, &b, s->rows, err);
        if (rc == 0) rc = graft_row_tensors_put(&s->tensors, &b, (const float *const *)s->rows, err);
        if (rc < 0) return rc;
    }
    return graft_stepper_run(&s->stepper, &b, update, update + 1, err);
}

/* The inputs' places were used for other values in the last step. */
static int trace(setup *s, graft_err *err) {
    const graft_feed feed = graft_batch_feed(&s->inputs.batch);
    graft_buf text;
    graft_buf_init(&text, 0);
    int rc = graft_program_feed(s->stepper.step.programs[0], &feed, 0, feed.n, err);
    if (rc == 0) rc = graft_program_trace(s->stepper.step.programs[0], &text, err);
    if (rc == 0 && !text.failed) fputs(text.data, stdout);
    graft_buf_done(&text);
    return rc;
}

static int make_rows(setup *s, const bench_options *o, graft_err *err) {
    size_t count = graft_prefix_row(s->prefix, o->length), batch = (size_t)o->batch;
    float *values = graft_arena_array(s->arena, batch * count, sizeof *values);
    s->rows = graft_arena_array(s->arena, batch, sizeof *s->rows);
    if (!values || !s->rows) return graft_err_nomem(err);
    for (size_t i = 0; i < batch; i++) s->rows[i] = values + i * count;
    return graft_row_tensors_init(&s->tensors, s->prefix, err);
}

static int measure(setup *s, const bench_options *o, graft_err *err) {
    int rc = bench_inputs_make(&s->inputs, s->arena, s->model, o, err);
    if (rc == 0 && s->prefix) rc = make_rows(s, o, err);
    static bench_clock clock;
    for (int64_t i = 0; rc == 0 && bench_goes_on(&clock, o); i++) {
        rc = step(s, i, err);
        bench_tick(&clock);
    }
    if (rc < 0) return rc;
    graft_program_memory needs = graft_program_needs(s->stepper.step.programs[0]);
    if (o->trace) return trace(s, err);
    bench_print(o->train, o, &clock, &needs);
    return 0;
}

static int run(const bench_options *o, graft_err *err) {
    setup s = {.arena = graft_arena_new(NULL)};
    int rc = s.arena ? open_setup(&s, o, err) : graft_err_nomem(err);
    if (rc == 0) rc = measure(&s, o, err);
    graft_stepper_done(&s.stepper);
    graft_state_free(s.state);
    graft_row_tensors_done(&s.tensors);
    graft_prefix_free(s.prefix);
    graft_model_close(s.model);
    graft_env_free(s.env);
    graft_arena_free(s.arena);
    return rc;
}

int main(int argc, char **argv) {
    return bench_main(argc, argv, run);
}
