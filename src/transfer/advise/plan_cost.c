#include "transfer/advise/plan_cost.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The small pictures' networks and encoders of bench/ reach a quarter to a half of a large product's rate. */
static const double SHARE = 0.35;
/* Where nothing could be measured. */
static const double USUAL = 2e10;

enum { ROWS = 256, WIDTH = 512, TIMES = 5 };

/* The quickest of a few runs: whatever else the machine does takes part in the others. */
static int time_product(double *rate, graft_program *p, graft_arena *arena, graft_err *err) {
    float *x = graft_arena_array(arena, (size_t)ROWS * WIDTH, sizeof *x);
    graft_tensor input = {.name = "x",
                          .dtype = GRAFT_F32,
                          .shape = {2, {ROWS, WIDTH}},
                          .data = x,
                          .size = (size_t)ROWS * WIDTH * sizeof *x};
    graft_feed feed = {.n = ROWS, .inputs = &input, .n_inputs = 1};
    double least = 0;
    int rc = x ? graft_program_feed(p, &feed, 0, ROWS, err) : graft_err_nomem(err);
    for (int i = 0; i < TIMES && rc == 0; i++) {
        double begun = graft_now();
        rc = graft_program_run(p, err);
        double seconds = graft_now() - begun;
        if (seconds > 0 && (least <= 0 || seconds < least)) least = seconds;
    }
    if (rc == 0 && least > 0) *rate = SHARE * (double)ROWS * WIDTH * WIDTH / least;
    return rc;
}

double graft_machine_rate(const graft_env *env) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_graph *g = arena ? graft_graph_new(arena) : NULL;
    graft_state *state = NULL;
    graft_program *p = NULL;
    const graft_compile_options o = {.batch = ROWS};
    double rate = USUAL;
    if (g) {
        graft_value x = graft_graph_input(g, "x", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_BATCH, WIDTH}});
        graft_value w = graft_graph_param(g, "w", NULL, (graft_shape){2, {WIDTH, WIDTH}});
        graft_graph_output(g, "y", graft_linear(g, x, w, GRAFT_NONE));
        int rc = graft_graph_end(g, NULL);
        if (rc == 0) rc = graft_state_new(&state, env, NULL);
        if (rc == 0) rc = graft_program_compile(&p, g, state, &o, NULL);
        if (rc == 0) rc = time_product(&rate, p, arena, NULL);
        if (rc < 0) rate = USUAL;
    }
    graft_program_free(p);
    graft_state_free(state);
    graft_arena_free(arena);
    return rate;
}

typedef struct costing {
    graft_job job; /* a copy that is given the plan */
    graft_arena *arena;
    graft_graph *suffix;
    graft_cost cost;
    size_t prefix_memory;
    double tokens; /* a sample; 1 of pictures */
} costing;

/* The prefix's own program, planned. */
static int plan_prefix(costing *c, const graft_graph *g, const graft_value *values, const char *const *names,
                       size_t n, graft_err *err) {
    graft_output *outputs = graft_arena_array(c->arena, n + 1, sizeof *outputs);
    graft_graph *part = NULL, *still = NULL, *chosen = NULL, *folded = NULL, *fused = NULL;
    graft_state *state = NULL;
    graft_program *program = NULL;
    int64_t longest = graft_model_longest(c->job.model);
    graft_compile_options o = {.batch = longest ? 64 : 32,
                               .tokens = longest > 1024 ? longest
                                         : longest      ? 1024
                                                        : 0,
                               .dry = true};
    if (n == 0) return 0;
    if (!outputs) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) outputs[i] = (graft_output){names[i], values[i]};
    int rc = graft_graph_extract(&part, c->arena, g, NULL, NULL, 0, outputs, n, err);
    if (rc == 0) rc = graft_graph_without_dropout(&still, c->arena, part, err);
    if (rc == 0) rc = graft_graph_choose_rows(&chosen, c->arena, still, err);
    if (rc == 0) rc = graft_graph_fold(&folded, c->arena, chosen, err);
    if (rc == 0) rc = graft_graph_fuse(&fused, c->arena, folded, err);
    if (rc == 0) rc = graft_state_new(&state, c->job.env, err);
    if (rc == 0) rc = graft_program_compile(&program, fused, state, &o, err);
    if (rc == 0) {
        graft_program_memory m = graft_program_needs(program);
        c->prefix_memory = m.arena + m.state + m.weights;
    }
    graft_program_free(program);
    graft_state_free(state);
    return rc;
}

/* Marks → suffix, and what both parts cost. */
static int split(costing *c, graft_err *err) {
    graft_graph *g = NULL, *whole = NULL;
    const graft_output *all;
    graft_plan plan;
    graft_model_set_dropout(c->job.model, true);
    int rc = graft_model_graph(&g, c->arena, c->job.model, 0, 0, err);
    graft_model_set_dropout(c->job.model, false);
    if (rc < 0) return rc;
    size_t n = graft_graph_outputs(g, &all), kept = 0;
    graft_output *outputs = graft_arena_array(c->arena, n + 1, sizeof *outputs);
    if (!outputs) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i].name, "features") != 0) outputs[kept++] = all[i];
    rc = graft_graph_extract(&whole, c->arena, g, NULL, NULL, 0, outputs, kept, err);
    size_t last = c->job.n_phases - 1;
    if (rc == 0)
        rc = graft_mark_trained(whole, c->job.model, &c->job.phases[last], c->job.choices[last].statistics,
                                err);
    if (rc == 0) rc = graft_plan_derive(&plan, c->arena, whole, err);
    if (rc < 0) return rc;
    c->cost = graft_graph_cost(whole, &plan);
    graft_value *values = graft_arena_array(c->arena, plan.n_boundary + 1, sizeof *values);
    const char **names = graft_arena_array(c->arena, plan.n_boundary + 1, sizeof *names);
    size_t n_values = 0;
    if (!values || !names) return graft_err_nomem(err);
    for (size_t i = 0; i < plan.n_boundary && plan.n_prefix; i++) {
        if (graft_graph_value(whole, plan.boundary[i])->kind == GRAFT_INPUT) continue;
        values[n_values] = plan.boundary[i];
        names[n_values] = graft_arena_printf(c->arena, "boundary.%zu", n_values);
        if (!names[n_values++]) return graft_err_nomem(err);
    }
    const graft_output *wanted;
    size_t n_outputs = graft_graph_outputs(whole, &wanted);
    rc = plan_prefix(c, whole, values, names, n_values, err);
    return rc == 0 ? graft_graph_extract(&c->suffix, c->arena, whole, values, names, n_values, wanted,
                                         n_outputs, err)
                   : rc;
}

/* Mean tokens of a sample, and the most of a batch. */
static void count_tokens(costing *c) {
    int64_t n = 0, known = 0, total = 0, longest = 0;
    const int64_t *members = graft_data_members(c->job.data, GRAFT_ALL, &n);
    c->tokens = 1.0;
    if (graft_data_modality(c->job.data) != GRAFT_TEXTS) return;
    for (int64_t i = 0; i < n; i++) {
        int64_t tokens = graft_data_tokens(c->job.data, members[i]);
        if (tokens <= 0) continue;
        known++;
        total += tokens;
        longest = tokens > longest ? tokens : longest;
    }
    c->tokens = known ? (double)total / (double)known : 16.0;
    c->job.recipe.tokens = (longest ? longest : 16) * c->job.recipe.batch;
}

static int reckon(graft_plan_cost *out, costing *c, double rate, graft_err *err) {
    graft_job *j = &c->job;
    int64_t n = 0, n_val = 0;
    size_t memory = 0;
    int rc = graft_job_defaults(j, err);
    if (rc == 0) rc = split(c, err);
    if (rc < 0) return rc;
    count_tokens(c);
    rc = graft_learn_memory(&memory, c->job.env, c->suffix, &j->recipe, err);
    if (rc < 0) return rc;
    graft_data_members(j->data, GRAFT_TRAIN, &n);
    graft_data_members(j->data, GRAFT_VAL, &n_val);
    const graft_phase_choice *last = &j->choices[j->n_phases - 1];
    double rows = last->use_cache ? 1.0 + (double)last->variants : (double)j->recipe.epochs;
    double forward = c->cost.forward * c->tokens / rate, backward = c->cost.backward * c->tokens / rate;
    double frozen = c->cost.frozen * c->tokens / rate;
    double updates = ceil((double)n / (double)j->recipe.batch);
    /* an update has its own overhead, which is all that a head's update costs */
    out->epoch = (double)n * (forward + backward) + (double)n_val * forward + updates * 2e-4;
    out->seconds = rows * (double)n * frozen + (double)n_val * frozen + out->epoch * (double)j->recipe.epochs;
    out->memory = memory + c->prefix_memory;
    out->forward = (c->cost.frozen + c->cost.forward) * c->tokens;
    out->epochs = j->recipe.epochs;
    out->batch = j->recipe.batch;
    return 0;
}

int graft_plan_cost_of(graft_plan_cost *out, const graft_job *j, const char *plan, double rate,
                       graft_err *err) {
    costing c = {.job = *j, .arena = graft_arena_new(NULL)};
    *out = (graft_plan_cost){0};
    if (!c.arena) return graft_err_nomem(err);
    c.job.arena = c.arena;
    c.job.options.train = plan;
    c.job.recipe = (graft_recipe){0};
    int rc = reckon(out, &c, rate, err);
    graft_arena_free(c.arena);
    return rc;
}
